// SPDX-License-Identifier: Apache-2.0
// Where the explorer stands, and what it shows there; both stand in the address.
import type { Entry, Kind } from './entries';

type Search = Readonly<Record<string, string | undefined>>;

export type Level = 'root' | 'patient' | 'study' | 'series';
export type Place = { level: Level; id: string };

const ROOT: Place = { level: 'root', id: '' };
const LEVELS: readonly [param: string, level: Level][] = [
  ['series_id', 'series'],
  ['study_id', 'study'],
  ['patient_id', 'patient'],
];
const KINDS: readonly Kind[] = ['patients', 'studies', 'series', 'images'];
const DEPTH: Record<Level, number> = { root: 0, patient: 1, study: 2, series: 3 };
/** Filters that only images know: an address with one of them is of images. */
const OF_IMAGES = ['verified', 'label', 'uncertain', 'pathway'];

export function placeOf(search: Search): Place {
  for (const [param, level] of LEVELS) {
    const id = search[param];
    if (id) return { level, id };
  }
  return ROOT;
}

/** What can be shown in a place: all that lies deeper. */
export function kindsAt(place: Place): readonly Kind[] {
  return KINDS.slice(DEPTH[place.level]);
}

export function kindOf(search: Search, place: Place): Kind {
  const kinds = kindsAt(place);
  const asked = KINDS.find((kind) => kind === search.show);
  if (asked && kinds.includes(asked)) return asked;
  return OF_IMAGES.some((name) => search[name]) ? 'images' : (kinds[0] ?? 'images');
}

/** What the server is asked in a place. */
export function scopeOf(place: Place): Record<string, string> {
  return place.level === 'root' ? {} : { [`${place.level}_id`]: place.id };
}

/** The address of a place. */
export function addressOf(place: Place): string {
  return place.level === 'root' ? '/images' : `/images?${place.level}_id=${place.id}`;
}

/** Where an entry leads: a place, or the image itself. */
export function leadsTo(entry: Entry): string {
  switch (entry.kind) {
    case 'patients':
      return addressOf({ level: 'patient', id: entry.id });
    case 'studies':
      return addressOf({ level: 'study', id: entry.id });
    case 'series':
      return addressOf({ level: 'series', id: entry.id });
    case 'images':
      return `/images/${entry.id}`;
  }
}
