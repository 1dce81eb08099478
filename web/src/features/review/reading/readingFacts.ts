// SPDX-License-Identifier: Apache-2.0
// What the reading view derives from an image and a stage of the pathway. Pure.
import type { ImageRow, Pathway } from '@/api/types';
import type { ViewerImage } from '@/components/ImageViewer';
import { sortedProbabilities } from '@/components/Probabilities';
import { statusOf, statusText } from '@/components/StatusMark';
import { probability } from '@/lib/format';
import type { NoteWhen } from './readingQueue';

export function viewerImage(image: ImageRow): ViewerImage {
  return {
    id: image.id,
    width: image.width,
    height: image.height,
    unreadable: image.state === 'unreadable',
    evidence: image.prediction?.evidence ?? false,
  };
}

export function hasVerdict(stage: Pathway['stages'][number]): boolean {
  return stage.acts.some(({ act }) => act === 'verdict');
}

/** When the stage's verdicts want a note; until the pathway is known, where the classifier was uncertain. */
export function noteWhenOf(stage: Pathway['stages'][number] | undefined): NoteWhen {
  return stage?.acts.find(({ act }) => act === 'verdict')?.note_when ?? ['uncertain'];
}

export function describe(image: ImageRow, position: string, labelName: (label: string) => string): string {
  const { prediction, verdict } = image;
  if (verdict) return `${position}, verdict ${labelName(verdict.label)}, ${statusText(statusOf(image))}`;
  if (!prediction) return `${position}, ${statusText(statusOf(image))}`;
  const top = sortedProbabilities(prediction)[0];
  const value = top ? probability(top[1]) : '';
  return prediction.uncertain
    ? `${position}, uncertain, most likely ${labelName(top?.[0] ?? '')} ${value}`
    : `${position}, prediction ${labelName(prediction.label)} ${value}`;
}
