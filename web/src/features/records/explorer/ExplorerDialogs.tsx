// SPDX-License-Identifier: Apache-2.0
import { useQuery } from '@tanstack/react-query';
import { records } from '@/api/calls';
import { fieldsQuery } from '@/api/queries';
import type { Pathway } from '@/api/types';
import { ExportDialog } from '@/components/export/ExportDialog';
import { notifySuccess } from '@/components/notify';
import { StudyDialog } from '../StudyDialog';
import { DeleteDialog } from './DeleteDialog';
import { countOf, type Entry, type EntryKind } from './entries';
import { NewSeriesDialog, RenameDialog } from './EntryDialogs';
import { MoveDialog } from './MoveDialog';
import type { EntryAction } from './SelectionActions';
import { UploadDialog } from './UploadDialog';
import type { LocationDetails } from './useLocationDetails';

/** The dialog that is open: one of an action on the selected entries, or one that adds to the location. */
export type OpenDialog = EntryAction | 'new' | 'upload';

type Props = {
  dialog: OpenDialog | null;
  kind: EntryKind;
  selected: Entry[];
  here: LocationDetails | undefined;
  pathways: Pathway[];
  droppedFiles: File[] | null;
  onClose: () => void;
  onDone: () => void;
};

export function ExplorerDialogs({ dialog, kind, selected, here, pathways, droppedFiles, onClose, onDone }: Props) {
  switch (dialog) {
    case null:
      return null;
    case 'upload':
      return here && <UploadDialog here={here} pathways={pathways} files={droppedFiles} onClose={onClose} />;
    case 'new':
      if (kind === 'studies' && here)
        return <NewStudyDialog projectId={here.projectId} patientId={here.patient.id} onClose={onClose} />;
      return here?.study && <NewSeriesDialog studyId={here.study.id} onClose={onClose} />;
    default:
      return <SelectionDialog action={dialog} kind={kind} entries={selected} onClose={onClose} onDone={onDone} />;
  }
}

type SelectionProps = {
  action: EntryAction;
  kind: EntryKind;
  entries: Entry[];
  onClose: () => void;
  onDone: () => void;
};

function SelectionDialog({ action, kind, entries, onClose, onDone }: SelectionProps) {
  const first = entries[0];
  if (!first) return null;
  switch (action) {
    case 'rename':
      return <RenameDialog key={first.id} entry={first} onClose={onClose} />;
    case 'move':
      return <MoveDialog entries={entries} onClose={onClose} onDone={onDone} />;
    case 'delete':
      return <DeleteDialog entries={entries} onClose={onClose} onDone={onDone} />;
    case 'export':
      return (
        <ExportDialog
          opened
          onClose={onClose}
          selection={{
            kind,
            ids: entries.map((entry) => entry.id),
            words: countOf(kind, entries.length),
            projectId: first.row.project_id,
          }}
        />
      );
  }
}

type NewStudyProps = { projectId: string; patientId: string; onClose: () => void };

function NewStudyDialog({ projectId, patientId, onClose }: NewStudyProps) {
  const { data: fields } = useQuery(fieldsQuery(projectId, 'study'));
  if (!fields) return null;
  return (
    <StudyDialog
      title="New study"
      submitLabel="Create study"
      initial={{ description: '', fields: {} }}
      fields={fields}
      onClose={onClose}
      save={async (draft) => {
        await records.addStudy({ patient_id: patientId, ...draft });
        notifySuccess('Study created');
      }}
    />
  );
}
