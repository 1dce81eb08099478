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
      lead="Files that were not accepted, each with its reason. If text in the image must be checked, open the file. Otherwise correct the file at its source and upload it again. Quarantined files are deleted when they expire."
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
          cell: (row) => <span className="mh-code">{row.patient_code ?? 'not assigned'}</span>,
        },
        { id: 'size', header: 'Size', align: 'end', cell: (row) => bytes(row.size_bytes) },
        { id: 'by', header: 'From', cell: (row) => row.peer ?? row.by },
        { id: 'created', header: 'Received', cell: (row) => <TimeAgo at={row.created_at} /> },
        { id: 'expires', header: 'Deleted', cell: (row) => (row.expires_at ? <TimeAgo at={row.expires_at} /> : '–') },
      ]}
      fixed={{ outcome: 'quarantined', project_id: projectId }}
      load={ingest.arrivals}
      rowId={(row) => row.id}
      rowLink={can('arrival.resolve') ? (row) => `/quarantine/${row.id}` : undefined}
      rowName={(row) => `${row.patient_code ?? 'no patient'}, ${bytes(row.size_bytes)}`}
      empty={{
        icon: <IconQuarantine size={32} />,
        title: 'Nothing is in quarantine',
        text: 'A file is quarantined if it is damaged, too large or not an image, if text in it must be checked, or if its patient is unknown.',
      }}
    />
  );
}
