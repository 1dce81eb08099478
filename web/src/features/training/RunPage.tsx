// SPDX-License-Identifier: Apache-2.0
import { Button, Modal } from '@mantine/core';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { training } from '@/api/calls';
import type { Run } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { IconCheck, IconCross } from '@/components/icons';
import { LineChart } from '@/components/LineChart';
import { Notice } from '@/components/Notice';
import { notifyProblem } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { count, plural, share } from '@/lib/format';
import { duration, isRunning, RunState, STAGES, stageTitle } from './runState';
import classes from './training.module.css';

export function RunPage() {
  const { runId } = useParams({ from: '/shell/training/runs/$runId' });
  const client = useQueryClient();
  const { data: run } = useSuspenseQuery({
    queryKey: ['runs', 'one', runId],
    queryFn: ({ signal }) => training.run(runId, signal),
    refetchInterval: (query) => (query.state.data && isRunning(query.state.data.state) ? 1500 : false),
  });
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);

  const stop = async () => {
    setAsking(false);
    setBusy(true);
    try {
      await training.stop(run.id);
      await client.invalidateQueries({ queryKey: ['runs'] });
    } catch (error) {
      notifyProblem(error, `The training of ${run.name} was not stopped`);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Page
      title={`Training of ${run.name}`}
      heading={
        <>
          {run.name} <RunState state={run.state} />
        </>
      }
      trail={[{ to: '/training', title: 'Trainings' }]}
      actions={
        isRunning(run.state) && (
          <Button
            variant="default"
            leftSection={<IconCross size={18} />}
            loading={busy || run.stop_asked}
            onClick={() => setAsking(true)}
          >
            Stop training
          </Button>
        )
      }
    >
      <Modal opened={asking} onClose={() => setAsking(false)} title={`Stop the training of ${run.name}`}>
        <div className={classes.form}>
          <p className={classes.text}>What it has learned so far is not kept, and it cannot be resumed.</p>
          <div className={`${classes.buttons} ${classes.end}`}>
            <Button variant="default" onClick={() => setAsking(false)}>
              Cancel
            </Button>
            <Button onClick={() => void stop()}>Stop training</Button>
          </div>
        </div>
      </Modal>
      <Columns
        left={
          <>
            {run.state === 'failed' && (
              <Notice tone="red" title="Training failed">
                {run.failure}
              </Notice>
            )}
            {run.state === 'done' && run.digest && (
              <Notice title="The classifier is ready">
                Review its{' '}
                <Link to="/classifiers/$digest" params={{ digest: run.digest }}>
                  model card
                </Link>
                , then evaluate it in shadow mode under <Link to="/training/use">In use</Link>.
              </Notice>
            )}
            {isRunning(run.state) && <Progress run={run} />}
            <Curves run={run} />
          </>
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  [
                    'Data set',
                    <Link key="data" to="/training/datasets/$datasetId" params={{ datasetId: run.dataset_id }}>
                      {run.dataset}
                    </Link>,
                  ],
                  ['Recipe', run.recipe],
                  ['Initial weights', run.init ?? 'from the recipe'],
                  ['Requested by', run.created_by],
                  ['Requested', <TimeAgo key="asked" at={run.created_at} />],
                  ['Started', run.started_at ? <TimeAgo key="started" at={run.started_at} /> : 'not yet'],
                  run.finished_at !== null && ['Ended', <TimeAgo key="ended" at={run.finished_at} />],
                  run.digest !== null && [
                    'Digest',
                    <CopyableCode key="digest" value={run.digest} label="the digest" maxLength={16} />,
                  ],
                  run.overrule_leakage !== null && ['Overlap accepted', run.overrule_leakage],
                ]}
              />
            </Panel>
            {run.recipe_text && (
              <Panel title="Recipe">
                <pre tabIndex={0} style={{ overflowX: 'auto', margin: 0, fontSize: '0.8125rem' }}>
                  {run.recipe_text}
                </pre>
              </Panel>
            )}
          </>
        }
      />
    </Page>
  );
}

function Progress({ run }: { run: Run }) {
  const known = run.step !== null && run.of !== null && run.of > 0;
  const done = known ? (run.step ?? 0) / (run.of ?? 1) : 0;
  const at = STAGES.findIndex(([name]) => name === run.stage);
  const title = run.stop_asked ? 'Stopping' : stageTitle(run.stage);
  return (
    <Panel title="Progress">
      <div className={classes.progress}>
        <div className={classes.progressLine}>
          <strong aria-live="polite">{title}</strong>
          <span>
            {known ? `${count(run.step ?? 0)} of ${count(run.of ?? 0)}` : ''}
            {run.eta_s !== null ? `, about ${duration(run.eta_s)} left` : ''}
          </span>
        </div>
        <div
          className={classes.bar}
          role="progressbar"
          aria-label={title}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={known ? Math.round(100 * done) : undefined}
          data-unknown={known ? undefined : true}
        >
          <span style={known ? { inlineSize: `${100 * done}%` } : undefined} />
        </div>
        <ol className={classes.stages}>
          {STAGES.map(([name, words], index) => (
            <li key={name} data-now={index === at || undefined} aria-current={index === at ? 'step' : undefined}>
              {index < at && <IconCheck size={14} />}
              {words}
            </li>
          ))}
        </ol>
      </div>
    </Panel>
  );
}

type Epoch = {
  epoch: number;
  stage?: string;
  loss: number | null;
  validation_loss: number | null;
  validation_accuracy: number | null;
  seconds: number | null;
};

function Curves({ run }: { run: Run }) {
  const epochs = run.epochs as Epoch[];
  const last = epochs.at(-1);
  if (!last) return null;
  const steps = epochs.map((epoch) => `${epoch.stage === 'head' ? 'head ' : ''}${epoch.epoch}`);
  const seconds = epochs.reduce((sum, epoch) => sum + (epoch.seconds ?? 0), 0) / epochs.length;
  const best = epochs.reduce((bestSoFar, epoch) =>
    (epoch.validation_accuracy ?? 0) > (bestSoFar.validation_accuracy ?? 0) ? epoch : bestSoFar,
  );
  const n = `${plural(epochs.length, 'epoch')}, ${duration(seconds)} each`;
  return (
    <>
      <LineChart
        title="Loss"
        n={n}
        summary={
          last.validation_loss === null
            ? 'Training has started.'
            : `Loss ${last.loss?.toFixed(3) ?? '–'} on training images, ${last.validation_loss.toFixed(3)} on validation images.`
        }
        steps={steps}
        stepTitle="Epoch"
        unit="Loss"
        lines={[
          { name: 'Training', values: epochs.map((epoch) => epoch.loss) },
          { name: 'Validation', values: epochs.map((epoch) => epoch.validation_loss) },
        ]}
        format={(value) => value.toFixed(2)}
      />
      <LineChart
        title="Accuracy on validation images"
        n={n}
        summary={
          best.validation_accuracy === null
            ? 'Not measured yet.'
            : `Best ${share(best.validation_accuracy)} after epoch ${best.epoch}.`
        }
        steps={steps}
        stepTitle="Epoch"
        unit="Accuracy"
        lines={[{ name: 'Accuracy', values: epochs.map((epoch) => epoch.validation_accuracy) }]}
        format={share}
      />
    </>
  );
}
