// SPDX-License-Identifier: Apache-2.0
import type { CaseRow } from '@/api/types';
import { capital, plural, words } from '@/lib/format';
import { Badge, type Tone } from './Badge';
import classes from './CaseList.module.css';
import { AppLink } from './AppLink';
import { IconLock } from './icons';
import { TimeAgo } from './TimeAgo';

export function StageBadge({
  row,
}: {
  row: Pick<CaseRow, 'signed_at' | 'stage_title' | 'superseded_by_id' | 'waiting_for_me' | 'ready_to_sign'>;
}) {
  const tone: Tone = row.superseded_by_id ? 'gray' : row.signed_at ? 'green' : 'blue';
  return (
    <Badge tone={tone} icon={row.signed_at ? <IconLock size={13} /> : undefined}>
      {row.superseded_by_id ? 'Superseded' : row.ready_to_sign ? 'Ready to sign' : row.stage_title}
    </Badge>
  );
}

export function CaseList({ cases, showPatient = false }: { cases: CaseRow[]; showPatient?: boolean }) {
  return (
    <ul className={classes.list}>
      {cases.map((row) => (
        <li key={row.id}>
          <AppLink to={`/cases/${row.id}`} className={classes.row}>
            <span className={classes.title}>
              {showPatient && <code>{row.patient_code}</code>} {capital(words(row.pathway))}
              {row.version > 1 && `, version ${row.version}`}
            </span>
            <span className={classes.sub}>
              {row.verified} of {plural(row.images, 'image')} verified
              {row.uncertain > 0 && `, ${row.uncertain} uncertain`}
            </span>
            <span className={classes.end}>
              <StageBadge row={row} />
              <span className={classes.sub}>
                <TimeAgo at={row.signed_at ?? row.opened_at} />
              </span>
            </span>
          </AppLink>
        </li>
      ))}
    </ul>
  );
}
