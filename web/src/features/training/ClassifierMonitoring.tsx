// SPDX-License-Identifier: Apache-2.0
// How the classifiers of a pathway do over time: against what was signed, and against their own beginning.
import { SegmentedControl } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { training, type ProjectPathway } from '@/api/calls';
import { LineChart } from '@/components/LineChart';
import { Notice } from '@/components/Notice';
import { Panel } from '@/components/Page';
import { plural, share, shortDay } from '@/lib/format';
import classes from './training.module.css';

export function AgreementChart({ on }: { on: ProjectPathway }) {
  const { data } = useQuery({
    queryKey: ['training', 'agreement', on.pathway, on.project_id],
    queryFn: ({ signal }) => training.agreement(on, signal),
  });
  if (!data?.shadow) return null;
  const total = data.weeks.reduce((sum, week) => sum + week.n, 0);
  if (total === 0) {
    return (
      <Panel title="Agreement with signed verdicts">
        <p className={classes.note}>
          No signed images yet that both classifiers have classified and neither was trained with.
        </p>
      </Panel>
    );
  }
  const mean = (name: 'in_use' | 'shadow') => data.weeks.reduce((sum, week) => sum + week[name] * week.n, 0) / total;
  return (
    <LineChart
      title="Agreement with signed verdicts"
      n={`n = ${plural(total, 'signed image')}`}
      summary={`In use ${share(mean('in_use'))}, in shadow mode ${share(mean('shadow'))} agree with the signed verdicts.`}
      steps={data.weeks.map((week) => shortDay(week.begins))}
      stepTitle="Week from"
      unit="Share that agrees"
      range={[0, 1]}
      lines={[
        { name: 'In use', values: data.weeks.map((week) => week.in_use) },
        { name: 'Shadow mode', values: data.weeks.map((week) => week.shadow) },
      ]}
      format={share}
    />
  );
}

/** What the index says where there is no alarm: a high value among few images may be chance. */
function driftSummary(spans: { psi: number | null; n: number }[], step: 'day' | 'week'): string {
  const meaning = '0 is the same distribution of labels as in the reference; above 0.25 it is clearly different.';
  const high = spans.filter((span) => (span.psi ?? 0) > 0.25);
  if (high.length === 0) return `Every ${step} is at or below 0.25. ${meaning}`;
  return `${plural(high.length, step)} above 0.25, but with too few images to exclude chance, so there is no alarm. ${meaning}`;
}

export function DriftCharts({ on }: { on: ProjectPathway }) {
  const [step, setStep] = useState<'day' | 'week'>('week');
  const { data } = useQuery({
    queryKey: ['training', 'drift', on.pathway, step, on.project_id],
    queryFn: ({ signal }) => training.drift(on, step, signal),
  });
  if (!data) return null;
  const n = data.spans.reduce((sum, span) => sum + span.n, 0);
  const alarms = new Set(data.spans.flatMap((span, index) => (span.alarm ? [index] : [])));
  const steps = data.spans.map((span) => shortDay(span.begins));
  const stepTitle = step === 'day' ? 'Day' : 'Week from';
  return (
    <>
      <Panel
        title="Drift"
        side={
          <SegmentedControl
            aria-label="Interval"
            size="xs"
            data={[
              { value: 'day', label: 'By day' },
              { value: 'week', label: 'By week' },
            ]}
            value={step}
            onChange={(value) => setStep(value)}
          />
        }
      >
        <div className={classes.reader}>
          {data.alarm && (
            <Notice tone="red" title="The incoming images have changed">
              {data.sentence} Check the latest images: a new stain, camera or patient group may need a new training.
            </Notice>
          )}
          <p className={classes.note}>
            {data.reference
              ? `Compared with the first ${plural(data.reference.n, 'image')} classified by the classifier in use: ${share(
                  data.reference.uncertain ?? 0,
                )} uncertain, ${share(data.reference.novel ?? 0)} unlike its training images, mean confidence ${(
                  data.reference.confidence ?? 0
                ).toFixed(2)}. An alarm needs at least 50 images in a ${step}.`
              : 'The classifier in use has not classified any image here yet.'}
            {data.reference && data.spans.length === 0 && ' No later images yet.'}
          </p>
        </div>
      </Panel>
      {data.spans.length > 0 && (
        <>
          <LineChart
            title="Stability of the labels"
            n={`n = ${plural(n, 'image')}`}
            summary={
              alarms.size > 0
                ? `${plural(alarms.size, step)} with an alarm, marked “!”.`
                : driftSummary(data.spans, step)
            }
            steps={steps}
            stepTitle={stepTitle}
            unit="Stability index"
            lines={[{ name: 'Stability index', values: data.spans.map((span) => span.psi) }]}
            range={[0, Math.max(0.3, ...data.spans.map((span) => (span.psi ?? 0) * 1.1))]}
            format={(value) => value.toFixed(2)}
            alarms={alarms}
          />
          <LineChart
            title="Confidence and uncertainty"
            n={`n = ${plural(n, 'image')}`}
            summary="Mean confidence, and the shares of uncertain images and of images unlike the training data."
            steps={steps}
            stepTitle={stepTitle}
            unit="Share"
            range={[0, 1]}
            lines={[
              { name: 'Mean confidence', values: data.spans.map((span) => span.confidence) },
              { name: 'Uncertain', values: data.spans.map((span) => span.uncertain) },
              { name: 'Unlike the training data', values: data.spans.map((span) => span.novel) },
            ]}
            format={share}
            alarms={alarms}
          />
        </>
      )}
    </>
  );
}
