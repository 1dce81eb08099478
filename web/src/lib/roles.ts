// SPDX-License-Identifier: Apache-2.0
// What each role finds in the app. The server decides; this only hides what it would refuse.

export type Ability =
  | 'dashboard'
  | 'read-records'
  | 'write-records'
  | 'see-identity'
  | 'upload'
  | 'give-verdicts'
  | 'resolve-quarantine'
  | 'manage-people'
  | 'read-audit'
  | 'define-fields'
  | 'erase';

const RECORDS: Ability[] = ['read-records'];
const STAFF: Ability[] = [
  ...RECORDS,
  'dashboard',
  'write-records',
  'see-identity',
  'upload',
  'resolve-quarantine',
  'define-fields',
];

const ABILITIES: Record<string, readonly Ability[]> = {
  technologist: STAFF,
  physician: [...STAFF, 'give-verdicts'],
  administrator: [...STAFF, 'manage-people', 'read-audit', 'erase'],
  pharmacist: RECORDS,
  researcher: RECORDS,
  viewer: RECORDS,
  patient: [],
};

export const ROLE_TITLES: Record<string, string> = {
  technologist: 'Technologist',
  physician: 'Physician',
  administrator: 'Administrator',
  pharmacist: 'Pharmacist',
  researcher: 'Researcher',
  viewer: 'Viewer',
  patient: 'Patient',
};

export const ROLE_SENTENCES: Record<string, string> = {
  technologist: 'Registers patients and uploads images.',
  physician: 'Reads images, gives verdicts, signs cases.',
  administrator: 'Keeps people, fields and the audit log; may erase patients.',
  pharmacist: 'Reads cases and reports.',
  researcher: 'Sees images and cases, never who the patients are.',
  viewer: 'Looks on, never sees who the patients are.',
  patient: 'Sees the own reports.',
};

export function abilitiesOf(roles: readonly string[]): ReadonlySet<Ability> {
  return new Set(roles.flatMap((role) => ABILITIES[role] ?? []));
}
