// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { review } from '@/api/calls';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { CaseRow } from '@/api/types';
import { StageBadge } from '@/components/CaseList';
import { AppLink } from '@/components/AppLink';
import { IconCases } from '@/components/icons';
import { ListPage, type Column } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, count, sex, words } from '@/lib/format';

export function CasesPage() {
  const { projectId, can, memberships } = useSession();
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const stages = new Map(
    pathways.flatMap((pathway) => pathway.stages.map((stage) => [stage.name, stage.title] as const)),
  );

  const columns: Column<CaseRow>[] = [
    {
      id: 'patient',
      header: 'Patient',
      phone: true,
      cell: (row) => (
        <>
          <span className="mh-code">{row.patient_code}</span>
          {row.version > 1 && ` v${row.version}`}
        </>
      ),
    },
    {
      id: 'about',
      header: 'Sex, age',
      cell: (row) => `${sex(row.patient_sex)}${row.patient_age === null ? '' : `, ${row.patient_age} y`}`,
    },
    {
      id: 'pathway',
      header: 'Pathway',
      cell: (row) => pathways.find((entry) => entry.name === row.pathway)?.title ?? capital(words(row.pathway)),
    },
    { id: 'stage', header: 'Stage', phone: true, cell: (row) => <StageBadge row={row} /> },
    {
      id: 'verified',
      header: 'Verified',
      align: 'end',
      phone: true,
      cell: (row) => `${count(row.verified)} of ${count(row.images)}`,
    },
    { id: 'uncertain', header: 'Uncertain', align: 'end', cell: (row) => count(row.uncertain) },
    { id: 'opened', header: 'Opened', sort: 'opened_at', cell: (row) => <TimeAgo at={row.opened_at} /> },
    { id: 'signed', header: 'Signed', cell: (row) => (row.signed_at ? <TimeAgo at={row.signed_at} /> : '–') },
    { id: 'signer', header: 'Signed by', hidden: true, cell: (row) => row.signed_by ?? '–' },
    ...(memberships.length > 1 && !projectId
      ? [{ id: 'project', header: 'Project', cell: (row: CaseRow) => row.project }]
      : []),
  ];

  return (
    <ListPage<CaseRow>
      name="cases"
      title="Cases"
      columns={columns}
      filters={[
        { id: 'stage', label: 'Stage', options: [...stages].map(([value, label]) => ({ value, label })) },
        ...(pathways.length > 1
          ? [
              {
                id: 'pathway',
                label: 'Pathway',
                options: pathways.map((entry) => ({ value: entry.name, label: entry.title })),
              },
            ]
          : []),
        { id: 'ready', label: 'Signature', options: [{ value: 'true', label: 'Ready to sign' }] },
        { id: 'mine', label: 'Assigned', options: [{ value: 'true', label: 'Waiting for me' }] },
      ]}
      searchLabel="Search patient code"
      fixed={{ project_id: projectId }}
      defaultSort="-opened_at"
      load={review.cases}
      rowId={(row) => row.id}
      rowLink={(row) => `/cases/${row.id}`}
      refetchInterval={60_000}
      empty={{
        icon: <IconCases size={32} />,
        title: 'No cases yet',
        text: 'A case opens automatically after the uploaded images are classified.',
        action: can('image.upload') && (
          <Button component={AppLink} to="/upload">
            Upload images
          </Button>
        ),
      }}
    />
  );
}
