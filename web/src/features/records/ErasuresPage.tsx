// SPDX-License-Identifier: Apache-2.0
import { records } from '@/api/calls';
import { useSession } from '@/api/session';
import type { Erasure } from '@/api/types';
import { Badge } from '@/components/Badge';
import { IconTrash } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';

export function ErasureState({ erasure }: { erasure: Erasure }) {
  return erasure.completed_at ? <Badge tone="green">Completed</Badge> : <Badge tone="amber">Deleting files</Badge>;
}

/** Who was erased, by code. */
export function ErasuresPage() {
  const { projectId } = useSession();
  return (
    <ListPage<Erasure>
      name="erasures"
      title="Erasure certificates"
      lead="Each certificate lists the destroyed data and the classifiers that were trained with the images."
      columns={[
        {
          id: 'code',
          header: 'Patient',
          phone: true,
          cell: (row) => <span className="mh-code">{row.patient_code}</span>,
        },
        { id: 'state', header: 'State', phone: true, cell: (row) => <ErasureState erasure={row} /> },
        { id: 'images', header: 'Images', align: 'end', cell: (row) => String(Number(row.contents.images ?? 0)) },
        { id: 'by', header: 'Erased by', cell: (row) => row.erased_by },
        { id: 'at', header: 'Erased', cell: (row) => <TimeAgo at={row.erased_at} /> },
      ]}
      searchLabel="Search patient code"
      fixed={{ project_id: projectId }}
      load={records.erasures}
      rowId={(row) => row.id}
      rowLink={(row) => `/erasures/${row.id}`}
      empty={{
        icon: <IconTrash size={32} />,
        title: 'No erasures',
        text: 'An administrator erases a patient on the patient page.',
      }}
    />
  );
}
