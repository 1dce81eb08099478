// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { records } from '@/api/calls';
import { fieldsQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { PatientRow } from '@/api/types';
import { Badge } from '@/components/Badge';
import { AppLink } from '@/components/AppLink';
import { IconPatients, IconPlus } from '@/components/icons';
import { ListPage, type Column, type Filter } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { count, sex, SEX_OPTIONS } from '@/lib/format';
import { formatField } from './formatField';

export function PatientsPage() {
  const { projectId, homeProjectId, can, memberships } = useSession();
  const { data: fields = [] } = useQuery(fieldsQuery(projectId ?? homeProjectId, 'patient'));

  const columns: Column<PatientRow>[] = [
    {
      id: 'code',
      header: 'Code',
      sort: 'code',
      phone: true,
      cell: (row) => <span className="mh-code">{row.code}</span>,
    },
    { id: 'sex', header: 'Sex', sort: 'sex', phone: true, cell: (row) => sex(row.sex) },
    { id: 'age', header: 'Age', sort: 'birth_year', align: 'end', phone: true, cell: (row) => row.age ?? '–' },
    ...fields.map((field, index): Column<PatientRow> => ({
      id: `field.${field.key}`,
      header: field.unit ? `${field.label} (${field.unit})` : field.label,
      sort: `field.${field.key}`,
      align: field.kind === 'integer' || field.kind === 'decimal' ? 'end' : undefined,
      hidden: index >= 3,
      cell: (row) => formatField(field, row.fields[field.key]),
    })),
    { id: 'images', header: 'Images', align: 'end', cell: (row) => count(row.images) },
    {
      id: 'unverified',
      header: 'To verify',
      align: 'end',
      phone: true,
      cell: (row) => (row.unverified > 0 ? <Badge tone="blue">{count(row.unverified)}</Badge> : '0'),
    },
    { id: 'created', header: 'Registered', sort: 'created_at', cell: (row) => <TimeAgo at={row.created_at} /> },
    ...(memberships.length > 1 && !projectId
      ? [
          {
            id: 'project',
            header: 'Project',
            cell: (row: PatientRow) => memberships.find((entry) => entry.project_id === row.project_id)?.project ?? '',
          },
        ]
      : []),
  ];

  const filters: Filter[] = [
    { id: 'sex', label: 'Sex', options: [...SEX_OPTIONS] },
    ...fields
      .filter((field) => field.kind === 'choice' || field.kind === 'boolean')
      .map((field): Filter => ({
        id: `field.${field.key}`,
        label: field.label,
        options:
          field.kind === 'boolean'
            ? [
                { value: 'true', label: 'Yes' },
                { value: 'false', label: 'No' },
              ]
            : field.choices.map((choice) => ({ value: choice, label: choice })),
      })),
  ];

  const add = can('patient.create') && (
    <Button component={AppLink} to="/patients/new" leftSection={<IconPlus size={18} />}>
      New patient
    </Button>
  );

  return (
    <ListPage<PatientRow>
      name="patients"
      title="Patients"
      actions={add}
      columns={columns}
      filters={filters}
      searchLabel={can('identity.read') ? 'Search code, name or hospital number' : 'Search code'}
      fixed={{ project_id: projectId }}
      defaultSort="-created_at"
      load={records.patients}
      rowId={(row) => row.id}
      rowName={(row) => row.code}
      rowLink={(row) => `/patients/${row.id}`}
      selection={(rows) => (
        <Button
          size="compact-sm"
          variant="default"
          onClick={() => void navigator.clipboard.writeText(rows.map((row) => row.code).join('\n'))}
        >
          Copy codes
        </Button>
      )}
      empty={{
        icon: <IconPatients size={32} />,
        title: 'No patients yet',
        text: can('patient.create')
          ? 'Register the first patient; then upload photographs of the smear.'
          : 'A technologist registers patients; they then appear here.',
        action: add,
      }}
    />
  );
}
