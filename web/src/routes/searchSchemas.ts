// SPDX-License-Identifier: Apache-2.0
// The parameters in the address of each page that has any.
import { appPath, isoDate, flag, identifier, listSchema, choiceOf, searchSchema, text } from '@/lib/searchParams';

const SEX = choiceOf('F', 'M', 'O', 'U');
const ROLE = choiceOf('patient', 'technologist', 'physician', 'pharmacist', 'researcher', 'viewer', 'administrator');

export const signInSearch = searchSchema({ next: appPath });
export const worklistSearch = searchSchema({ case_id: identifier, patient_id: identifier, image: identifier });
export const uploadSearch = searchSchema({ patient_id: identifier });
export const newRunSearch = searchSchema({ dataset: identifier });
export const inUseSearch = searchSchema({ pathway: identifier });

export const plainListSearch = listSchema({});
export const patientsSearch = listSchema({ sex: SEX });
export const casesSearch = listSchema({ stage: text, pathway: identifier, mine: flag });
export const peopleSearch = listSchema({ role: ROLE, active: flag });
export const auditSearch = listSchema({
  action: text,
  actor_id: identifier,
  outcome: choiceOf('done', 'refused'),
  since: isoDate,
  until: isoDate,
});
export const exportsSearch = listSchema({
  state: text,
  order: choiceOf('project', 'study', 'patient'),
  study_id: identifier,
  patient_id: identifier,
});
export const explorerSearch = listSchema({
  patient_id: identifier,
  study_id: identifier,
  series_id: identifier,
  show: choiceOf('patients', 'studies', 'series', 'images'),
  view: choiceOf('grid', 'list'),
  sex: SEX,
  verified: flag,
  label: text,
  uncertain: flag,
  pathway: identifier,
});
