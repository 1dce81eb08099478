// SPDX-License-Identifier: Apache-2.0
// The roles of a project by name, and what each is for.

export const ROLE_OPTIONS = [
  { value: 'technologist', label: 'Technologist' },
  { value: 'physician', label: 'Physician' },
  { value: 'administrator', label: 'Administrator' },
  { value: 'pharmacist', label: 'Pharmacist' },
  { value: 'researcher', label: 'Researcher' },
  { value: 'viewer', label: 'Viewer' },
  { value: 'patient', label: 'Patient' },
] as const;

export function roleTitle(role: string): string {
  return ROLE_OPTIONS.find((option) => option.value === role)?.label ?? role;
}

export const ROLE_DESCRIPTIONS: Record<string, string> = {
  technologist: 'Registers patients and uploads images.',
  physician: 'Reads images, gives verdicts, signs cases.',
  administrator: 'Manages people, fields and the audit log; can erase patients.',
  pharmacist: 'Reads cases and reports.',
  researcher: 'Sees images and cases and trains classifiers; never sees identities.',
  viewer: 'Sees images and cases; never sees identities.',
  patient: 'Sees their own reports.',
};
