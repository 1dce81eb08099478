// SPDX-License-Identifier: Apache-2.0
// The reading queue as values: its order, where to go next, what a key means. Pure.
import type { ImageRow, Prediction, Verdict } from '@/api/types';

/** Images of one case stand together, in the order in which the cases first appear. */
export function sortByCase(images: readonly ImageRow[]): ImageRow[] {
  const groups = new Map<string, ImageRow[]>();
  for (const image of images) {
    const group = groups.get(image.case_id ?? image.id) ?? [];
    group.push(image);
    groups.set(image.case_id ?? image.id, group);
  }
  return [...groups.values()].flat();
}

export function isOpen(image: ImageRow): boolean {
  return !image.verified && image.state !== 'signed' && image.state !== 'waiting';
}

/** The next image without a verdict in the case of the image at `from`, around its end; -1 when all have one. */
export function nextOpenInCase(images: readonly ImageRow[], from: number): number {
  const current = images[from];
  if (!current?.case_id) return -1;
  for (let step = 1; step <= images.length; step += 1) {
    const index = (from + step) % images.length;
    const image = images[index];
    if (image && image.case_id === current.case_id && isOpen(image)) return index;
  }
  return -1;
}

/** Whether every image of the case of the image at `index` that is here has a verdict and none is signed. */
export function isCaseRead(images: readonly ImageRow[], index: number): boolean {
  const current = images[index];
  if (!current?.case_id || current.state === 'signed') return false;
  return !images.some((image) => image.case_id === current.case_id && isOpen(image));
}

/** The next image without a verdict after `from`, around the end; -1 when all have one. */
export function nextOpen(images: readonly ImageRow[], from: number): number {
  for (let step = 1; step <= images.length; step += 1) {
    const index = (from + step) % images.length;
    const image = images[index];
    if (image && isOpen(image)) return index;
  }
  return -1;
}

export function withVerdict(image: ImageRow, verdict: Verdict): ImageRow {
  return { ...image, verdict, verified: true, state: 'verified' };
}

/** New images of a later answer behind those already here, which keep their places. */
export function mergeImages(current: readonly ImageRow[], later: readonly ImageRow[]): ImageRow[] {
  const known = new Set(current.map((image) => image.id));
  return [...current, ...sortByCase(later.filter((image) => !known.has(image.id)))];
}

/** The label that Enter accepts; none where the classifier abstained or has not spoken. */
export function acceptableLabel(prediction: Prediction | null): string | null {
  return prediction && !prediction.uncertain ? prediction.label : null;
}

export type NoteWhen = readonly string[];

/** Whether the pathway wants a note with this label; a file that no classifier could read counts as uncertain. */
export function noteNeeded(image: ImageRow, when: NoteWhen, label: string | null = null): boolean {
  const uncertain = image.prediction?.uncertain ?? true;
  if (uncertain) return when.includes('uncertain');
  return label !== null && label !== image.prediction?.label && when.includes('disagreeing');
}

/** Labels with their keys 1..9 by the pathway's order, so that a key always means the same label; drawn by probability. */
export function labelChoices(
  labels: readonly string[],
  prediction: Prediction | null,
): { label: string; key: string | null; value: number | null }[] {
  const rows = labels.map((label, index) => ({
    label,
    key: index < 9 ? String(index + 1) : null,
    value: prediction?.probabilities[label] ?? null,
  }));
  return rows.sort((a, b) => (b.value ?? -1) - (a.value ?? -1));
}
