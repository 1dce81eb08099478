// SPDX-License-Identifier: Apache-2.0
// What each role finds in the app. The server decides; this only hides what it would refuse.

export type Ability =
  | 'dashboard'
  | 'read-records'
  | 'write-records'
  | 'see-identity'
  | 'upload'
  | 'give-verdicts'
  | 'delete-images'
  | 'move-images'
  | 'delete-studies'
  | 'read-quarantine'
  | 'resolve-quarantine'
  | 'preview-profile'
  | 'choose-profile'
  | 'manage-nodes'
  | 'manage-people'
  | 'read-audit'
  | 'define-fields'
  | 'erase'
  | 'train'
  | 'export'
  | 'clear-findings'
  | 'decide-promotions';

const READER: Ability[] = ['read-records', 'dashboard'];
const STAFF: Ability[] = [...READER, 'write-records', 'see-identity', 'read-quarantine', 'define-fields'];

const ABILITIES: Record<string, readonly Ability[]> = {
  technologist: [...STAFF, 'delete-images', 'move-images', 'resolve-quarantine', 'preview-profile'],
  physician: STAFF,
  administrator: [
    ...STAFF,
    'delete-images',
    'move-images',
    'delete-studies',
    'resolve-quarantine',
    'preview-profile',
    'choose-profile',
    'manage-nodes',
    'manage-people',
    'read-audit',
    'erase',
    'train',
    'export',
    'clear-findings',
    'decide-promotions',
  ],
  pharmacist: READER,
  researcher: [...READER, 'define-fields', 'train', 'preview-profile', 'export'],
  viewer: READER,
  patient: [],
};

/** What an act of a pathway's stage says of who does it. */
export type StageAct = { act: string; roles: readonly string[] };

const OF_PATHWAY: [act: string, ability: Ability][] = [
  ['upload', 'upload'],
  ['verdict', 'give-verdicts'],
];

export const ROLE_TITLES: Record<string, string> = {
  technologist: 'Technologist',
  physician: 'Physician',
  administrator: 'Administrator',
  pharmacist: 'Pharmacist',
  researcher: 'Researcher',
  viewer: 'Viewer',
  patient: 'Patient',
};

export const ROLE_DESCRIPTIONS: Record<string, string> = {
  technologist: 'Registers patients and uploads images.',
  physician: 'Reads images, gives verdicts, signs cases.',
  administrator: 'Keeps people, fields and the audit log; may erase patients.',
  pharmacist: 'Reads cases and reports.',
  researcher: 'Sees images and cases and trains classifiers, never sees who the patients are.',
  viewer: 'Looks on, never sees who the patients are.',
  patient: 'Sees the own reports.',
};

/** What these roles find; who uploads and who reads is said by the pathways' stages. */
export function abilitiesOf(roles: readonly string[], acts: readonly StageAct[]): ReadonlySet<Ability> {
  const found = new Set(roles.flatMap((role) => ABILITIES[role] ?? []));
  for (const [act, ability] of OF_PATHWAY) {
    if (acts.some((entry) => entry.act === act && entry.roles.some((role) => roles.includes(role)))) found.add(ability);
  }
  return found;
}
