// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import type { ImageRow, Prediction } from '@/api/types';
import {
  acceptableLabel,
  labelChoices,
  sortByCase,
  mergeImages,
  nextOpen,
  noteNeeded,
  withVerdict,
} from '@/features/review/reading/readingQueue';

const prediction = (probabilities: Record<string, number>, uncertain = false): Prediction => {
  const [likeliest = '', confidence = 0] = Object.entries(probabilities).sort((a, b) => b[1] - a[1])[0] ?? [];
  return {
    classifier: 'blood-cells',
    version: '1',
    digest: 'd',
    label: uncertain ? 'Uncertain' : likeliest,
    likeliest,
    confidence,
    uncertain,
    reason: null,
    threshold: 0.75,
    probabilities,
    novelty: 0,
    novel: false,
    milliseconds: 5,
    evidence: true,
    created_at: '2026-11-21T03:00:00Z',
  };
};

const image = (id: string, caseId: string | null, patch: Partial<ImageRow> = {}): ImageRow => ({
  id,
  case_id: caseId,
  project_id: 'p',
  patient_id: 'q',
  patient_code: 'P-1',
  study_id: 's',
  series_id: 't',
  number: 1,
  modality: 'GM',
  kind: 'photograph',
  width: 10,
  height: 10,
  frames: 1,
  size_bytes: 1,
  created_at: '2026-11-21T03:00:00Z',
  verified: false,
  locked: false,
  picture: true,
  shown_as: 'image',
  state: 'read',
  prediction: prediction({ ig: 0.9, monocyte: 0.1 }),
  verdict: null,
  etag: 'e',
  ...patch,
});

const ids = (images: ImageRow[]) => images.map((entry) => entry.id).join('');

describe('the reading queue', () => {
  it('keeps the images of a case together, in the order in which cases appear', () => {
    expect(
      ids(sortByCase([image('a', '1'), image('b', '2'), image('c', '1'), image('d', null), image('e', '2')])),
    ).toBe('acbed');
  });

  it('goes to the next image without a verdict, around the end', () => {
    const queue = [
      image('a', '1'),
      image('b', '1', { verified: true }),
      image('c', '1', { state: 'waiting' }),
      image('d', '1'),
    ];
    expect(nextOpen(queue, 0)).toBe(3);
    expect(nextOpen(queue, 3)).toBe(0);
    expect(nextOpen([image('a', '1', { verified: true })], 0)).toBe(-1);
  });

  it('lets new images join at the end without moving the others', () => {
    const here = [image('a', '1'), image('b', '1', { verified: true })];
    expect(ids(mergeImages(here, [image('c', '2'), image('b', '1'), image('a', '1')]))).toBe('abc');
    expect(mergeImages(here, [image('b', '1')])[1]?.verified).toBe(true);
  });

  it('accepts nothing where the classifier abstained, and wants a note there', () => {
    const unsure = image('a', '1', { prediction: prediction({ ig: 0.6, monocyte: 0.4 }, true) });
    expect(acceptableLabel(unsure.prediction)).toBeNull();
    expect(noteNeeded(unsure, ['uncertain'])).toBe(true);
    expect(noteNeeded(unsure, [])).toBe(false);
    expect(acceptableLabel(image('b', '1').prediction)).toBe('ig');
    expect(noteNeeded(image('b', '1'), ['uncertain'], 'monocyte')).toBe(false);
  });

  it('wants a note where no classifier could read the image', () => {
    expect(noteNeeded(image('a', '1', { state: 'unreadable', prediction: null }), ['uncertain'])).toBe(true);
  });

  it('wants a note for another label only where the pathway says so', () => {
    expect(noteNeeded(image('a', '1'), ['disagreeing'], 'monocyte')).toBe(true);
    expect(noteNeeded(image('a', '1'), ['disagreeing'], 'ig')).toBe(false);
  });

  it('draws labels by probability, each with the key of its place in the pathway', () => {
    const rows = labelChoices(['ig', 'monocyte', 'not-classed'], prediction({ ig: 0.2, monocyte: 0.8 }));
    expect(rows.map((row) => `${row.key} ${row.label}`)).toEqual(['2 monocyte', '1 ig', '3 not-classed']);
    expect(
      labelChoices(
        Array.from({ length: 10 }, (_, index) => `l${index}`),
        null,
      )[9]?.key,
    ).toBeNull();
  });

  it('counts an image with a verdict as verified', () => {
    const done = withVerdict(image('a', '1'), {
      label: 'ig',
      note: null,
      by: 'Me',
      by_id: 'm',
      role: 'physician',
      at: '',
      agrees: true,
    });
    expect(done.state).toBe('verified');
    expect(nextOpen([done], 0)).toBe(-1);
  });
});
