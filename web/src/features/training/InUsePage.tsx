// SPDX-License-Identifier: Apache-2.0
import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { training } from '@/api/calls';
import { useSession } from '@/api/session';
import { asProblem } from '@/api/problem';
import { pathwaysQuery } from '@/api/queries';
import type { PathwayClassifiers } from '@/api/types';
import { Notice } from '@/components/Notice';
import { Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { RowTable } from '@/components/RowTable';
import { capital } from '@/lib/format';
import { AgreementChart, DriftCharts } from './ClassifierMonitoring';
import { TrainingTabs } from './TrainingTabs';

import { CurrentClassifiers } from './CurrentClassifiers';
import { LimitsPanel } from './PromotionLimits';
import { PromotionPanel } from './PromotionPanel';

export function InUsePage() {
  const search = useSearch({ from: '/shell/training/use' });
  const navigate = useNavigate();
  const { data: pathways } = useQuery(pathwaysQuery);
  const name = search.pathway ?? pathways?.[0]?.name;
  const { projectId, projectsWith } = useSession();
  const projects = projectsWith('training.read');
  const project = projects.find((membership) => membership.project_id === projectId) ?? projects[0];
  const { data, error } = useQuery({
    queryKey: ['training', 'in use', name, project?.project_id],
    queryFn: ({ signal }) => training.onPathway({ pathway: name ?? '', project_id: project?.project_id ?? '' }, signal),
    enabled: name !== undefined && project !== undefined,
  });
  const problem = error ? asProblem(error) : null;
  return (
    <Page
      title="In use"
      tabs={<TrainingTabs />}
      lead={`The classifier of each pathway${project && projects.length > 1 ? ` in ${project.project}` : ''}, the classifier in shadow mode, and requests for promotion.`}
      actions={
        (pathways?.length ?? 0) > 1 && (
          <Select
            aria-label="Pathway"
            data={(pathways ?? []).map((entry) => ({ value: entry.name, label: entry.title }))}
            value={name ?? null}
            onChange={(value) => value && void navigate({ to: '/training/use', search: { pathway: value } })}
          />
        )
      }
    >
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {data && (
        <>
          <CurrentClassifiers state={data} />
          <PromotionPanel state={data} />
          <LimitsPanel key={`${data.project_id} ${data.limits?.changed_at ?? 'none'}`} state={data} />
          <AgreementChart on={data} />
          <DriftCharts on={data} />
          <AppointmentHistory state={data} />
        </>
      )}
    </Page>
  );
}

function AppointmentHistory({ state }: { state: PathwayClassifiers }) {
  if (state.history.length === 0) return null;
  return (
    <Panel title="History">
      <RowTable
        name="History"
        headers={['Classifier', 'Part', 'From', 'Until', 'Activated by', 'Digest']}
        rows={state.history.map((appointment) => [
          appointment.classifier,
          capital(appointment.part),
          <TimeAgo key="from" at={appointment.since} />,
          appointment.until ? <TimeAgo key="until" at={appointment.until} /> : 'now',
          appointment.by ?? '–',
          <Link key="digest" to="/classifiers/$digest" params={{ digest: appointment.digest }} className="mh-code">
            {appointment.digest.slice(0, 8)}
          </Link>,
        ])}
      />
    </Panel>
  );
}
