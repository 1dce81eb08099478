// SPDX-License-Identifier: Apache-2.0
import { ago, dateTimeWithZone } from '@/lib/format';

export function TimeAgo({ at }: { at: string | null | undefined }) {
  if (!at) return <span>never</span>;
  return (
    <time dateTime={at} title={dateTimeWithZone(at)}>
      {ago(at)}
    </time>
  );
}
