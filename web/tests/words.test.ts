// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { isPermitted } from '@/api/permissions';
import { asProblem, networkProblem, problemOf } from '@/api/problem';
import type { OwnMembership, Pathway, Role } from '@/api/types';
import { validSort } from '@/components/listTypes';
import { validatePatient, EMPTY_DRAFT } from '@/features/records/patientDraft';
import { fieldKey } from '@/features/records/fieldKey';
import { eventText } from '@/lib/eventText';
import { withoutHidden } from '@/lib/droppedFiles';
import { ago, bytes, plural } from '@/lib/format';
import { choiceOf, isoDate, listSchema, parseSearch, safeNext, stringifySearch } from '@/lib/searchParams';
import { niceTicks } from '@/lib/ticks';

describe('what goes wrong', () => {
  it('is told in the words of the server', () => {
    const problem = problemOf(422, {
      title: 'A note is needed',
      detail: 'The classifier was uncertain here.',
      code: 'note-required',
      errors: [{ field: 'note', message: 'Write a note.' }, 'nonsense'],
    });
    expect([problem.title, problem.detail, problem.code]).toEqual([
      'A note is needed',
      'The classifier was uncertain here.',
      'note-required',
    ]);
    expect(problem.errors).toEqual([{ field: 'note', message: 'Write a note.' }]);
  });

  it('has words even when the server has none', () => {
    expect(problemOf(502, null).title).toBe('Medhub cannot be reached');
    expect(problemOf(500, '<html>').detail).toContain('Try again');
    expect(problemOf(429, null, '30').retryAfterSeconds).toBe(30);
  });

  it('tells a missing network from a refusal', () => {
    expect(asProblem(new TypeError('Failed to fetch')).isNetwork).toBe(true);
    expect(asProblem(networkProblem()).isNetwork).toBe(true);
    expect(asProblem(problemOf(403, null)).isNetwork).toBe(false);
  });
});

describe('the address', () => {
  it('goes through reading and writing unchanged', () => {
    const search = { query: 'P-7F3K & Ä', sort: '-created_at', 'field.ward': 'B 2', page: '3' };
    expect(parseSearch(stringifySearch(search).slice(1))).toEqual(search);
    expect(stringifySearch({ query: '', page: undefined })).toBe('');
  });

  it('leads back after sign-in only within this app', () => {
    expect(safeNext('/cases/1?x=2')).toBe('/cases/1?x=2');
    for (const bad of [
      undefined,
      '',
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      'javascript:alert(1)',
    ]) {
      expect(safeNext(bad)).toBe('/');
    }
  });
});

describe('words for people', () => {
  it('counts, sizes and times read well', () => {
    expect(plural(1, 'image')).toBe('1 image');
    expect(plural(2, 'case waits', 'cases wait')).toBe('2 cases wait');
    expect(bytes(999)).toBe('999 B');
    expect(bytes(11_524)).toBe('11.5 kB');
    expect(ago('2026-11-21T03:00:00Z', Date.parse('2026-11-21T03:00:20Z'))).toBe('just now');
    expect(ago('2026-11-21T03:00:00Z', Date.parse('2026-11-21T05:00:20Z'))).toContain('2');
  });

  it('the facts of an event become one line', () => {
    expect(eventText({ of_version: 1, note: null, tags: ['a', 'b'], deep: { yes: true } })).toBe(
      'Of version: 1. Tags: a, b. Deep: Yes: yes',
    );
    expect(eventText({ label: 'ig' }, ['label'])).toBe('');
  });

  it('marks of an axis are round and reach the top', () => {
    expect(niceTicks(30)).toEqual([0, 10, 20, 30]);
    expect(niceTicks(1)).toEqual([0, 1]);
    expect(niceTicks(0)).toEqual([0, 1]);
    for (const top of [3, 7, 42, 999, 12_345]) expect(niceTicks(top).at(-1)).toBeGreaterThanOrEqual(top);
  });

  it('a name becomes a key', () => {
    expect(fieldKey('Leukocytes (10⁹/L)')).toBe('leukocytes_109_l');
    expect(fieldKey('Größe')).toBe('gro_e');
    expect(fieldKey('2nd visit')).toBe('nd_visit');
    expect(fieldKey('血型')).toBe('');
  });
});

