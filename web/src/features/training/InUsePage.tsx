// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, NumberInput, Select, Textarea } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState, type SubmitEvent, type ReactNode } from 'react';
import { classification, training } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Check, Limits, PathwayClassifiers, Promotion } from '@/api/types';
import { Badge } from '@/components/Badge';
import { CopyableCode } from '@/components/CopyableCode';
import { IconCheck, IconCross, IconUndo } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifyProblem, notifySuccess } from '@/components/notify';
import { Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import { RowTable } from '@/components/RowTable';
import { capital, count, share } from '@/lib/format';
import { AgreementChart, DriftCharts } from './ClassifierMonitoring';
import { TrainingTabs } from './TrainingTabs';
import classes from './training.module.css';

export function InUsePage() {
  const search = useSearch({ from: '/shell/training/use' });
  const navigate = useNavigate();
  const { data: pathways } = useQuery(pathwaysQuery);
  const name = search.pathway ?? pathways?.[0]?.name;
  const { data, error } = useQuery({
    queryKey: ['training', 'in use', name],
    queryFn: ({ signal }) => training.onPathway(name ?? '', signal),
    enabled: name !== undefined,
  });
  const problem = error ? asProblem(error) : null;
  return (
    <Page
      title="In use"
      tabs={<TrainingTabs />}
      lead="Which classifier reads the images of a pathway, which one reads unseen in its shadow, and who may take its place."
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
          <LimitsPanel key={data.limits?.changed_at ?? 'none'} state={data} />
          <AgreementChart pathway={data.pathway} />
          <DriftCharts pathway={data.pathway} />
          <AppointmentHistory state={data} />
        </>
      )}
    </Page>
  );
}

function useRefresh() {
  const client = useQueryClient();
  return async () => {
    await client.invalidateQueries({ queryKey: ['training'] });
    await client.invalidateQueries({ queryKey: ['classifiers'] });
  };
}

function CurrentClassifiers({ state }: { state: PathwayClassifiers }) {
  const { can } = useSession();
  const refresh = useRefresh();
  const [rolling, roll] = useDisclosure(false);
  const [ending, end] = useDisclosure(false);
  return (
    <div className={classes.readers}>
      <Panel
        title="In use"
        side={
          can('decide-promotions') &&
          state.can_roll_back && (
            <Button variant="default" size="compact-sm" leftSection={<IconUndo size={16} />} onClick={roll.open}>
              Roll back
            </Button>
          )
        }
      >
        <ClassifierFacts
          name={state.in_use.classifier}
          digest={state.in_use.digest}
          words={
            state.in_use.since ? (
              <>
                Since <TimeAgo at={state.in_use.since} />, appointed by {state.in_use.by}.
              </>
            ) : (
              'The one that the pathway names.'
            )
          }
        />
      </Panel>
      <Panel
        title="In the shadow"
        side={
          state.shadow && (
            <Button variant="default" size="compact-sm" onClick={end.open}>
              End reading
            </Button>
          )
        }
      >
        {state.shadow ? (
          <ClassifierFacts
            name={state.shadow.classifier}
            digest={state.shadow.digest}
            words={
              <>
                Reads all that comes in since <TimeAgo at={state.shadow.since} />; nobody who reads images sees what it
                says.
              </>
            }
          />
        ) : (
          <StartShadow state={state} />
        )}
      </Panel>
      <ConfirmDialog
        opened={rolling}
        onClose={roll.close}
        title="Roll back"
        code={state.pathway}
        codeName="pathway"
        confirmLabel="Roll back"
        consequence={`${state.in_use.classifier} reads no more images of ${state.title}; the classifier before it reads them from now on. What ${state.in_use.classifier} said stays, under its digest.`}
        onConfirm={async () => {
          const after = await training.rollBack(state.pathway);
          await refresh();
          notifySuccess(`${after.in_use.classifier} reads again`);
        }}
      />
      <Modal opened={ending} onClose={end.close} title="End reading in the shadow">
        <div className={classes.form}>
          <p className={classes.text}>{state.shadow?.classifier} reads no new images. What it said so far stays.</p>
          <div className={`${classes.buttons} ${classes.end}`}>
            <Button variant="default" onClick={end.close}>
              Keep it
            </Button>
            <Button
              onClick={() =>
                void training
                  .endShadow(state.pathway)
                  .then(refresh)
                  .catch((error: unknown) => notifyProblem(error))
                  .finally(end.close)
              }
            >
              End reading
            </Button>
          </div>
        </div>
      </Modal>
    </div>
  );
}

