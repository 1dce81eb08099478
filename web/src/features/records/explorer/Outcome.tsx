// SPDX-License-Identifier: Apache-2.0
// How far a long act is, and what of it failed, in the server's own words.
import { Progress as Bar } from '@mantine/core';
import { Notice } from '@/components/Notice';
import { count, plural } from '@/lib/format';
import { nameOf, type Entry } from './entries';
import type { Done, Failed } from './inParts';

export function Progress({ verb, done }: { verb: string; done: Done }) {
  const words = `${verb} ${count(done.done)} of ${count(done.of)}`;
  return (
    <div role="status">
      <p style={{ margin: '0 0 4px' }}>{words}</p>
      <Bar.Root>
        <Bar.Section value={done.of > 0 ? (done.done / done.of) * 100 : 0} aria-label={words} />
      </Bar.Root>
    </div>
  );
}

export function Failures({ failed }: { failed: Failed<Entry>[] }) {
  const said = Map.groupBy(failed, (one) => one.problem.detail || one.problem.title);
  return [...said].map(([words, several]) => {
    const items = several.flatMap((one) => one.items);
    const first = items[0];
    return (
      <Notice
        key={words}
        tone="red"
        title={items.length === 1 && first ? `${nameOf(first)} stays` : `${plural(items.length, 'thing')} stay`}
      >
        {words}
      </Notice>
    );
  });
}
