// SPDX-License-Identifier: Apache-2.0
import { useDocumentTitle } from '@mantine/hooks';
import type { ReactNode } from 'react';
import { AppLink } from './AppLink';
import { IconChevronRight } from './icons';
import classes from './Page.module.css';

type Props = {
  title: string;
  /** What stands in the heading if it is more than the title's words. */
  heading?: ReactNode;
  lead?: ReactNode;
  trail?: { to: string; title: string }[];
  /** Links to the sister pages of this one. */
  tabs?: ReactNode;
  actions?: ReactNode;
  width?: 'wide' | 'text';
  children: ReactNode;
};

/** The frame of every page: where it lies, its title, what can be done, its parts. */
export function Page({ title, heading, lead, trail = [], tabs, actions, width = 'wide', children }: Props) {
  useDocumentTitle(`${title} · Medhub`);
  return (
    <div className={classes.page} data-width={width}>
      {trail.length > 0 && (
        <nav aria-label="Breadcrumb">
          <ol className={classes.trail}>
            {trail.map((step) => (
              <li key={step.to}>
                <AppLink to={step.to}>{step.title}</AppLink>
                <IconChevronRight size={14} />
              </li>
            ))}
          </ol>
        </nav>
      )}
      <div className={classes.head}>
        <div>
          <h1 className={classes.title}>{heading ?? title}</h1>
          {lead && <p className={classes.lead}>{lead}</p>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </div>
      {tabs}
      {children}
    </div>
  );
}

export function Panel({
  title,
  side,
  children,
  id,
}: {
  title?: string;
  side?: ReactNode;
  children: ReactNode;
  id?: string;
}) {
  return (
    <section className={classes.panel} aria-label={title} id={id}>
      {title && (
        <div className={classes.panelHead}>
          <h2>{title}</h2>
          {side}
        </div>
      )}
      {children}
    </section>
  );
}

export function Columns({ left, right }: { left: ReactNode; right: ReactNode }) {
  return (
    <div className={classes.columns}>
      <div className={classes.stack}>{left}</div>
      <div className={classes.stack}>{right}</div>
    </div>
  );
}