function ClassifierFacts({ name, digest, words }: { name: string; digest: string; words: ReactNode }) {
  return (
    <div className={classes.reader}>
      <Link to="/classifiers/$digest" params={{ digest }} className={classes.name}>
        {name}
      </Link>
      <CopyableCode value={digest} label="the digest" maxLength={16} />
      <p className={classes.note}>{words}</p>
    </div>
  );
}

function StartShadow({ state }: { state: PathwayClassifiers }) {
  const refresh = useRefresh();
  const { data: classifiers } = useQuery({
    queryKey: ['classifiers'],
    queryFn: ({ signal }) => classification.classifiers(signal),
    staleTime: 60_000,
  });
  const [digest, setDigest] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const others = (classifiers ?? []).filter((classifier) => classifier.digest !== state.in_use.digest);
  const start = async () => {
    if (!digest) return;
    setBusy(true);
    try {
      const after = await training.startShadow(state.pathway, digest);
      await refresh();
      notifySuccess(`${after.shadow?.classifier ?? 'It'} reads in the shadow`);
    } catch (error) {
      notifyProblem(error, 'No classifier reads in the shadow');
    } finally {
      setBusy(false);
    }
  };
  if (classifiers && others.length === 0) {
    return (
      <p className={classes.note}>
        There is no other classifier. <Link to="/training/new">Train one</Link>; then it can read here beside the one in
        use, without being shown.
      </p>
    );
  }
  return (
    <div className={classes.reader}>
      <Select
        label="Classifier"
        placeholder="Choose one"
        data={others.map((classifier) => ({
          value: classifier.digest,
          label: `${classifier.name} ${classifier.version} (${classifier.digest.slice(0, 8)})`,
        }))}
        value={digest}
        onChange={setDigest}
      />
      <div className={classes.buttons}>
        <Button disabled={!digest} loading={busy} onClick={() => void start()}>
          Begin reading in the shadow
        </Button>
      </div>
    </div>
  );
}

const LIMIT_NAMES: Record<string, string> = {
  images: 'Signed images that both have read',
  margin: 'Balanced accuracy below the one in use',
  ece: 'Expected calibration error',
  abstention: 'Share of images on which it abstains',
};

function formatCheck(check: Check): [value: string, limit: string] {
  const write = (value: number) =>
    check.name === 'images' ? count(value) : check.name === 'ece' ? value.toFixed(3) : share(value);
  const value = check.value === null ? 'not known' : write(check.value);
  return [value, `${check.name === 'images' ? 'at least' : 'at most'} ${write(check.limit)}`];
}

