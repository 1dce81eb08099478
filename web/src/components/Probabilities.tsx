// SPDX-License-Identifier: Apache-2.0
// What a classifier said: bars with numbers, sorted, with the pathway's limit as a line in each bar.
import { useSession } from '@/api/session';
import type { Prediction } from '@/api/types';
import { probability } from '@/lib/format';
import classes from './Probabilities.module.css';

export function sortedProbabilities(prediction: Prediction): [string, number][] {
  return Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]);
}

export function ProbabilityBar({
  value,
  threshold,
  tone,
}: {
  value: number;
  threshold: number;
  tone: 'sure' | 'unsure' | 'rest';
}) {
  return (
    <span className={classes.bar} aria-hidden="true">
      <span className={classes.fill} data-tone={tone} style={{ inlineSize: `${Math.max(0.5, value * 100)}%` }} />
      <span className={classes.limit} style={{ insetInlineStart: `${threshold * 100}%` }} />
    </span>
  );
}

export function Probabilities({ prediction }: { prediction: Prediction }) {
  const { labelName } = useSession();
  return (
    <ol className={classes.list} aria-label="Probability of each label">
      {sortedProbabilities(prediction).map(([label, value], index) => (
        <li key={label} className={classes.row}>
          <span>{labelName(label)}</span>
          <ProbabilityBar
            value={value}
            threshold={prediction.threshold}
            tone={index > 0 ? 'rest' : prediction.uncertain ? 'unsure' : 'sure'}
          />
          <span className={classes.value}>{probability(value)}</span>
        </li>
      ))}
    </ol>
  );
}

/** Why there is no label: in amber, hatched, and in words. */
export function UncertainNotice({ prediction, noteNeeded = true }: { prediction: Prediction; noteNeeded?: boolean }) {
  if (!prediction.uncertain) return null;
  const top = sortedProbabilities(prediction)[0];
  const sentence =
    prediction.reason ||
    (prediction.novel
      ? 'Unlike the training images of the classifier.'
      : `Below the threshold of this pathway: ${probability(top?.[1] ?? 0)} of ${probability(prediction.threshold)}.`);
  return (
    <div className={classes.uncertain} role="note">
      <strong>Uncertain</strong>
      <span>
        {/[.!?]$/.test(sentence) ? sentence : `${sentence}.`}
        {noteNeeded && !/\bnote\b/i.test(sentence) ? ' A note is required.' : ''}
      </span>
    </div>
  );
}
