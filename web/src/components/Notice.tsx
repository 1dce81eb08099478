// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import { IconInfo, IconWarning } from './icons';
import classes from './Notice.module.css';

type Props = { tone?: 'red' | 'gray'; title: string; children?: ReactNode };

/** A sentence that must not be missed (red, told to screen readers at once) or that explains (gray). */
export function Notice({ tone = 'gray', title, children }: Props) {
  const Icon = tone === 'red' ? IconWarning : IconInfo;
  return (
    <div className={classes.notice} data-tone={tone} role={tone === 'red' ? 'alert' : 'note'}>
      <Icon size={20} />
      <div className={classes.body}>
        <div className={classes.title}>{title}</div>
        {children && <div>{children}</div>}
      </div>
    </div>
  );
}
