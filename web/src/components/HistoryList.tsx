// SPDX-License-Identifier: Apache-2.0
import { useSession } from '@/api/session';
import type { HistoryEntry, ImageRow } from '@/api/types';
import { eventText } from '@/lib/eventText';
import { capital, words } from '@/lib/format';
import { roleTitle } from '@/lib/roles';
import classes from './shared.module.css';
import { TimeAgo } from './TimeAgo';

type Props = {
  entries: HistoryEntry[];
  /** The images that entries may speak of, so that they are called by their number. */
  images?: ImageRow[];
  empty?: string;
};

function title(entry: HistoryEntry, labelName: (label: string) => string): string {
  const { label } = entry.detail;
  const action = capital(words(entry.action));
  return typeof label === 'string' ? `${action}: ${labelName(label)}` : action;
}

export function HistoryList({ entries, images = [], empty = 'No entries yet.' }: Props) {
  const { labelName } = useSession();
  if (entries.length === 0) return <p className={classes.who}>{empty}</p>;
  return (
    <ol className={classes.history}>
      {entries.map((entry, index) => {
        const image = images.find((candidate) => candidate.id === entry.image_id);
        const { note } = entry.detail;
        const rest = eventText(entry.detail, ['label', 'note', 'stage']);
        return (
          <li key={`${entry.at}-${index}`}>
            <div className={classes.what}>
              {title(entry, labelName)}
              {image && <span className={classes.who}> on image {image.number}</span>}
            </div>
            {typeof note === 'string' && note && <q className={classes.detail}>{note}</q>}
            {rest && <div className={classes.detail}>{rest}</div>}
            <div className={classes.who}>
              {entry.by}
              {entry.role ? ` (${roleTitle(entry.role).toLowerCase()})` : ''}, <TimeAgo at={entry.at} />
            </div>
          </li>
        );
      })}
    </ol>
  );
}
