// SPDX-License-Identifier: Apache-2.0
import { Drawer } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { accounts, audit } from '@/api/calls';
import { useSession } from '@/api/session';
import type { AuditEntry } from '@/api/types';
import { Badge } from '@/components/Badge';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { IconAudit } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { eventText } from '@/lib/eventText';
import { capital, count, dateTime, dateTimeWithZone, words } from '@/lib/format';
import { VerifyButton } from './VerifyButton';

/** A day of the address as the moment at which it begins here; `after` of them later. */
function startOf(day: string | number | boolean | null | undefined, after: number): string | undefined {
  if (typeof day !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(day)) return undefined;
  const [year = 0, month = 1, date = 1] = day.split('-').map(Number);
  return new Date(year, month - 1, date + after).toISOString();
}

export function AuditPage() {
  const { projectId } = useSession();
  const [open, setOpen] = useState<AuditEntry | null>(null);
  const { data: actions = [] } = useQuery({
    queryKey: ['audit', 'actions'],
    queryFn: ({ signal }) => audit.actions(signal),
    staleTime: 60_000,
  });
  const { data: people } = useQuery({
    queryKey: ['users', 'audit', projectId],
    queryFn: ({ signal }) => accounts.users({ project_id: projectId, sort: 'name', page_size: 200 }, signal),
    staleTime: 60_000,
  });
  return (
    <>
      <ListPage<AuditEntry>
        name="audit"
        title="Audit log"
        actions={<VerifyButton />}
        lead="Every action on patient data. Each entry contains the hash of the previous entry."
        columns={[
          { id: 'seq', header: 'No.', align: 'end', phone: true, cell: (row) => count(row.seq) },
          {
            id: 'at',
            header: 'When',
            cell: (row) => (
              <time dateTime={row.at} title={dateTimeWithZone(row.at)}>
                {dateTime(row.at)}
              </time>
            ),
          },
          { id: 'actor', header: 'Who', phone: true, cell: (row) => row.actor },
          { id: 'action', header: 'Action', phone: true, cell: (row) => capital(words(row.action)) },
          { id: 'object', header: 'Object', cell: (row) => capital(words(row.object_type)) },
          {
            id: 'patient',
            header: 'Patient',
            cell: (row) =>
              row.patient_id ? (
                <AppLink to={`/patients/${row.patient_id}`}>{row.patient_code ?? 'Erased'}</AppLink>
              ) : (
                '–'
              ),
          },
          {
            id: 'outcome',
            header: 'Outcome',
            cell: (row) => <Badge tone={row.outcome === 'done' ? 'green' : 'red'}>{capital(row.outcome)}</Badge>,
          },
          { id: 'origin', header: 'From', hidden: true, cell: (row) => row.origin },
          {
            id: 'hash',
            header: 'Hash',
            hidden: true,
            cell: (row) => <CopyableCode value={row.hash} label="the hash" maxLength={10} />,
          },
        ]}
        filters={[
          {
            id: 'action',
            label: 'Action',
            options: actions.map((action) => ({ value: action, label: capital(words(action)) })),
          },
          {
            id: 'actor_id',
            label: 'Person',
            options: (people?.items ?? []).map((person) => ({
              value: person.id,
              label: `${person.name} (${person.email})`,
            })),
          },
          {
            id: 'outcome',
            label: 'Outcome',
            options: [
              { value: 'done', label: 'Done' },
              { value: 'refused', label: 'Refused' },
            ],
          },
          { id: 'since', label: 'Since', kind: 'date' },
          { id: 'until', label: 'Until', kind: 'date' },
        ]}
        searchLabel="Search person, patient code, action"
        fixed={{ project_id: projectId }}
        load={(query, signal) =>
          audit.entries({ ...query, since: startOf(query.since, 0), until: startOf(query.until, 1) }, signal)
        }
        rowId={(row) => String(row.seq)}
        onRow={setOpen}
        empty={{
          icon: <IconAudit size={32} />,
          title: 'No entries yet',
          text: 'Actions appear here when they happen.',
        }}
      />
      <Drawer
        opened={open !== null}
        onClose={() => setOpen(null)}
        position="right"
        title={open ? `Entry ${count(open.seq)}` : ''}
        size="md"
      >
        {open && (
          <DetailList
            details={[
              ['When', dateTimeWithZone(open.at)],
              ['Who', open.actor],
              ['Action', capital(words(open.action))],
              [
                'Object',
                open.object_id ? (
                  <CopyableCode key="object" value={`${open.object_type} ${open.object_id}`} label="the object" />
                ) : (
                  open.object_type
                ),
              ],
              open.patient_id !== null && [
                'Patient',
                <AppLink key="patient" to={`/patients/${open.patient_id}`}>
                  {open.patient_code ?? 'Erased'}
                </AppLink>,
              ],
              ['From', open.origin],
              ['Outcome', capital(open.outcome)],
              ['Detail', eventText(open.detail)],
              ['Hash', <CopyableCode key="hash" value={open.hash} label="the hash" />],
            ]}
          />
        )}
      </Drawer>
    </>
  );
}
