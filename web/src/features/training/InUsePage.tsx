// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, NumberInput, Select, Textarea } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState, type FormEvent, type ReactNode } from 'react';
import { classification, training } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Check, Limits, PathwayClassifiers, Promotion } from '@/api/types';
import { Badge } from '@/components/Badge';
import { Code } from '@/components/Code';
import { IconCheck, IconCross, IconUndo } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { tellProblem, tellSuccess } from '@/components/notify';
import { Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { TypedConfirm } from '@/components/TypedConfirm';
import { CardTable } from '@/features/classification/CardTable';
import { capital, count, share } from '@/lib/format';
import { Agreement, DriftCharts } from './Watch';
import { TrainingTabs } from './TrainingTabs';
import classes from './training.module.css';

export function InUsePage() {
  const search = useSearch({ strict: false });
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
            onChange={(value) => value && void navigate({ to: '.', search: { pathway: value } as never })}
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
          <Readers state={data} />
          <Promotions state={data} />
          <LimitsPanel key={data.limits?.changed_at ?? 'none'} state={data} />
          <Agreement pathway={data.pathway} />
          <DriftCharts pathway={data.pathway} />
          <Past state={data} />
        </>
      )}
    </Page>
  );
}

function useChanged() {
  const client = useQueryClient();
  return async () => {
    await client.invalidateQueries({ queryKey: ['training'] });
    await client.invalidateQueries({ queryKey: ['classifiers'] });
  };
}

