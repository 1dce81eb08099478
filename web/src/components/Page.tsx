// SPDX-License-Identifier: Apache-2.0
import { useDocumentTitle } from '@mantine/hooks';
import { createContext, useContext, type ReactNode } from 'react';
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
            <li aria-current="page">{title}</li>
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

const PanelSubject = createContext('');

/** Panels of one of several objects on a page: their landmarks name the object, so that no two have the same name. */
export function PanelGroup({ subject, children }: { subject: string; children: ReactNode }) {
  return <PanelSubject value={subject}>{children}</PanelSubject>;
}

/** The name of a landmark, with the object that it belongs to where a page has several. */
export function useLandmarkName(name: string | undefined): string | undefined {
  const subject = useContext(PanelSubject);
  return name && subject && name !== subject ? `${name}, ${subject}` : name;
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
  const name = useLandmarkName(title);
  return (
    <section className={classes.panel} aria-label={name} id={id}>
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
