// SPDX-License-Identifier: Apache-2.0
// The picture of an entry, or a sign of what it is where there is none.
import { useState } from 'react';
import { viewing } from '@/api/calls';
import {
  IconChartBar,
  IconFileAlert,
  IconFolder,
  IconImages,
  IconNote,
  IconPatients,
  IconReports,
  IconTable,
  type IconProps,
} from '@/components/icons';
import type { ComponentType } from 'react';
import { coverOf, type Entry } from './entries';
import classes from './explorer.module.css';

const FORMS: Record<string, [words: string, icon: ComponentType<IconProps>]> = {
  report: ['Structured report', IconReports],
  document: ['Document', IconNote],
  segmentation: ['Segmentation', IconImages],
  plan: ['Treatment plan', IconTable],
  waveform: ['Waveforms', IconChartBar],
  presentation: ['Presentation state', IconImages],
  other: ['No preview', IconFileAlert],
};

function signOf(entry: Entry): [words: string, icon: ComponentType<IconProps>] {
  if (entry.kind === 'patients') return ['No images', IconPatients];
  if (entry.kind !== 'images') return [entry.row.images > 0 ? 'No preview' : 'Empty', IconFolder];
  if (entry.row.state === 'unreadable') return ['Not readable', IconFileAlert];
  return FORMS[entry.row.shown_as] ?? ['No preview', IconFileAlert];
}

export function EntryThumbnail({ entry, small = false }: { entry: Entry; small?: boolean }) {
  const cover = coverOf(entry);
  const [failed, setFailed] = useState<string | null>(null);
  if (cover !== null && failed !== cover) {
    return (
      <img
        className={classes.picture}
        src={viewing.renderedUrl(cover, 256)}
        alt=""
        loading="lazy"
        decoding="async"
        draggable={false}
        onError={() => setFailed(cover)}
      />
    );
  }
  const [words, Icon] = signOf(entry);
  return (
    <span
      className={classes.sign}
      title={small ? words : undefined}
      role={small ? 'img' : undefined}
      aria-label={small ? words : undefined}
    >
      <Icon size={small ? 18 : 36} />
      {!small && <span>{words}</span>}
    </span>
  );
}
