// SPDX-License-Identifier: Apache-2.0
import { Drawer, UnstyledButton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Link, Outlet, useLocation } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { SessionProvider, useSession } from '@/api/session';
import { IconCollapse, IconExpand, IconMore } from '@/components/icons';
import { writePreference, readPreference } from '@/lib/preferences';
import { DESTINATIONS, type Destination } from './destinations';
import { Logo } from '@/components/Logo';
import classes from './Shell.module.css';
import { TopBar } from './TopBar';

export function Shell() {
  return (
    <SessionProvider>
      <Frame />
    </SessionProvider>
  );
}

function Frame() {
  const { can } = useSession();
  const [collapsed, setCollapsed] = useState(() => readPreference('bar.collapsed', false));
  const destinations = DESTINATIONS.filter((entry) => entry.action === null || can(entry.action));
  const path = useLocation({ select: (location) => location.pathname });
  const main = useRef<HTMLElement>(null);
  const firstPath = useRef(path);

  // A new page starts where reading starts: focus goes to the main part, not left on a link that is gone.
  useEffect(() => {
    if (firstPath.current === path) return;
    firstPath.current = path;
    main.current?.focus({ preventScroll: true });
  }, [path]);

  const toggle = () => {
    writePreference('bar.collapsed', !collapsed);
    setCollapsed(!collapsed);
  };

  return (
    <div className={classes.frame} data-collapsed={collapsed || undefined}>
      <a className={classes.skip} href="#main">
        Skip to content
      </a>
      <aside className={classes.side}>
        <Link to="/" className={classes.brand} aria-label="Medhub, start page">
          <Logo />
          <span className={classes.word}>Medhub</span>
        </Link>
        <nav aria-label="Main" className={classes.nav}>
          {destinations.map((entry) => (
            <Entry key={entry.to} entry={entry} collapsed={collapsed} />
          ))}
        </nav>
        <UnstyledButton
          className={classes.entry}
          onClick={toggle}
          aria-expanded={!collapsed}
          aria-label="Show labels beside the icons"
        >
          {collapsed ? <IconExpand /> : <IconCollapse />}
          <span className={classes.word}>Collapse</span>
        </UnstyledButton>
      </aside>
      <header className={classes.top}>
        <TopBar />
      </header>
      <main id="main" ref={main} tabIndex={-1} className={classes.main}>
        <Outlet />
      </main>
      <BottomBar destinations={destinations} />
    </div>
  );
}

function Entry({ entry, collapsed, onClick }: { entry: Destination; collapsed?: boolean; onClick?: () => void }) {
  const Icon = entry.icon;
  return (
    <Link
      to={entry.to}
      className={classes.entry}
      activeOptions={{ exact: entry.to === '/', includeSearch: false }}
      activeProps={{ 'data-active': true }}
      title={collapsed ? entry.title : undefined}
      onClick={onClick}
    >
      <Icon />
      <span className={classes.word}>{entry.title}</span>
    </Link>
  );
}

const PHONE_DESTINATIONS = ['/', '/worklist', '/patients', '/upload', '/cases'];

function BottomBar({ destinations }: { destinations: readonly Destination[] }) {
  const [open, { open: show, close }] = useDisclosure(false);
  const first = destinations.filter((entry) => PHONE_DESTINATIONS.includes(entry.to)).slice(0, 4);
  const others = destinations.filter((entry) => !first.includes(entry));
  return (
    <nav aria-label="Main, at the bottom" className={classes.bottom}>
      {first.map((entry) => (
        <Entry key={entry.to} entry={entry} />
      ))}
      <UnstyledButton className={classes.entry} onClick={show} aria-haspopup="dialog" aria-expanded={open}>
        <IconMore />
        <span className={classes.word}>More</span>
      </UnstyledButton>
      <Drawer opened={open} onClose={close} position="bottom" title="More" size="auto">
        <div className={classes.more}>
          {others.map((entry) => (
            <Entry key={entry.to} entry={entry} onClick={close} />
          ))}
        </div>
      </Drawer>
    </nav>
  );
}
