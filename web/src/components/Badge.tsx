// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import classes from './shared.module.css';

export type Tone = 'green' | 'amber' | 'red' | 'blue' | 'gray';

export function Badge({ tone, icon, children }: { tone: Tone; icon?: ReactNode; children: ReactNode }) {
  return (
    <span className={classes.badge} data-tone={tone}>
      {icon}
      {children}
    </span>
  );
}
