// SPDX-License-Identifier: Apache-2.0
// What can be done with what is chosen, by whose role allows it.
import { Button } from '@mantine/core';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import { AppLink } from '@/components/AppLink';
import { IconDownload, IconExport, IconFolder, IconPencil, IconTrash } from '@/components/icons';
import { countOf, type Entry, type EntryKind } from './entries';
import classes from './explorer.module.css';

export type EntryAction = 'rename' | 'move' | 'delete' | 'export';

type Props = {
  kind: EntryKind;
  entries: Entry[];
  onAction: (action: EntryAction) => void;
  onAll: () => void;
  onNone: () => void;
};

/** Whether a role may do something to entries of a kind. */
export function isAllowed(action: EntryAction, kind: EntryKind, can: ReturnType<typeof useSession>['can']): boolean {
  switch (action) {
    case 'rename':
      return kind !== 'patients' && can('study.change');
    case 'move':
      return (kind === 'images' || kind === 'series') && can('image.move');
    case 'export':
      return can('export.create');
    case 'delete':
      return kind === 'images' ? can('image.delete') : kind === 'patients' ? can('patient.erase') : can('study.delete');
  }
}

const PAGES: Partial<Record<EntryKind, [path: string, words: string]>> = {
  patients: ['/patients', 'Open patient'],
  studies: ['/studies', 'Open study'],
};

export function SelectionActions({ kind, entries: entries, onAction: onAction, onAll, onNone }: Props) {
  const { can } = useSession();
  const only = entries.length === 1 ? entries[0] : undefined;
  const page = only ? PAGES[kind] : undefined;
  const button = { size: 'compact-sm', variant: 'default' } as const;
  return (
    <div className={classes.selection} role="status" aria-label="Selection">
      <span>{countOf(kind, entries.length)} selected</span>
      {page && only && (
        <Button {...button} component={AppLink} to={`${page[0]}/${only.id}`}>
          {page[1]}
        </Button>
      )}
      {only && isAllowed('rename', kind, can) && (
        <Button {...button} leftSection={<IconPencil size={16} />} onClick={() => onAction('rename')}>
          {kind === 'images' ? 'Change number' : 'Rename'}
        </Button>
      )}
      {isAllowed('move', kind, can) && (
        <Button {...button} leftSection={<IconFolder size={16} />} onClick={() => onAction('move')}>
          Move
        </Button>
      )}
      {only && kind === 'images' && (
        <Button
          {...button}
          component="a"
          href={viewing.originalUrl(only.id)}
          download
          leftSection={<IconDownload size={16} />}
        >
          Download
        </Button>
      )}
      {isAllowed('export', kind, can) && (
        <Button {...button} leftSection={<IconExport size={16} />} onClick={() => onAction('export')}>
          Export as ZIP
        </Button>
      )}
      {isAllowed('delete', kind, can) && (
        <Button {...button} leftSection={<IconTrash size={16} />} onClick={() => onAction('delete')}>
          Delete
        </Button>
      )}
      <Button size="compact-sm" variant="subtle" onClick={onAll}>
        Select all
      </Button>
      <Button size="compact-sm" variant="subtle" onClick={onNone}>
        Clear selection
      </Button>
    </div>
  );
}
