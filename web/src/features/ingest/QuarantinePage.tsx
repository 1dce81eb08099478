// SPDX-License-Identifier: Apache-2.0
import { ingest } from '@/api/calls';
import { useSession } from '@/api/session';
import type { Arrival } from '@/api/types';
import { IconQuarantine } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes } from '@/lib/format';

export function QuarantinePage() {
  const { projectId, can } = useSession();
  return (
    <ListPage<Arrival>
      name="arrivals"
      title="Quarantine"
      lead="Files that wait, each with its reason. Where a person must look for writing in the picture, open the file; otherwise mend it at its source and upload it once more. What stays here is destroyed when its time is up."
      columns={[
        {
          id: 'reason',
          header: 'Reason',
          phone: true,
          cell: (row) => (
            <span style={{ display: 'block', whiteSpace: 'normal', minInlineSize: '16em', paddingBlock: 8 }}>
              {row.reason}
            </span>
          ),
        },
        {
          id: 'patient',
          header: 'For patient',
          phone: true,
          cell: (row) => <span className="mh-code">{row.patient_code ?? 'to be decided'}</span>,
        },
        { id: 'size', header: 'Size', align: 'end', cell: (row) => bytes(row.size_bytes) },
        { id: 'by', header: 'From', cell: (row) => row.peer ?? row.by },
        { id: 'created', header: 'Received', cell: (row) => <TimeAgo at={row.created_at} /> },
        { id: 'expires', header: 'Destroyed', cell: (row) => (row.expires_at ? <TimeAgo at={row.expires_at} /> : '–') },
      ]}
      fixed={{ outcome: 'quarantined', project_id: projectId }}
      load={ingest.arrivals}
      rowId={(row) => row.id}
      rowLink={can('arrival.resolve') ? (row) => `/quarantine/${row.id}` : undefined}
      rowName={(row) => `${row.patient_code ?? 'no patient'}, ${bytes(row.size_bytes)}`}
      empty={{
        icon: <IconQuarantine size={32} />,
        title: 'Nothing is in quarantine',
        text: 'A file comes here when it is damaged, too large, no image, or may have writing in it that a person must see, and when nobody can tell whose it is.',
      }}
    />
  );
}