function Readers({ state }: { state: PathwayClassifiers }) {
  const { can } = useSession();
  const changed = useChanged();
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
        <Reader
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
          <Reader
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
          <BeginShadow state={state} />
        )}
      </Panel>
      <TypedConfirm
        opened={rolling}
        onClose={roll.close}
        title="Roll back"
        code={state.pathway}
        codeName="pathway"
        verb="Roll back"
        consequence={`${state.in_use.classifier} reads no more images of ${state.title}; the classifier before it reads them from now on. What ${state.in_use.classifier} said stays, under its digest.`}
        act={async () => {
          const after = await training.rollBack(state.pathway);
          await changed();
          tellSuccess(`${after.in_use.classifier} reads again`);
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
                  .then(changed)
                  .catch((error: unknown) => tellProblem(error))
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

function Reader({ name, digest, words }: { name: string; digest: string; words: ReactNode }) {
  return (
    <div className={classes.reader}>
      <Link to="/classifiers/$digest" params={{ digest }} className={classes.name}>
        {name}
      </Link>
      <Code value={digest} what="the digest" shown={16} />
      <p className={classes.note}>{words}</p>
    </div>
  );
}

function BeginShadow({ state }: { state: PathwayClassifiers }) {
  const changed = useChanged();
  const { data: classifiers } = useQuery({
    queryKey: ['classifiers'],
    queryFn: ({ signal }) => classification.classifiers(signal),
    staleTime: 60_000,
  });
  const [digest, setDigest] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const others = (classifiers ?? []).filter((one) => one.digest !== state.in_use.digest);
  const begin = async () => {
    if (!digest) return;
    setBusy(true);
    try {
      const after = await training.beginShadow(state.pathway, digest);
      await changed();
      tellSuccess(`${after.shadow?.classifier ?? 'It'} reads in the shadow`);
    } catch (error) {
      tellProblem(error, 'No classifier reads in the shadow');
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
        data={others.map((one) => ({
          value: one.digest,
          label: `${one.name} ${one.version} (${one.digest.slice(0, 8)})`,
        }))}
        value={digest}
        onChange={setDigest}
      />
      <div className={classes.buttons}>
        <Button disabled={!digest} loading={busy} onClick={() => void begin()}>
          Begin reading in the shadow
        </Button>
      </div>
    </div>
  );
}

const LIMIT_WORDS: Record<string, string> = {
  images: 'Signed images that both have read',
  margin: 'Balanced accuracy below the one in use',
  ece: 'Expected calibration error',
  abstention: 'Share of images on which it abstains',
};

function shown(check: Check): [value: string, limit: string] {
  const write = (value: number) =>
    check.name === 'images' ? count(value) : check.name === 'ece' ? value.toFixed(3) : share(value);
  const value = check.value === null ? 'not known' : write(check.value);
  return [value, `${check.name === 'images' ? 'at least' : 'at most'} ${write(check.limit)}`];
}

function Checks({ checks }: { checks: readonly Check[] }) {
  return (
    <ul className={classes.limits}>
      {checks.map((check) => {
        const [value, limit] = shown(check);
        return (
          <li key={check.name}>
            <Badge
              tone={check.met ? 'green' : 'red'}
              icon={check.met ? <IconCheck size={14} /> : <IconCross size={14} />}
            >
              {check.met ? 'Met' : 'Not met'}
            </Badge>
            <span>{LIMIT_WORDS[check.name] ?? check.words}</span>
            <span className={classes.value}>
              <strong>{value}</strong> ({limit})
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function Promotions({ state }: { state: PathwayClassifiers }) {
  const changed = useChanged();
  const [busy, setBusy] = useState(false);
  const { data } = useQuery({
    queryKey: ['training', 'promotions', state.pathway],
    queryFn: ({ signal }) => training.promotions({ pathway: state.pathway, page_size: 20 }, signal),
  });
  const waiting = data?.items.find((one) => one.state === 'waiting');
  const decided = (data?.items ?? []).filter((one) => one.state !== 'waiting');
  const ask = async () => {
    if (!state.shadow) return;
    setBusy(true);
    try {
      await training.ask({ digest: state.shadow.digest, pathway: state.pathway });
      await changed();
      tellSuccess('The promotion is asked for', 'Another person, an administrator, approves it.');
    } catch (error) {
      tellProblem(error, 'The promotion was not asked for');
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title="Promotion">
      <div className={classes.reader}>
        {waiting ? (
          <Waiting promotion={waiting} />
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
              <Button loading={busy} onClick={() => void ask()}>
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
          <CardTable
            name="Decided promotions"
            head={['Classifier', 'Decision', 'Asked by', 'Decided by', 'When', 'Reason']}
            rows={decided.map((one) => [
              <Link key="name" to="/classifiers/$digest" params={{ digest: one.digest }}>
                {one.classifier}
              </Link>,
              <Badge key="state" tone={one.state === 'approved' ? 'green' : 'gray'}>
                {capital(one.state)}
              </Badge>,
              one.requested_by,
              one.decided_by ?? '–',
              <TimeAgo key="when" at={one.decided_at} />,
              one.reason ?? '–',
            ])}
          />
        )}
      </div>
    </Panel>
  );
}

function Waiting({ promotion }: { promotion: Promotion }) {
  const { can } = useSession();
  const changed = useChanged();
  const [rejecting, reject] = useDisclosure(false);
  const [reason, setReason] = useState('');
  const [busy, setBusy] = useState(false);
  const act = async (what: () => Promise<unknown>, done: string) => {
    setBusy(true);
    try {
      await what();
      await changed();
      reject.close();
      tellSuccess(done);
    } catch (error) {
      tellProblem(error, 'The promotion is not decided');
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
  const changed = useChanged();
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

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await training.fixLimits(state.pathway, limits);
      await changed();
      tellSuccess('The limits are fixed');
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

function Past({ state }: { state: PathwayClassifiers }) {
  if (state.history.length === 0) return null;
  return (
    <Panel title="Who read when">
      <CardTable
        name="Who read when"
        head={['Classifier', 'Part', 'From', 'Until', 'Appointed by', 'Digest']}
        rows={state.history.map((one) => [
          one.classifier,
          capital(one.part),
          <TimeAgo key="from" at={one.since} />,
          one.until ? <TimeAgo key="until" at={one.until} /> : 'now',
          one.by ?? '–',
          <Link key="digest" to="/classifiers/$digest" params={{ digest: one.digest }} className="mh-code">
            {one.digest.slice(0, 8)}
          </Link>,
        ])}
      />
    </Panel>
  );
}
