// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { training } from '@/api/calls';
import { useSession } from '@/api/session';
import type { RunRow } from '@/api/types';
import { IconPlus, IconTraining } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { duration, isRunning, RunState, stageTitle } from './runState';
import { TrainingTabs } from './TrainingTabs';

export function RunsPage() {
  const { projectId } = useSession();
  const button = (
    <Button component={Link} to="/training/new" leftSection={<IconPlus size={18} />}>
      Start training
    </Button>
  );
  return (
    <ListPage<RunRow>
      name="runs"
      title="Trainings"
      tabs={<TrainingTabs />}
      actions={button}
      columns={[
        { id: 'name', header: 'Classifier', sort: 'name', phone: true, cell: (row) => row.name },
        { id: 'state', header: 'State', sort: 'state', phone: true, cell: (row) => <RunState state={row.state} /> },
        { id: 'progress', header: 'Progress', cell: progressOf },
        { id: 'dataset', header: 'Data set', cell: (row) => row.dataset },
        { id: 'recipe', header: 'Recipe', cell: (row) => row.recipe },
        { id: 'by', header: 'Started by', cell: (row) => row.created_by },
        { id: 'created', header: 'Requested', sort: 'created_at', cell: (row) => <TimeAgo at={row.created_at} /> },
      ]}
      searchLabel="Search classifier name"
      fixed={{ project_id: projectId }}
      load={training.runs}
      rowId={(row) => row.id}
      rowName={(row) => row.name}
      rowLink={(row) => `/training/runs/${row.id}`}
      refetchInterval={(rows) => (rows?.some((row) => isRunning(row.state)) ? 3000 : false)}
      empty={{
        icon: <IconTraining size={32} />,
        title: 'No trainings yet',
        text: 'Create a data set from signed verdicts or a ZIP, then start a training with a recipe.',
        action: button,
      }}
    />
  );
}

function progressOf(row: RunRow): string {
  if (row.state !== 'running') return '–';
  const parts = [stageTitle(row.stage)];
  if (row.step !== null && row.of) parts.push(`${Math.round((100 * row.step) / row.of)} %`);
  if (row.eta_s !== null) parts.push(`about ${duration(row.eta_s)} left`);
  return parts.join(', ');
}
