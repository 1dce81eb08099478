// SPDX-License-Identifier: Apache-2.0
import type { HistoryEntry } from '@/api/types';
import { capital, words } from '@/lib/format';
import { ROLE_TITLES } from '@/lib/roles';
import classes from './small.module.css';
import { TimeAgo } from './TimeAgo';

export function History({ entries, empty = 'Nothing has happened yet.' }: { entries: HistoryEntry[]; empty?: string }) {
  if (entries.length === 0) return <p className={classes.who}>{empty}</p>;
  return (
    <ol className={classes.history}>
      {entries.map((entry, index) => (
        <li key={`${entry.at}-${index}`}>
          <div className={classes.what}>{capital(words(entry.action))}</div>
          {entry.detail && <div className={classes.detail}>{entry.detail}</div>}
          <div className={classes.who}>
            {entry.by}
            {entry.role ? ` (${(ROLE_TITLES[entry.role] ?? entry.role).toLowerCase()})` : ''}, <TimeAgo at={entry.at} />
          </div>
        </li>
      ))}
    </ol>
  );
}
