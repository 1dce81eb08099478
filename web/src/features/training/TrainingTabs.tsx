// SPDX-License-Identifier: Apache-2.0
import { Link } from '@tanstack/react-router';
import classes from './training.module.css';

const TABS = [
  { to: '/training', title: 'Trainings' },
  { to: '/training/datasets', title: 'Data sets' },
  { to: '/training/use', title: 'In use' },
] as const;

/** The three parts of training: what is learned from, what is learned, and what of it reads. */
export function TrainingTabs() {
  return (
    <nav aria-label="Training" className={classes.tabs}>
      {TABS.map((tab) => (
        <Link
          key={tab.to}
          to={tab.to}
          className={classes.tab}
          activeOptions={{ exact: true, includeSearch: false }}
          activeProps={{ 'data-active': true }}
        >
          {tab.title}
        </Link>
      ))}
    </nav>
  );
}
