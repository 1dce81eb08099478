// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { networkProblem, problemOf } from '@/api/problem';
import type { UploadAnswer } from '@/api/types';
import {
  isDone,
  isOutstanding,
  createUploadQueue,
  overallProgress,
  sourceOf,
  type SendFiles,
} from '@/components/upload/uploadQueue';

const facts = { patientId: 'p', pathway: 'smear-review' };
const file = (name: string, size = 10) => sourceOf(new File([new Uint8Array(size)], name));
const accepted = (...names: string[]): UploadAnswer => ({
  items: names.map((name) => ({ filename: name, outcome: 'accepted', reason: null, image_id: `id-${name}` })),
});

async function waitUntilDone(queue: ReturnType<typeof createUploadQueue>) {
  for (let turn = 0; turn < 200 && !queue.snapshot().every((upload) => isDone(upload.state)); turn += 1)
    await Promise.resolve();
  return queue.snapshot();
}

/** A server that is asked for each file by itself, whatever files come together. */
function createQueue(send: (name: string, call: number) => Promise<UploadAnswer>) {
  const waits: number[] = [];
  const batchSizes: number[] = [];
  let running = 0;
  let most = 0;
  const calls = new Map<string, number>();
  const sender: SendFiles = async (files) => {
    running += 1;
    most = Math.max(most, running);
    batchSizes.push(files.length);
    try {
      const answers = files.map((entry) => {
        const call = (calls.get(entry.name) ?? 0) + 1;
        calls.set(entry.name, call);
        return send(entry.name, call);
      });
      return { items: (await Promise.all(answers)).flatMap((answer) => answer.items) };
    } finally {
      running -= 1;
    }
  };
  const queue = createUploadQueue(sender, (milliseconds) => {
    waits.push(milliseconds);
    return Promise.resolve();
  });
  return { queue, waits, batchSizes: batchSizes, most: () => most };
}

