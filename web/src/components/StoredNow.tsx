// SPDX-License-Identifier: Apache-2.0
import type { Problem } from '@/api/problem';
import { eventText } from '@/lib/eventText';

/** After a refused write on an earlier state: what is stored now, so that the person can compare and decide. */
export function StoredNow({ problem, members }: { problem: Problem; members: readonly string[] }) {
  if (!problem.isStale) return null;
  const current = problem.current as Record<string, unknown>;
  const stored = Object.fromEntries(members.map((member) => [member, current[member]]));
  return <div>Stored now: {eventText(stored) || 'empty'}. To store your values instead, save again.</div>;
}
