// SPDX-License-Identifier: Apache-2.0
// Where the explorer stands, and what it shows there; both stand in the address.
import type { Entry, EntryKind } from './entries';

type Search = Readonly<Record<string, string | undefined>>;

export type Level = 'root' | 'patient' | 'study' | 'series';
export type ExplorerLocation = { level: Level; id: string };

const ROOT: ExplorerLocation = { level: 'root', id: '' };
const LEVELS: readonly [param: string, level: Level][] = [
  ['series_id', 'series'],
  ['study_id', 'study'],
  ['patient_id', 'patient'],
];
const KINDS: readonly EntryKind[] = ['patients', 'studies', 'series', 'images'];
const DEPTH: Record<Level, number> = { root: 0, patient: 1, study: 2, series: 3 };
/** Filters that only images know: an address with one of them is of images. */
const IMAGE_FILTERS = ['verified', 'label', 'uncertain', 'pathway'];

export function readLocation(search: Search): ExplorerLocation {
  for (const [param, level] of LEVELS) {
    const id = search[param];
    if (id) return { level, id };
  }
  return ROOT;
}

/** What can be shown in a place: all that lies deeper. */
export function kindsAt(location: ExplorerLocation): readonly EntryKind[] {
  return KINDS.slice(DEPTH[location.level]);
}

export function kindOf(search: Search, location: ExplorerLocation): EntryKind {
  const kinds = kindsAt(location);
  const requested = KINDS.find((kind) => kind === search.show);
  if (requested && kinds.includes(requested)) return requested;
  return IMAGE_FILTERS.some((name) => search[name]) ? 'images' : (kinds[0] ?? 'images');
}

/** What the server is asked in a place. */
export function locationFilter(location: ExplorerLocation): Record<string, string> {
  return location.level === 'root' ? {} : { [`${location.level}_id`]: location.id };
}

/** The address of a place. */
export function locationPath(location: ExplorerLocation): string {
  return location.level === 'root' ? '/images' : `/images?${location.level}_id=${location.id}`;
}

/** Where an entry leads: a place, or the image itself. */
export function entryPath(entry: Entry): string {
  switch (entry.kind) {
    case 'patients':
      return locationPath({ level: 'patient', id: entry.id });
    case 'studies':
      return locationPath({ level: 'study', id: entry.id });
    case 'series':
      return locationPath({ level: 'series', id: entry.id });
    case 'images':
      return `/images/${entry.id}`;
  }
}