describe('the upload queue', () => {
  it('forgets every file at sign-out and sends none of those that waited', async () => {
    const sent: string[] = [];
    const { queue } = createQueue(async (name) => {
      sent.push(name);
      await Promise.resolve();
      return accepted(name);
    });
    queue.add(
      Array.from({ length: 30 }, (_, index) => file(`${index}.png`)),
      facts,
    );
    const before = sent.length;
    queue.reset();
    expect(queue.snapshot()).toEqual([]);
    for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
    expect(queue.snapshot()).toEqual([]);
    expect(sent.length - before).toBeLessThan(30);
  });

  it('sends every file, three at a time, each with its own answer', async () => {
    const { queue, most } = createQueue(async (name) => {
      await Promise.resolve();
      return name === 'b.txt'
        ? { items: [{ filename: name, outcome: 'quarantined', reason: 'Not an image.', image_id: null }] }
        : accepted(name);
    });
    queue.add(
      ['a', 'b.txt', 'c', 'd', 'e', 'f'].map((name) => file(name)),
      facts,
    );
    const uploads = await waitUntilDone(queue);
    expect(uploads.map((upload) => upload.state)).toEqual([
      'accepted',
      'quarantined',
      'accepted',
      'accepted',
      'accepted',
      'accepted',
    ]);
    expect(uploads[1]?.reason).toBe('Not an image.');
    expect(most()).toBe(3);
    expect(overallProgress(uploads)).toBe(1);
  });

  it('tries again when the network fails, and no more often than it says', async () => {
    const { queue, waits } = createQueue((name, call) =>
      call < 3 ? Promise.reject(networkProblem()) : Promise.resolve(accepted(name)),
    );
    queue.add([file('a')], facts);
    expect((await waitUntilDone(queue))[0]?.state).toBe('accepted');
    expect(waits).toEqual([1200, 2400]);
    const down = createQueue(() => Promise.reject(networkProblem()));
    down.queue.add([file('a')], facts);
    const [failed] = await waitUntilDone(down.queue);
    expect(failed?.state).toBe('failed');
    expect(failed?.reason).toContain('cannot be reached');
    expect(down.waits).toHaveLength(3);
  });

  it('does not repeat what the server refused, and sends it again when asked', async () => {
    let refuse = true;
    const { queue, waits } = createQueue((name) =>
      refuse ? Promise.reject(problemOf(413, null)) : Promise.resolve(accepted(name)),
    );
    queue.add([file('a')], facts);
    expect((await waitUntilDone(queue))[0]?.reason).toContain('too large');
    expect(waits).toEqual([]);
    refuse = false;
    queue.retry();
    expect((await waitUntilDone(queue))[0]?.state).toBe('accepted');
    queue.clear();
    expect(queue.snapshot()).toEqual([]);
  });

  it('sends ten thousand files in few requests, and small files of different places apart', async () => {
    const { queue, batchSizes: batchSizes } = createQueue((name) => Promise.resolve(accepted(name)));
    const elsewhere = { ...facts, studyId: 's' };
    queue.add(
      Array.from({ length: 9_000 }, (_, number) => file(`${number}`)),
      facts,
    );
    queue.add([file('big', 9_000_000), file('other')], elsewhere);
    let turns = 0;
    while (!queue.snapshot().every((upload) => isDone(upload.state)) && (turns += 1) < 500_000) await Promise.resolve();
    expect(queue.snapshot().filter((upload) => upload.state === 'accepted')).toHaveLength(9_002);
    expect(Math.max(...batchSizes)).toBe(20);
    expect(batchSizes.length).toBeLessThan(9_000 / 20 + 10);
    expect(batchSizes.slice(-2)).toEqual([1, 1]);
  });

  it('finds out by itself which file of several is refused', async () => {
    const { queue } = createQueue((name) =>
      name === 'd' ? Promise.reject(problemOf(413, null)) : Promise.resolve(accepted(name)),
    );
    queue.add(
      'abcdef'.split('').map((name) => file(name)),
      facts,
    );
    const uploads = await waitUntilDone(queue);
    expect(uploads.map((upload) => upload.state).filter((state) => state !== 'accepted')).toEqual(['failed']);
    expect(uploads[3]?.state).toBe('failed');
  });

  it('sends nothing while it is paused, and all of it afterwards', async () => {
    const { queue, batchSizes: batchSizes } = createQueue((name) => Promise.resolve(accepted(name)));
    queue.pause(true);
    queue.add([file('a'), file('b')], facts);
    await Promise.resolve();
    expect(batchSizes).toEqual([]);
    queue.pause(false);
    expect((await waitUntilDone(queue)).map((upload) => upload.state)).toEqual(['accepted', 'accepted']);
  });

  it('says of a file that cannot be opened why, and sends the others', async () => {
    const { queue } = createQueue((name) => Promise.resolve(accepted(name)));
    const broken = { name: 'x', size: 1, open: () => Promise.reject(problemOf(422, { title: 'Locked', detail: '' })) };
    queue.add([broken, file('a')], facts);
    const uploads = await waitUntilDone(queue);
    expect(uploads.map((upload) => upload.state)).toEqual(['failed', 'accepted']);
    expect(uploads[0]?.reason).toContain('Locked');
  });

  it('waits as long as the server says', async () => {
    const { queue, waits } = createQueue((name, call) =>
      call === 1 ? Promise.reject(problemOf(429, null, '7')) : Promise.resolve(accepted(name)),
    );
    queue.add([file('a')], facts);
    await waitUntilDone(queue);
    expect(waits).toEqual([7000]);
  });

  it.each([networkProblem(), problemOf(502, null), problemOf(504, null)])(
    'counts no file as sent for which no server answered, and sends all of them at a retry',
    async (unreachable) => {
      let down = true;
      const { queue } = createQueue((name) =>
        down && name !== 'a' ? Promise.reject(unreachable) : Promise.resolve(accepted(name)),
      );
      queue.add([file('a')], facts);
      await waitUntilDone(queue);
      queue.add(
        Array.from({ length: 79 }, (_, number) => file(`${number}`)),
        facts,
      );
      const uploads = await waitUntilDone(queue);
      expect(uploads.filter(isOutstanding)).toHaveLength(79);
      expect(overallProgress(uploads)).toBeCloseTo(1 / 80);
      expect(new Set(uploads.slice(1).map((upload) => upload.reason))).toEqual(
        new Set(['Not sent: the server cannot be reached. Retry when it answers again.']),
      );
      down = false;
      queue.retry();
      const sent = await waitUntilDone(queue);
      expect(sent.filter(isOutstanding)).toEqual([]);
      expect(overallProgress(sent)).toBe(1);
    },
  );

  it('counts a file that the server refused as answered', async () => {
    const { queue } = createQueue(() => Promise.reject(problemOf(413, null)));
    queue.add([file('a')], facts);
    const uploads = await waitUntilDone(queue);
    expect(uploads.filter(isOutstanding)).toEqual([]);
  });
});