function Checks({ checks }: { checks: readonly Check[] }) {
  return (
    <ul className={classes.limits}>
      {checks.map((check) => {
        const [value, limit] = formatCheck(check);
        return (
          <li key={check.name}>
            <Badge
              tone={check.met ? 'green' : 'red'}
              icon={check.met ? <IconCheck size={14} /> : <IconCross size={14} />}
            >
              {check.met ? 'Met' : 'Not met'}
            </Badge>
            <span>{LIMIT_NAMES[check.name] ?? check.words}</span>
            <span className={classes.value}>
              <strong>{value}</strong> ({limit})
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function PromotionPanel({ state }: { state: PathwayClassifiers }) {
  const refresh = useRefresh();
  const [busy, setBusy] = useState(false);
  const { data } = useQuery({
    queryKey: ['training', 'promotions', state.pathway],
    queryFn: ({ signal }) => training.promotions({ pathway: state.pathway, page_size: 20 }, signal),
  });
  const waiting = data?.items.find((promotion) => promotion.state === 'waiting');
  const decided = (data?.items ?? []).filter((promotion) => promotion.state !== 'waiting');
  const requestPromotion = async () => {
    if (!state.shadow) return;
    setBusy(true);
    try {
      await training.requestPromotion({ digest: state.shadow.digest, pathway: state.pathway });
      await refresh();
      notifySuccess('The promotion is asked for', 'Another person, an administrator, approves it.');
    } catch (error) {
      notifyProblem(error, 'The promotion was not asked for');
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title="Promotion">
      <div className={classes.reader}>
        {waiting ? (
          <PendingPromotion promotion={waiting} />
        ) : state.shadow && state.checks ? (
          <>
            <p className={classes.text}>
              {state.shadow.classifier}, held against what was signed of the same images as {state.in_use.classifier}:
            </p>
            <Checks checks={state.checks} />
            {state.checks.some((check) => !check.met) && (
              <p className={classes.note}>
                You can ask now, but it can be approved only once every limit is met. Images of patients that it learned
                from do not count; each signed case adds to the others.
              </p>
            )}
            <div className={classes.buttons}>
              <Button loading={busy} onClick={() => void requestPromotion()}>
                Ask for promotion
              </Button>
            </div>
          </>
        ) : (
          <p className={classes.note}>
            {state.shadow
              ? 'Limits are not fixed yet: an administrator fixes them before a promotion is asked for.'
              : 'A classifier that has read in the shadow can be promoted: one person asks, an administrator who is somebody else approves.'}
          </p>
        )}
        {decided.length > 0 && (
          <RowTable
            name="Decided promotions"
            headers={['Classifier', 'Decision', 'Asked by', 'Decided by', 'When', 'Reason']}
            rows={decided.map((promotion) => [
              <Link key="name" to="/classifiers/$digest" params={{ digest: promotion.digest }}>
                {promotion.classifier}
              </Link>,
              <Badge key="state" tone={promotion.state === 'approved' ? 'green' : 'gray'}>
                {capital(promotion.state)}
              </Badge>,
              promotion.requested_by,
              promotion.decided_by ?? '–',
              <TimeAgo key="when" at={promotion.decided_at} />,
              promotion.reason ?? '–',
            ])}
          />
        )}
      </div>
    </Panel>
  );
}

function PendingPromotion({ promotion }: { promotion: Promotion }) {
  const { can } = useSession();
  const refresh = useRefresh();
  const [rejecting, reject] = useDisclosure(false);
  const [reason, setReason] = useState('');
  const [busy, setBusy] = useState(false);
  const act = async (what: () => Promise<unknown>, done: string) => {
    setBusy(true);
    try {
      await what();
      await refresh();
      reject.close();
      notifySuccess(done);
    } catch (error) {
      notifyProblem(error, 'The promotion is not decided');
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <p className={classes.text}>
        {promotion.requested_by} asks for <strong>{promotion.classifier}</strong> to be taken into use,{' '}
        <TimeAgo at={promotion.requested_at} />. The limits were fixed by {promotion.limits_fixed_by},{' '}
        <TimeAgo at={promotion.limits_fixed_at} />.
      </p>
      <Checks checks={promotion.checks} />
      {can('decide-promotions') ? (
        <>
          {promotion.mine && (
            <p className={classes.note}>You asked for it yourself; another administrator approves it.</p>
          )}
          {!promotion.keeps_limits && (
            <p className={classes.note}>It does not keep every limit, so it cannot be approved now.</p>
          )}
          <div className={classes.buttons}>
            <Button
              loading={busy}
              disabled={promotion.mine || !promotion.keeps_limits}
              onClick={() =>
                void act(() => training.approve(promotion.id), `${promotion.classifier} reads from now on`)
              }
            >
              Approve promotion
            </Button>
            <Button variant="default" disabled={busy} onClick={reject.open}>
              Reject
            </Button>
          </div>
        </>
      ) : (
        <p className={classes.note}>An administrator approves or rejects it.</p>
      )}
      <Modal opened={rejecting} onClose={reject.close} title={`Reject ${promotion.classifier}`}>
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault();
            void act(() => training.reject(promotion.id, reason.trim()), 'The promotion is rejected');
          }}
        >
          <Textarea
            label="Reason"
            required
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            minRows={2}
            autosize
            data-autofocus
          />
          <div className={`${classes.buttons} ${classes.end}`}>
            <Button variant="default" onClick={reject.close}>
              Cancel
            </Button>
            <Button type="submit" loading={busy} disabled={!reason.trim()}>
              Reject
            </Button>
          </div>
        </form>
      </Modal>
    </>
  );
}

const DEFAULTS: Limits = { margin: 0.01, ece: 0.05, abstention: 0.2, images: 100 };

function LimitsPanel({ state }: { state: PathwayClassifiers }) {
  const { can } = useSession();
  const refresh = useRefresh();
  const [limits, setLimits] = useState<Limits>(() => ({
    margin: state.limits?.margin ?? DEFAULTS.margin,
    ece: state.limits?.ece ?? DEFAULTS.ece,
    abstention: state.limits?.abstention ?? DEFAULTS.abstention,
    images: state.limits?.images ?? DEFAULTS.images,
  }));
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const mayChange = can('decide-promotions');
  if (!mayChange && !state.limits) return null;

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await training.setLimits(state.pathway, limits);
      await refresh();
      notifySuccess('The limits are fixed');
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };
  const percent = (name: 'margin' | 'abstention', label: string, max: number) => (
    <NumberInput
      label={label}
      suffix=" %"
      min={0}
      max={max}
      step={1}
      decimalScale={1}
      disabled={!mayChange}
      value={Math.round(limits[name] * 1000) / 10}
      onChange={(value) => setLimits({ ...limits, [name]: (Number(value) || 0) / 100 })}
    />
  );
  return (
    <Panel title="Limits of a promotion">
      <form onSubmit={(event) => void submit(event)} className={classes.reader}>
        <p className={classes.note}>
          {state.limits ? (
            <>
              Fixed by {state.limits.changed_by}, <TimeAgo at={state.limits.changed_at} />. A request keeps the limits
              under which it was made.
            </>
          ) : (
            'Not fixed yet. Fix them before anybody asks, so that no result decides on its own measure.'
          )}
        </p>
        <div className={classes.choices}>
          {percent('margin', 'Balanced accuracy below the one in use, at most', 50)}
          <NumberInput
            label="Expected calibration error, at most"
            min={0}
            max={1}
            step={0.01}
            decimalScale={3}
            disabled={!mayChange}
            value={limits.ece}
            onChange={(value) => setLimits({ ...limits, ece: Number(value) || 0 })}
          />
          {percent('abstention', 'Abstains on, at most', 100)}
          <NumberInput
            label="Signed images that both have read, at least"
            min={1}
            step={10}
            allowDecimal={false}
            disabled={!mayChange}
            value={limits.images}
            onChange={(value) => setLimits({ ...limits, images: Number(value) || 1 })}
          />
        </div>
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {mayChange && (
          <div className={classes.buttons}>
            <Button type="submit" variant="default" loading={busy}>
              Fix the limits
            </Button>
          </div>
        )}
      </form>
    </Panel>
  );
}

function AppointmentHistory({ state }: { state: PathwayClassifiers }) {
  if (state.history.length === 0) return null;
  return (
    <Panel title="Who read when">
      <RowTable
        name="Who read when"
        headers={['Classifier', 'Part', 'From', 'Until', 'Appointed by', 'Digest']}
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
