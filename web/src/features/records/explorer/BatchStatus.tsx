// SPDX-License-Identifier: Apache-2.0
// How far a long act is, and what of it failed, in the server's own words.
import { Progress as Bar } from '@mantine/core';
import { Notice } from '@/components/Notice';
import { count, plural } from '@/lib/format';
import { nameOf, type Entry } from './entries';
import type { BatchProgress, BatchFailure } from './batches';

export function BatchProgressBar({ verb, done }: { verb: string; done: BatchProgress }) {
  const words = `${verb} ${count(done.progress)} of ${count(done.of)}`;
  return (
    <div role="status">
      <p style={{ margin: '0 0 4px' }}>{words}</p>
      <Bar.Root>
        <Bar.Section value={done.of > 0 ? (done.progress / done.of) * 100 : 0} aria-label={words} />
      </Bar.Root>
    </div>
  );
}

export function BatchFailures({ failed }: { failed: BatchFailure<Entry>[] }) {
  const byReason = Map.groupBy(failed, (failure) => failure.problem.detail || failure.problem.title);
  return [...byReason].map(([words, several]) => {
    const items = several.flatMap((failure) => failure.items);
    const first = items[0];
    return (
      <Notice
        key={words}
        tone="red"
        title={
          items.length === 1 && first
            ? `${nameOf(first)} was not changed`
            : `${plural(items.length, 'entry', 'entries')} were not changed`
        }
      >
        {words}
      </Notice>
    );
  });
}
