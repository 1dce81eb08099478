// SPDX-License-Identifier: Apache-2.0
// How far a training is, in words and colors.
import { Badge, type Tone } from '@/components/Badge';
import { IconCheck, IconClock, IconCross, IconRefresh, IconWarning } from '@/components/icons';
import type { RunRow } from '@/api/types';

type State = RunRow['state'];

const TONES: Record<State, Tone> = { waiting: 'gray', running: 'blue', done: 'green', failed: 'red', stopped: 'gray' };
const TITLES: Record<State, string> = {
  waiting: 'Waiting',
  running: 'Running',
  done: 'Done',
  failed: 'Failed',
  stopped: 'Stopped',
};
const ICONS: Record<State, typeof IconCheck> = {
  waiting: IconClock,
  running: IconRefresh,
  done: IconCheck,
  failed: IconWarning,
  stopped: IconCross,
};

export function RunState({ state }: { state: State }) {
  const Icon = ICONS[state];
  return (
    <Badge tone={TONES[state]} icon={<Icon size={14} />}>
      {TITLES[state]}
    </Badge>
  );
}

export const isRunning = (state: State) => state === 'waiting' || state === 'running';

export const STAGES: [name: string, title: string][] = [
  ['preparing', 'Preparing images'],
  ['reading', 'Loading images'],
  ['checking', 'Checking for overlap'],
  ['learning', 'Training'],
  ['calibrating', 'Calibrating'],
  ['exporting', 'Exporting'],
  ['measuring', 'Measuring'],
];

export function stageTitle(name: string | null): string {
  return STAGES.find(([known]) => known === name)?.[1] ?? name ?? 'Waiting for a free worker';
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
