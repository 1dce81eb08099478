// SPDX-License-Identifier: Apache-2.0
import { Anchor } from '@mantine/core';
import { reports } from '@/api/calls';
import { useSession } from '@/api/session';
import type { ReportRow } from '@/api/types';
import { Badge } from '@/components/Badge';
import { CopyableCode } from '@/components/CopyableCode';
import { IconDownload, IconReports } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, words } from '@/lib/format';

export function ReportsPage() {
  const { projectId } = useSession();
  return (
    <ListPage<ReportRow>
      name="reports"
      title="Reports"
      columns={[
        {
          id: 'patient',
          header: 'Patient',
          phone: true,
          cell: (row) => <span className="mh-code">{row.patient_code}</span>,
        },
        { id: 'pathway', header: 'Pathway', cell: (row) => capital(words(row.pathway)) },
        { id: 'version', header: 'Version', align: 'end', cell: (row) => row.version },
        {
          id: 'state',
          header: 'State',
          cell: (row) => (
            <Badge tone={row.superseded ? 'gray' : 'green'}>{row.superseded ? 'Superseded' : 'Valid'}</Badge>
          ),
        },
        { id: 'issued', header: 'Issued', phone: true, cell: (row) => <TimeAgo at={row.issued_at} /> },
        { id: 'signer', header: 'Signed by', cell: (row) => row.signed_by ?? '–' },
        {
          id: 'digest',
          header: 'Digest',
          cell: (row) => <CopyableCode value={row.digest} label="the digest" maxLength={12} />,
        },
        {
          id: 'pdf',
          header: 'Document',
          phone: true,
          cell: (row) => (
            <Anchor
              href={reports.pdfUrl(row.case_id)}
              download
              aria-label={`Download the report of ${row.patient_code}, version ${row.version}`}
            >
              <IconDownload size={16} style={{ verticalAlign: '-3px' }} /> PDF
            </Anchor>
          ),
        },
      ]}
      searchLabel="Search patient code"
      fixed={{ project_id: projectId }}
      load={reports.list}
      rowId={(row) => `${row.case_id}/${row.version}`}
      rowLink={(row) => `/cases/${row.case_id}`}
      empty={{
        icon: <IconReports size={32} />,
        title: 'No reports yet',
        text: 'A report is issued when a physician signs a case.',
      }}
    />
  );
}
