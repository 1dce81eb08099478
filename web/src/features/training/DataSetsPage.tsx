// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { training } from '@/api/calls';
import { useSession } from '@/api/session';
import type { DataSet } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { IconFolder, IconPlus } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { count } from '@/lib/format';
import { TrainingTabs } from './TrainingTabs';

export function DataSetsPage() {
  const { projectId } = useSession();
  const button = (
    <Button component={Link} to="/training/datasets/new" leftSection={<IconPlus size={18} />}>
      New version
    </Button>
  );
  return (
    <ListPage<DataSet>
      name="datasets"
      title="Data sets"
      tabs={<TrainingTabs />}
      actions={button}
      columns={[
        {
          id: 'name',
          header: 'Version',
          sort: 'name',
          phone: true,
          cell: (row) => `${row.name} v${row.version}`,
        },
        {
          id: 'origin',
          header: 'Label source',
          cell: (row) => (row.origin === 'verdicts' ? 'Signed verdicts' : 'An uploaded ZIP'),
        },
        { id: 'labels', header: 'Labels', align: 'end', cell: (row) => count(Object.keys(row.counts).length) },
        {
          id: 'images',
          header: 'Images',
          sort: 'images',
          align: 'end',
          phone: true,
          cell: (row) => count(row.images - row.erased),
        },
        { id: 'erased', header: 'Erased', align: 'end', cell: (row) => count(row.erased), hidden: true },
        { id: 'project', header: 'Project', cell: (row) => row.project },
        { id: 'by', header: 'Created by', cell: (row) => row.created_by },
        { id: 'made', header: 'Created', sort: 'created_at', cell: (row) => <TimeAgo at={row.created_at} /> },
        {
          id: 'digest',
          header: 'Digest',
          cell: (row) => <CopyableCode value={row.digest} label="the digest" maxLength={12} />,
        },
      ]}
      searchLabel="Search name"
      fixed={{ project_id: projectId }}
      load={training.datasets}
      rowId={(row) => row.id}
      rowName={(row) => `${row.name} v${row.version}`}
      rowLink={(row) => `/training/datasets/${row.id}`}
      empty={{
        icon: <IconFolder size={32} />,
        title: 'No data sets yet',
        text: 'Create a version from signed verdicts, or upload a ZIP with a folder for each label.',
        action: button,
      }}
    />
  );
}
