// SPDX-License-Identifier: Apache-2.0
// The things that the explorer shows, of four kinds with much in common.
import { records, viewing } from '@/api/calls';
import type { Query } from '@/api/http';
import type { ImageRow, Paginated, PatientRow, Series, Study } from '@/api/types';
import { capital, day, plural } from '@/lib/format';

export type EntryKind = 'patients' | 'studies' | 'series' | 'images';

export type Entry = { id: string } & (
  | { kind: 'patients'; row: PatientRow }
  | { kind: 'studies'; row: Study }
  | { kind: 'series'; row: Series }
  | { kind: 'images'; row: ImageRow }
);

export const KIND_TITLES: Record<EntryKind, string> = {
  patients: 'Patients',
  studies: 'Studies',
  series: 'Series',
  images: 'Images',
};

export const KIND_NAMES: Record<EntryKind, string> = {
  patients: 'patient',
  studies: 'study',
  series: 'series',
  images: 'image',
};

/** "3 studies", "1 series", "200 images". */
export function countOf(kind: EntryKind, value: number): string {
  return plural(value, KIND_NAMES[kind], KIND_TITLES[kind].toLowerCase());
}

export const DEFAULT_SORT: Record<EntryKind, string> = {
  patients: '-created_at',
  studies: '-created_at',
  series: 'created_at',
  images: '-created_at',
};

export async function loadPage(kind: EntryKind, query: Query, signal?: AbortSignal): Promise<Paginated<Entry>> {
  const toEntries = <R extends { id: string }>(page: Paginated<R>): Paginated<Entry> => ({
    ...page,
    items: page.items.map((row) => ({ kind, id: row.id, row }) as unknown as Entry),
  });
  switch (kind) {
    case 'patients':
      return toEntries(await records.patients(query, signal));
    case 'studies':
      return toEntries(await records.studies(query, signal));
    case 'series':
      return toEntries(await records.seriesList(query, signal));
    case 'images':
      return toEntries(await viewing.images(query, signal));
  }
}

export function nameOf(entry: Entry): string {
  switch (entry.kind) {
    case 'patients':
      return entry.row.code;
    case 'studies':
      return entry.row.description || `Study of ${day(entry.row.created_at)}`;
    case 'series':
      return entry.row.description || `Series of ${entry.row.modality}`;
    case 'images':
      return `Image ${entry.row.number}`;
  }
}

/** How many images lie in an entry; an image is one itself. */
export function imageCount(entry: Entry): number {
  return entry.kind === 'images' ? 1 : entry.row.images;
}

export function patientOf(entry: Entry): { id: string; code: string } {
  return entry.kind === 'patients'
    ? { id: entry.id, code: entry.row.code }
    : { id: entry.row.patient_id, code: entry.row.patient_code };
}

/** What stands under the name. */
export function summaryOf(entry: Entry, withPatient: boolean): string {
  const parts: (string | null)[] = [];
  if (withPatient && entry.kind !== 'patients') parts.push(entry.row.patient_code);
  switch (entry.kind) {
    case 'patients':
      parts.push(entry.row.studies > 0 ? countOf('studies', entry.row.studies) : null);
      break;
    case 'studies':
      parts.push(entry.row.modality, entry.row.series > 0 ? countOf('series', entry.row.series) : null);
      break;
    case 'series':
      parts.push(entry.row.modality);
      break;
    case 'images':
      return parts.filter(Boolean).join(', ');
  }
  parts.push(imageCount(entry) > 0 ? countOf('images', imageCount(entry)) : 'no images');
  return capital(parts.filter(Boolean).join(', '));
}

/** The image that stands for an entry, if one has a picture. */
export function coverOf(entry: Entry): string | null {
  if (entry.kind === 'images') return entry.row.picture ? entry.id : null;
  return entry.row.cover_id;
}

export function isLocked(entry: Entry): boolean {
  return entry.kind !== 'patients' && entry.row.locked;
}
