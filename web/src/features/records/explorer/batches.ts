// SPDX-License-Identifier: Apache-2.0
// A long act done in parts, one after the other: how far it is can be shown, and what failed does not stop the rest.
import { asProblem, type Problem } from '@/api/problem';

export type BatchProgress = { progress: number; of: number };
export type BatchFailure<T> = { items: T[]; problem: Problem };

export async function runInBatches<T>(
  items: readonly T[],
  size: number,
  act: (batch: T[]) => Promise<unknown>,
  onProgress: (progress: BatchProgress) => void,
): Promise<BatchFailure<T>[]> {
  const failures: BatchFailure<T>[] = [];
  onProgress({ progress: 0, of: items.length });
  for (let start = 0; start < items.length; start += size) {
    const batch = items.slice(start, start + size);
    try {
      await act(batch);
    } catch (error) {
      const problem = asProblem(error);
      failures.push({ items: batch, problem });
      // Without a network or a sign-in all others would fail in the same way.
      if (problem.status === 0 || problem.status === 401) break;
    }
    onProgress({ progress: Math.min(items.length, start + size), of: items.length });
  }
  return failures;
}