describe('a patient that is typed in', () => {
  const ward = {
    id: '1',
    project_id: 'p',
    subject: 'patient',
    key: 'ward',
    label: 'Ward',
    kind: 'text',
    required: true,
    unit: null,
    choices: [],
    position: 0,
    limits: {},
    etag: '"1"',
  } as const;
  it('is checked before it is sent', () => {
    expect(
      validatePatient({ ...EMPTY_DRAFT, birth_year: 1980, fields: { ward: 'B' } }, [{ ...ward, choices: [] }], 2026),
    ).toEqual({});
    const errors = validatePatient(
      { ...EMPTY_DRAFT, birth_year: 19, identity: { email: 'nobody' } },
      [{ ...ward, choices: [] }],
      2026,
    );
    expect(Object.keys(errors).sort()).toEqual(['birth_year', 'fields.ward', 'identity.email']);
  });
});

describe('the permissions of a membership', () => {
  const stage = (act: 'upload' | 'verdict', role: Role) => ({
    name: act,
    title: act,
    report: false,
    roles: [role],
    acts: [{ act, roles: [role], note_when: [], needs: [] }],
  });
  const pathway = { stages: [stage('upload', 'technologist'), stage('verdict', 'physician')] } as unknown as Pathway;
  const member = (role: Role, ...permissions: OwnMembership['permissions']): OwnMembership => ({
    project_id: 'p',
    project: 'P',
    role,
    permissions,
  });

  it('are those that the server has sent', () => {
    expect(isPermitted(member('viewer', 'image.read'), 'image.read', [])).toBe(true);
    expect(isPermitted(member('viewer', 'image.read'), 'identity.read', [])).toBe(false);
    expect(isPermitted(member('administrator'), 'user.read', [])).toBe(false);
  });

  it('for uploads and verdicts need a stage that names the role', () => {
    const technologist = member('technologist', 'image.upload', 'verdict.give');
    expect(isPermitted(technologist, 'image.upload', [pathway])).toBe(true);
    expect(isPermitted(technologist, 'verdict.give', [pathway])).toBe(false);
    expect(isPermitted(technologist, 'image.upload', [])).toBe(false);
    expect(isPermitted(member('physician', 'verdict.give'), 'verdict.give', [pathway])).toBe(true);
    expect(isPermitted(member('technologist'), 'image.upload', [pathway])).toBe(false);
  });
});

describe('the parameters of an address', () => {
  const schema = listSchema({ sex: choiceOf('F', 'M'), since: isoDate });

  it('are kept where they are valid', () => {
    const search = { query: 'P-7', sort: '-created_at', page: '3', sex: 'F', since: '2026-11-21', 'field.ward': 'B 2' };
    expect(schema(search)).toEqual(search);
  });

  it('fall back to the default where they are not', () => {
    const search = { sort: 'a b;', page: '0', sex: 'X', since: '2026-13-45', query: 'x'.repeat(501), 'field.ward': '' };
    expect(Object.values(schema(search)).filter((value) => value !== undefined)).toEqual([]);
  });

  it('name no other column than the list has', () => {
    const columns = [{ id: 'code', header: 'Code', sort: 'code', cell: () => null }];
    expect(validSort('-code', columns, 'at')).toBe('-code');
    expect(validSort('field.ward', columns, 'at')).toBe('field.ward');
    expect(validSort('name', columns, 'at')).toBe('at');
    expect(validSort(undefined, columns, 'at')).toBe('at');
  });
});

describe('a dropped folder', () => {
  it('loses the files that systems leave in it', () => {
    const names = ['a.jpg', '.DS_Store', 'Thumbs.db', 'desktop.ini', '._a.jpg', 'b.dcm'];
    expect(withoutHidden(names.map((name) => new File([], name))).map((file) => file.name)).toEqual(['a.jpg', 'b.dcm']);
  });
});
