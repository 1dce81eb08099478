// SPDX-License-Identifier: Apache-2.0
import type { Check } from '@/api/types';
import { Badge } from '@/components/Badge';
import { IconCheck, IconCross } from '@/components/icons';
import { count, share } from '@/lib/format';
import classes from './training.module.css';

const LIMIT_NAMES: Record<string, string> = {
  images: 'Signed images classified by both',
  margin: 'Balanced accuracy below the one in use',
  ece: 'Expected calibration error',
  abstention: 'Share of images without a label',
};

function formatCheck(check: Check): [value: string, limit: string] {
  const write = (value: number) =>
    check.name === 'images' ? count(value) : check.name === 'ece' ? value.toFixed(3) : share(value);
  const value = check.value === null ? 'not known' : write(check.value);
  return [value, `${check.name === 'images' ? 'at least' : 'at most'} ${write(check.limit)}`];
}

export function Checks({ checks }: { checks: readonly Check[] }) {
  return (
    <ul className={classes.limits}>
      {checks.map((check) => {
        const [value, limit] = formatCheck(check);
        return (
          <li key={check.name}>
            <Badge
              tone={check.met ? 'green' : 'red'}
              icon={check.met ? <IconCheck size={14} /> : <IconCross size={14} />}
            >
              {check.met ? 'Met' : 'Not met'}
            </Badge>
            <span>{LIMIT_NAMES[check.name] ?? check.words}</span>
            <span className={classes.value}>
              <strong>{value}</strong> ({limit})
            </span>
          </li>
        );
      })}
    </ul>
  );
}
