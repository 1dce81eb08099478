// SPDX-License-Identifier: Apache-2.0
// What the list tells of each kind, column by column. The first column, the name, is drawn by the list itself.
import { contentKindName } from '@/components/contentKinds';
import type { Field, ImageRow, PatientRow, Series, Study } from '@/api/types';
import { LabelLine } from '@/components/ImageTile';
import type { Column } from '@/components/listTypes';
import { StatusMark } from '@/components/StatusMark';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes, capital, count, sex, words } from '@/lib/format';
import { formatField } from '../formatField';
import type { Entry, EntryKind } from './entries';

const at = <R extends { created_at: string }>(header: string): Column<R> => ({
  id: 'created',
  header,
  sort: 'created_at',
  cell: (row) => <TimeAgo at={row.created_at} />,
});

const PATIENT: Column<PatientRow>[] = [
  { id: 'sex', header: 'Sex', sort: 'sex', cell: (row) => sex(row.sex) },
  { id: 'age', header: 'Age', sort: 'birth_year', align: 'end', cell: (row) => row.age ?? '–' },
  { id: 'studies', header: 'Studies', align: 'end', phone: true, cell: (row) => count(row.studies) },
  { id: 'images', header: 'Images', align: 'end', phone: true, cell: (row) => count(row.images) },
  at('Registered'),
];

const STUDY: Column<Study>[] = [
  { id: 'patient', header: 'Patient', cell: (row) => <span className="mh-code">{row.patient_code}</span> },
  { id: 'modality', header: 'Modality', cell: (row) => row.modality ?? '–' },
  { id: 'series', header: 'Series', align: 'end', cell: (row) => count(row.series) },
  { id: 'images', header: 'Images', align: 'end', phone: true, cell: (row) => count(row.images) },
  {
    id: 'pathway',
    header: 'Pathway',
    hidden: true,
    cell: (row) => (row.pathway ? capital(words(row.pathway)) : 'Archive'),
  },
  { id: 'bytes', header: 'Size', align: 'end', hidden: true, cell: (row) => bytes(row.size_bytes) },
  at('Registered'),
];

const SERIES: Column<Series>[] = [
  { id: 'patient', header: 'Patient', cell: (row) => <span className="mh-code">{row.patient_code}</span> },
  { id: 'modality', header: 'Modality', sort: 'modality', phone: true, cell: (row) => row.modality },
  { id: 'study', header: 'Study', hidden: true, cell: (row) => row.study_description || '–' },
  { id: 'images', header: 'Images', align: 'end', phone: true, cell: (row) => count(row.images) },
  { id: 'bytes', header: 'Size', align: 'end', cell: (row) => bytes(row.size_bytes) },
  at('Registered'),
];

const IMAGE: Column<ImageRow>[] = [
  { id: 'patient', header: 'Patient', cell: (row) => <span className="mh-code">{row.patient_code}</span> },
  { id: 'label', header: 'Label', phone: true, sort: 'confidence', cell: (row) => <LabelLine image={row} /> },
  { id: 'state', header: 'State', cell: (row) => <StatusMark image={row} /> },
  {
    id: 'kind',
    header: 'Kind',
    hidden: true,
    cell: (row) =>
      row.shown_as !== 'image'
        ? contentKindName(row.shown_as)
        : row.kind === 'dicom'
          ? `DICOM, ${row.modality}`
          : 'Photograph',
  },
  {
    id: 'size',
    header: 'Pixels',
    align: 'end',
    cell: (row) => (row.width > 0 ? `${row.width} × ${row.height}` : '–'),
  },
  { id: 'bytes', header: 'Size', align: 'end', hidden: true, cell: (row) => bytes(row.size_bytes) },
  at('Uploaded'),
];

const SORTED_NAME: Record<EntryKind, string | undefined> = {
  patients: 'code',
  studies: 'description',
  series: 'description',
  images: 'number',
};

/** The columns of a kind, the name first; with the fields that the project defined for it. */
export function columnsOf(kind: EntryKind, fields: readonly Field[]): Column<Entry>[] {
  const of = <R,>(columns: Column<R>[]) =>
    columns.map((column): Column<Entry> => ({ ...column, cell: (entry) => column.cell(entry.row as R) }));
  const own = { patients: of(PATIENT), studies: of(STUDY), series: of(SERIES), images: of(IMAGE) }[kind];
  const dynamic = fields.map((field, index): Column<Entry> => ({
    id: `field.${field.key}`,
    header: field.unit ? `${field.label} (${field.unit})` : field.label,
    sort: `field.${field.key}`,
    align: field.kind === 'integer' || field.kind === 'decimal' ? 'end' : undefined,
    hidden: index >= 2,
    cell: (entry) =>
      entry.kind === 'patients' || entry.kind === 'studies' ? formatField(field, entry.row.fields[field.key]) : '',
  }));
  return [
    { id: 'name', header: 'Name', sort: SORTED_NAME[kind], phone: true, cell: () => null },
    ...own.slice(0, -1),
    ...dynamic,
    ...own.slice(-1),
  ];
}
