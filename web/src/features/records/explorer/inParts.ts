// SPDX-License-Identifier: Apache-2.0
// A long act done in parts, one after the other: how far it is can be shown, and what failed does not stop the rest.
import { asProblem, type Problem } from '@/api/problem';

export type Done = { done: number; of: number };
export type Failed<T> = { items: T[]; problem: Problem };

export async function inParts<T>(
  items: readonly T[],
  size: number,
  act: (part: T[]) => Promise<unknown>,
  tell: (how: Done) => void,
): Promise<Failed<T>[]> {
  const failed: Failed<T>[] = [];
  tell({ done: 0, of: items.length });
  for (let start = 0; start < items.length; start += size) {
    const part = items.slice(start, start + size);
    try {
      await act(part);
    } catch (error) {
      const problem = asProblem(error);
      failed.push({ items: part, problem });
      // Without a network or a sign-in all others would fail in the same way.
      if (problem.status === 0 || problem.status === 401) break;
    }
    tell({ done: Math.min(items.length, start + size), of: items.length });
  }
  return failed;
}
