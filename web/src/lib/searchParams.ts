// SPDX-License-Identifier: Apache-2.0
// The part of the address after "?": read as plain strings, then checked by the schema of the route. A value that the
// schema does not know is left out, so that the page shows its default.

type RawSearch = Readonly<Record<string, unknown>>;

/** The checked value of a parameter; undefined if the text is not a value of it. */
export type Validator<T> = (text: string) => T | undefined;

export function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: RawSearch): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(search)) {
    if (typeof value === 'string' && value !== '') parameters.set(key, value);
  }
  const text = parameters.toString();
  return text ? `?${text}` : '';
}

/** The address to open after signing in: only a path of this app, never another site. */
export function safeNext(next: string | undefined): string {
  return next?.startsWith('/') && !next.startsWith('//') && !next.startsWith('/\\') ? next : '/';
}

export const text: Validator<string> = (value) => (value.length <= 500 ? value : undefined);

export const identifier: Validator<string> = (value) => (/^[\w-]{1,100}$/.test(value) ? value : undefined);

export const appPath: Validator<string> = (value) => (safeNext(value) === value ? value : undefined);

export const sortKey: Validator<string> = (value) => (/^-?\w[\w.-]{0,99}$/.test(value) ? value : undefined);

export const pageNumber: Validator<string> = (value) => (/^[1-9]\d{0,8}$/.test(value) ? value : undefined);

export const isoDate: Validator<string> = (value) =>
  /^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value)) ? value : undefined;

export function choiceOf<const T extends string>(...values: readonly T[]): Validator<T> {
  return (value) => values.find((allowed) => allowed === value);
}

export const flag = choiceOf('true', 'false');

type Shape = Readonly<Record<string, Validator<unknown>>>;
type Checked<S extends Shape> = { [Key in keyof S]?: ReturnType<S[Key]> };

function check<T>(validator: Validator<T>, value: unknown): T | undefined {
  return typeof value === 'string' && value !== '' ? validator(value) : undefined;
}

/**
 * The schema of a route's parameters. A rejected value becomes undefined rather than absent: the router merges the
 * result into what the address holds.
 */
export function searchSchema<S extends Shape>(shape: S): (raw: RawSearch) => Checked<S> {
  return (raw) =>
    Object.fromEntries(
      Object.entries(shape).map(([name, validator]) => [name, check(validator, raw[name])]),
    ) as Checked<S>;
}

/** The parameters that every list has, and its filters by name. */
export type ListSearch = {
  query?: string;
  sort?: string;
  page?: string;
  [filter: string]: string | undefined;
};

const LIST_PARAMETERS = { query: text, sort: sortKey, page: pageNumber };

/** The name of a filter by a field that the project has defined. */
const FIELD_FILTER = /^field\.\w{1,60}$/;

/** The schema of a list: its own filters, and those by the fields of the project. */
export function listSchema<S extends Readonly<Record<string, Validator<string>>>>(
  filters: S,
): (raw: RawSearch) => ListSearch & Checked<S> {
  const own = searchSchema({ ...LIST_PARAMETERS, ...filters });
  return (raw) => {
    const fields = Object.entries(raw).filter(([name]) => FIELD_FILTER.test(name));
    const checked = fields.map(([name, value]) => [name, check(text, value)] as const);
    return { ...Object.fromEntries(checked), ...own(raw) };
  };
}
