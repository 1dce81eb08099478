// SPDX-License-Identifier: Apache-2.0
// What the server says when it refuses (RFC 9457), as an error that carries words for the reader.

export type FieldError = { field: string; message: string };
/** A registered patient who may be the same person, and what agrees. */
export type Duplicate = { id: string; code: string; reasons: string[] };

/** A text with characters that the report cannot print. */
export type Unprintable = { where: string; characters: { character: string; code: string; name: string }[] };

export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly code: string;
  readonly errors: FieldError[];
  readonly retryAfterSeconds: number | null;
  /** The present state of the object, where a write was based on an earlier one. */
  readonly current: unknown;
  /** The registered patients who may be the same person. */
  readonly duplicates: Duplicate[];
  /** The texts that the report cannot print, and whether their codes may be printed instead. */
  readonly unprintable: Unprintable[];
  readonly acceptable: boolean;
  /** The keys of the fields whose unlikely values must be confirmed. */
  readonly implausible: string[];

  constructor(facts: {
    status: number;
    title: string;
    detail?: string;
    code?: string;
    errors?: FieldError[];
    retryAfterSeconds?: number | null;
    current?: unknown;
    duplicates?: Duplicate[];
    unprintable?: Unprintable[];
    acceptable?: boolean;
    implausible?: string[];
  }) {
    super(facts.detail || facts.title);
    this.name = 'Problem';
    this.status = facts.status;
    this.title = facts.title;
    this.detail = facts.detail ?? '';
    this.code = facts.code ?? '';
    this.errors = facts.errors ?? [];
    this.retryAfterSeconds = facts.retryAfterSeconds ?? null;
    this.current = facts.current ?? null;
    this.duplicates = facts.duplicates ?? [];
    this.unprintable = facts.unprintable ?? [];
    this.acceptable = facts.acceptable ?? false;
    this.implausible = facts.implausible ?? [];
  }

  /** Whether somebody changed the object after it was opened here. */
  get isStale(): boolean {
    return this.code === 'stale' && this.current !== null;
  }

  get isNetwork(): boolean {
    return this.status === 0;
  }
}

export function networkProblem(): Problem {
  return new Problem({
    status: 0,
    code: 'network',
    title: 'Medhub cannot be reached',
    detail: 'The network or the server is down. Nothing was changed. Check the connection, then try again.',
  });
}

export function olderBuildProblem(): Problem {
  return new Problem({
    status: 0,
    code: 'older-build',
    title: 'A newer Medhub has been installed',
    detail:
      'This page is from the previous version and cannot load a part of itself. Copy what you are typing, then load the page again.',
  });
}

// A refusal without words of its own (a proxy's page, say) still gets a sentence and a way on.
const FALLBACKS: Record<number, [string, string]> = {
  400: ['Medhub did not understand this request', 'Load the page again and repeat the last step.'],
  401: ['You are signed out', 'Sign in again to continue.'],
  403: ['Your role does not allow this', 'Ask an administrator of the project if you need it.'],
  404: ['This does not exist', 'It was erased, or it belongs to a project that you have no access to.'],
  409: ['This has changed in the meantime', 'Load the page again to see the current state.'],
  413: ['This file is too large', 'Export a smaller file and upload it again. Nothing was stored.'],
  429: ['Too many attempts', 'Wait a minute, then try again.'],
  502: ['Medhub cannot be reached', 'The server behind the proxy does not answer. Try again in a minute.'],
  503: ['Medhub is not ready', 'The server is starting or one of its parts is down. Try again in a minute.'],
};

type Body = {
  current?: unknown;
  duplicates?: unknown;
  unprintable?: unknown;
  acceptable?: unknown;
  implausible?: unknown;
  title?: unknown;
  detail?: unknown;
  code?: unknown;
  errors?: unknown;
};

function duplicatesOf(value: unknown): Duplicate[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const { id, code, reasons } = entry as Partial<Duplicate>;
    return typeof id === 'string' && typeof code === 'string' ? [{ id, code, reasons: reasons ?? [] }] : [];
  });
}

function unprintableOf(value: unknown): Unprintable[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const { where, characters } = entry as Partial<Unprintable>;
    return typeof where === 'string' ? [{ where, characters: characters ?? [] }] : [];
  });
}

function fieldErrors(value: unknown): FieldError[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    if (typeof entry !== 'object' || entry === null) return [];
    const { field, message } = entry as { field?: unknown; message?: unknown };
    return typeof message === 'string' ? [{ field: typeof field === 'string' ? field : '', message }] : [];
  });
}

export function problemOf(status: number, body: unknown, retryAfter: string | null = null): Problem {
  const facts: Body = typeof body === 'object' && body !== null ? body : {};
  const [title, detail] = FALLBACKS[status] ?? [
    'The server reported an error',
    'Only confirmed changes are stored. Try again. If the error persists, tell your administrator the time at which it occurred.',
  ];
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  return new Problem({
    status,
    title: typeof facts.title === 'string' && facts.title ? facts.title : title,
    detail: typeof facts.detail === 'string' && facts.detail ? facts.detail : detail,
    code: typeof facts.code === 'string' ? facts.code : '',
    errors: fieldErrors(facts.errors),
    current: facts.current,
    duplicates: duplicatesOf(facts.duplicates),
    unprintable: unprintableOf(facts.unprintable),
    acceptable: facts.acceptable === true,
    implausible: fieldErrors(facts.implausible).map((entry) => entry.field),
    retryAfterSeconds: Number.isFinite(seconds) ? seconds : null,
  });
}

/** Any failure as a problem with words; an abort stays an abort. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError) return networkProblem();
  return new Problem({
    status: -1,
    title: 'This page cannot be displayed',
    detail: `${error instanceof Error ? error.message : String(error)}. Load the page again.`,
  });
}
