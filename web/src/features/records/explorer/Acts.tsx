// SPDX-License-Identifier: Apache-2.0
// What can be done with what is chosen, by whose role allows it.
import { Button } from '@mantine/core';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import { Go } from '@/components/Go';
import { IconDownload, IconExport, IconFolder, IconPencil, IconTrash } from '@/components/icons';
import { countOf, type Entry, type Kind } from './entries';
import classes from './explorer.module.css';

export type Act = 'rename' | 'move' | 'delete' | 'export';

type Props = {
  kind: Kind;
  chosen: Entry[];
  onAct: (act: Act) => void;
  onAll: () => void;
  onNone: () => void;
};

/** Whether a role may do something to entries of a kind. */
export function mayDo(act: Act, kind: Kind, can: ReturnType<typeof useSession>['can']): boolean {
  switch (act) {
    case 'rename':
      return kind !== 'patients' && can('write-records');
    case 'move':
      return (kind === 'images' || kind === 'series') && can('move-images');
    case 'export':
      return can('export');
    case 'delete':
      return kind === 'images' ? can('delete-images') : kind === 'patients' ? can('erase') : can('delete-studies');
  }
}

const PAGES: Partial<Record<Kind, [path: string, words: string]>> = {
  patients: ['/patients', 'Open the patient'],
  studies: ['/studies', 'Open the study'],
};

export function Acts({ kind, chosen, onAct, onAll, onNone }: Props) {
  const { can } = useSession();
  const only = chosen.length === 1 ? chosen[0] : undefined;
  const page = only ? PAGES[kind] : undefined;
  const button = { size: 'compact-sm', variant: 'default' } as const;
  return (
    <div className={classes.chosen} role="status" aria-label="What is chosen">
      <span>{countOf(kind, chosen.length)} chosen</span>
      {page && only && (
        <Button {...button} component={Go} to={`${page[0]}/${only.id}`}>
          {page[1]}
        </Button>
      )}
      {only && mayDo('rename', kind, can) && (
        <Button {...button} leftSection={<IconPencil size={16} />} onClick={() => onAct('rename')}>
          {kind === 'images' ? 'Number' : 'Rename'}
        </Button>
      )}
      {mayDo('move', kind, can) && (
        <Button {...button} leftSection={<IconFolder size={16} />} onClick={() => onAct('move')}>
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
      {mayDo('export', kind, can) && (
        <Button {...button} leftSection={<IconExport size={16} />} onClick={() => onAct('export')}>
          Export as ZIP
        </Button>
      )}
      {mayDo('delete', kind, can) && (
        <Button {...button} leftSection={<IconTrash size={16} />} onClick={() => onAct('delete')}>
          Delete
        </Button>
      )}
      <Button size="compact-sm" variant="subtle" onClick={onAll}>
        Choose all
      </Button>
      <Button size="compact-sm" variant="subtle" onClick={onNone}>
        Choose none
      </Button>
    </div>
  );
}
