// SPDX-License-Identifier: Apache-2.0
import { Button, Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { review } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { useSession } from '@/api/session';
import { CaseList } from '@/components/CaseList';
import { DailyChart, LabelChart } from '@/components/Chart';
import { AppLink } from '@/components/AppLink';
import { EmptyState } from '@/components/EmptyState';
import { IconReports, IconUpload, IconWorklist } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Page, Panel } from '@/components/Page';
import { count, plural } from '@/lib/format';
import classes from './DashboardPage.module.css';

export function DashboardPage() {
  const { can } = useSession();
  if (can('dashboard.read')) return <Overview />;
  return (
    <Page title="Welcome">
      <EmptyState
        icon={<IconReports size={32} />}
        title="No tasks yet"
        text="Your doctor gives you the report when it is ready. Please ask there if you have questions."
      />
    </Page>
  );
}

function Overview() {
  const { projectId, can, labelName } = useSession();
  const { data, error, refetch } = useQuery({
    queryKey: ['dashboard', projectId],
    queryFn: ({ signal }) => review.dashboard({ project_id: projectId }, signal),
    refetchInterval: 60_000,
  });
  const problem = error ? asProblem(error) : null;

  return (
    <Page
      title="Dashboard"
      lead={data && lead(data.cases_waiting_for_me, data.unverified, can('verdict.give'))}
      actions={
        <>
          {can('image.upload') && (
            <Button
              component={AppLink}
              to="/upload"
              variant={can('verdict.give') ? 'default' : 'filled'}
              leftSection={<IconUpload size={18} />}
            >
              Upload images
            </Button>
          )}
          {can('verdict.give') && (
            <Button component={AppLink} to="/worklist" leftSection={<IconWorklist size={18} />}>
              Open the worklist
            </Button>
          )}
        </>
      }
    >
      {problem && !data && (
        <Notice tone="red" title={problem.title}>
          <div>{problem.detail}</div>
          <Button mt="sm" size="xs" variant="default" onClick={() => void refetch()}>
            Try again
          </Button>
        </Notice>
      )}
      <ul className={classes.counts}>
        <Count to="/patients" name="Patients" value={data?.patients} />
        <Count to="/images" name="Images" value={data?.images} />
        <Count to="/images" search={{ verified: 'false' }} name="To verify" value={data?.unverified} />
        <Count to="/cases" search={{ mine: 'true' }} name="Waiting for me" value={data?.cases_waiting_for_me} />
        <Count to="/cases" search={{ ready: 'true' }} name="Ready to sign" value={data?.cases_ready_to_sign} />
        <Count to="/cases" name="Open cases" value={data?.cases_open} />
        <Count to="/reports" name="Reports" value={data?.reports} />
        {can('arrival.resolve') && <Count to="/quarantine" name="Quarantined" value={data?.quarantined} />}
      </ul>
      <div className={classes.pair}>
        {data ? <DailyChart title="Uploads" days={data.uploads} unit="Images" /> : <Skeleton height={330} />}
        {data ? (
          <LabelChart
            title="Labels"
            labels={data.labels.map((entry) => ({ ...entry, label: labelName(entry.label) }))}
            unit="Images"
            axis="Label"
          />
        ) : (
          <Skeleton height={330} />
        )}
      </div>
      <WaitingForMe />
    </Page>
  );
}

function lead(waiting: number, unverified: number, reads: boolean): string {
  if (waiting > 0) return `${plural(waiting, 'case is', 'cases are')} waiting for you.`;
  if (reads && unverified > 0) return `${plural(unverified, 'image needs', 'images need')} verification.`;
  return 'No open tasks.';
}

function Count({
  to,
  search,
  name,
  value,
}: {
  to: string;
  search?: Record<string, string>;
  name: string;
  value: number | undefined;
}) {
  return (
    <li>
      <Link to={to} search={search} className={classes.count}>
        <span className={classes.name}>{name}</span>
        <span className={classes.value}>
          {value === undefined ? <Skeleton height={28} width={48} /> : count(value)}
        </span>
      </Link>
    </li>
  );
}

function WaitingForMe() {
  const { projectId } = useSession();
  const { data } = useQuery({
    queryKey: ['cases', 'list', 'mine', projectId],
    queryFn: ({ signal }) =>
      review.cases({ mine: true, project_id: projectId, sort: 'opened_at', page_size: 8 }, signal),
    refetchInterval: 60_000,
  });
  return (
    <Panel
      title="Cases waiting for me"
      side={
        data && data.total > data.items.length ? (
          <AppLink to={`/cases?mine=true`}>All {count(data.total)}</AppLink>
        ) : undefined
      }
    >
      {data === undefined ? (
        <Skeleton height={80} />
      ) : data.items.length === 0 ? (
        <p className={classes.none}>None. A case is listed here when its stage requires your role.</p>
      ) : (
        <CaseList cases={data.items} showPatient />
      )}
    </Panel>
  );
}
