// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { networkProblem, problemOf } from '@/api/problem';
import type { UploadAnswer } from '@/api/types';
import { isDone, makeUploadQueue, overallProgress, type Send } from '@/features/ingest/uploadQueue';

const facts = { patientId: 'p', pathway: 'smear-review' };
const file = (name: string, size = 10) => new File([new Uint8Array(size)], name);
const accepted = (name: string): UploadAnswer => ({
  items: [{ filename: name, outcome: 'accepted', reason: null, image_id: `id-${name}` }],
});

async function settled(queue: ReturnType<typeof makeUploadQueue>) {
  for (let turn = 0; turn < 200 && !queue.snapshot().every((upload) => isDone(upload.state)); turn += 1)
    await Promise.resolve();
  return queue.snapshot();
}

function make(send: (name: string, call: number) => Promise<UploadAnswer>) {
  const waits: number[] = [];
  let running = 0;
  let most = 0;
  const calls = new Map<string, number>();
  const sender: Send = async (one) => {
    running += 1;
    most = Math.max(most, running);
    const call = (calls.get(one.name) ?? 0) + 1;
    calls.set(one.name, call);
    try {
      return await send(one.name, call);
    } finally {
      running -= 1;
    }
  };
  const queue = makeUploadQueue(sender, (milliseconds) => {
    waits.push(milliseconds);
    return Promise.resolve();
  });
  return { queue, waits, most: () => most };
}

describe('the upload queue', () => {
  it('sends every file, three at a time, each with its own answer', async () => {
    const { queue, most } = make(async (name) => {
      await Promise.resolve();
      return name === 'b.txt'
        ? { items: [{ filename: name, outcome: 'quarantined', reason: 'Not an image.', image_id: null }] }
        : accepted(name);
    });
    queue.add(
      ['a', 'b.txt', 'c', 'd', 'e', 'f'].map((name) => file(name)),
      facts,
    );
    const uploads = await settled(queue);
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
    const { queue, waits } = make((name, call) =>
      call < 3 ? Promise.reject(networkProblem()) : Promise.resolve(accepted(name)),
    );
    queue.add([file('a')], facts);
    expect((await settled(queue))[0]?.state).toBe('accepted');
    expect(waits).toEqual([1200, 2400]);
    const down = make(() => Promise.reject(networkProblem()));
    down.queue.add([file('a')], facts);
    const [failed] = await settled(down.queue);
    expect(failed?.state).toBe('failed');
    expect(failed?.reason).toContain('cannot be reached');
    expect(down.waits).toHaveLength(3);
  });

  it('does not repeat what the server refused, and sends it again when asked', async () => {
    let refuse = true;
    const { queue, waits } = make((name) =>
      refuse ? Promise.reject(problemOf(413, null)) : Promise.resolve(accepted(name)),
    );
    queue.add([file('a')], facts);
    expect((await settled(queue))[0]?.reason).toContain('too large');
    expect(waits).toEqual([]);
    refuse = false;
    queue.retry();
    expect((await settled(queue))[0]?.state).toBe('accepted');
    queue.clear();
    expect(queue.snapshot()).toEqual([]);
  });

  it('waits as long as the server says', async () => {
    const { queue, waits } = make((name, call) =>
      call === 1 ? Promise.reject(problemOf(429, null, '7')) : Promise.resolve(accepted(name)),
    );
    queue.add([file('a')], facts);
    await settled(queue);
    expect(waits).toEqual([7000]);
  });
});
