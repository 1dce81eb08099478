// SPDX-License-Identifier: Apache-2.0
// What an export is and how far it is, in words and colors.
import { Badge, type Tone } from '@/components/Badge';
import { IconCheck, IconClock, IconCross, IconRefresh, IconSearch, IconTrash, IconWarning } from '@/components/icons';
import type { Export } from '@/api/types';
import { capital, words } from '@/lib/format';

type State = Export['state'];

const STATES: Record<State, [title: string, tone: Tone, icon: typeof IconCheck]> = {
  waiting: ['Waiting', 'gray', IconClock],
  looking: ['Scanning', 'blue', IconSearch],
  blocked: ['Needs a decision', 'amber', IconWarning],
  packing: ['Packing', 'blue', IconRefresh],
  ready: ['Ready', 'green', IconCheck],
  expired: ['Expired', 'gray', IconClock],
  erased: ['Erased', 'gray', IconTrash],
  failed: ['Failed', 'red', IconCross],
  destroyed: ['Deleted', 'gray', IconTrash],
};

export const STATE_OPTIONS = Object.entries(STATES).map(([value, [label]]) => ({ value, label }));

export function ExportState({ state }: { state: State }) {
  const [title, tone, Icon] = STATES[state];
  return (
    <Badge tone={tone} icon={<Icon size={14} />}>
      {title}
    </Badge>
  );
}

export const isExportRunning = (state: State) => state === 'waiting' || state === 'looking' || state === 'packing';
export const isRemovable = (state: State) => isExportRunning(state) || state === 'blocked' || state === 'ready';

const FORMS: Record<Export['form'], string> = {
  dicom: 'DICOM files',
  training: 'Data set for training',
  metadata: 'Metadata only',
};

export function formTitle(row: Pick<Export, 'form' | 'picture'>): string {
  return row.picture ? `${FORMS[row.form]}, ${row.picture.toUpperCase()}` : FORMS[row.form];
}

const SELECTIONS: Record<Export['selection'], string> = {
  project: 'Entire project',
  patients: 'Selected patients',
  studies: 'Selected studies',
  series: 'Selected series',
  images: 'Selected images',
  search: 'Search results',
  verdicts: 'Signed verdicts',
};

export function selectionTitle(row: Pick<Export, 'selection' | 'pathway'>): string {
  return row.pathway ? `${SELECTIONS[row.selection]} of ${row.pathway}` : SELECTIONS[row.selection];
}

/** "field.patient.ward" as "Ward", "birth_year" as "Birth year". */
export function columnTitle(column: string): string {
  return capital(words(column.replace(/^field\.(patient|study)\./, '')));
}
