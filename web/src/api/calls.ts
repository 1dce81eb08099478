// SPDX-License-Identifier: Apache-2.0
// Every call that the pages make, by capability.
import { address, send, sendFiles, type Query } from './http';
import type {
  Arrival,
  AuditEntry,
  Case,
  CaseRow,
  Classifier,
  Dashboard,
  Field,
  FieldKind,
  FieldValue,
  Identity,
  Image,
  ImageRow,
  Me,
  Page,
  Pathway,
  Patient,
  PatientRow,
  PatientSummary,
  Project,
  ReportRow,
  Role,
  Sex,
  Study,
  UploadItem,
  User,
} from './types';

type Signal = AbortSignal | undefined;

export const accounts = {
  signIn: (email: string, password: string) =>
    send<Me>('POST', '/api/auth/session', { body: { email, password }, quiet: true }),
  me: (signal?: Signal) => send<Me>('GET', '/api/auth/session', { signal, quiet: true }),
  signOut: () => send<void>('DELETE', '/api/auth/session', { quiet: true }),
  changePassword: (current: string, next: string) =>
    send<void>('POST', '/api/auth/password', { body: { current, new: next }, quiet: true }),
  users: (query: Query, signal?: Signal) => send<Page<User>>('GET', '/api/users', { query, signal }),
  user: (id: string, signal?: Signal) => send<User>('GET', `/api/users/${id}`, { signal }),
  addUser: (body: { email: string; name: string; password?: string; project_id: string; role: Role }) =>
    send<User & { generated_password?: string }>('POST', '/api/users', { body }),
  changeUser: (id: string, body: { name?: string; email?: string; active?: boolean; password?: string }) =>
    send<User>('PATCH', `/api/users/${id}`, { body }),
  deleteUser: (id: string) => send<void>('DELETE', `/api/users/${id}`),
  setRole: (id: string, projectId: string, role: Role) =>
    send<unknown>('PUT', `/api/users/${id}/memberships/${projectId}`, { body: { role } }),
  removeRole: (id: string, projectId: string) => send<void>('DELETE', `/api/users/${id}/memberships/${projectId}`),
};

export type PatientInput = {
  project_id?: string;
  sex: Sex;
  birth_year: number | null;
  fields: Record<string, FieldValue>;
  identity?: Identity | null;
};

export type FieldInput = {
  project_id: string;
  subject: 'patient' | 'study';
  key: string;
  label: string;
  kind: FieldKind;
  required: boolean;
  unit: string | null;
  choices: string[];
};

export const records = {
  projects: (signal?: Signal) => send<Page<Project>>('GET', '/api/projects', { query: { page_size: 200 }, signal }),
  fields: (query: Query, signal?: Signal) => send<Page<Field> | Field[]>('GET', '/api/fields', { query, signal }),
  addField: (body: FieldInput) => send<Field>('POST', '/api/fields', { body }),
  changeField: (id: string, body: Partial<FieldInput>) => send<Field>('PATCH', `/api/fields/${id}`, { body }),
  deleteField: (id: string) => send<void>('DELETE', `/api/fields/${id}`),
  patients: (query: Query, signal?: Signal) => send<Page<PatientRow>>('GET', '/api/patients', { query, signal }),
  patient: (id: string, signal?: Signal) => send<Patient>('GET', `/api/patients/${id}`, { signal }),
  addPatient: (body: PatientInput) => send<Patient>('POST', '/api/patients', { body }),
  changePatient: (id: string, body: Partial<PatientInput>) => send<Patient>('PATCH', `/api/patients/${id}`, { body }),
  erasePatient: (id: string) =>
    send<{ erased: true; images: number; code: string }>('DELETE', `/api/patients/${id}`, { query: { erase: true } }),
  summary: (id: string, signal?: Signal) => send<PatientSummary>('GET', `/api/patients/${id}/summary`, { signal }),
  studies: (query: Query, signal?: Signal) => send<Page<Study>>('GET', '/api/studies', { query, signal }),
};

export const ingest = {
  upload: (
    file: File,
    facts: { patientId: string; pathway: string },
    onProgress: (fraction: number) => void,
    signal?: Signal,
  ) => {
    const form = new FormData();
    form.set('patient_id', facts.patientId);
    form.set('pathway', facts.pathway);
    form.append('files', file, file.name);
    return sendFiles<{ items: UploadItem[] }>('/api/images', form, onProgress, signal);
  },
  arrivals: (query: Query, signal?: Signal) => send<Page<Arrival>>('GET', '/api/arrivals', { query, signal }),
};

export const viewing = {
  images: (query: Query, signal?: Signal) => send<Page<ImageRow>>('GET', '/api/images', { query, signal }),
  count: (query: Query, signal?: Signal) => send<{ count: number }>('GET', '/api/images/count', { query, signal }),
  image: (id: string, signal?: Signal) => send<Image>('GET', `/api/images/${id}`, { signal }),
  deleteImage: (id: string) => send<void>('DELETE', `/api/images/${id}`),
  renderedUrl: (id: string, size: 256 | 512 | 1024 | 2048, frame = 0) =>
    address(`/api/images/${id}/rendered`, frame > 0 ? { size, frame } : { size }),
  evidenceUrl: (id: string, size: 256 | 512 | 1024 | 2048) => address(`/api/images/${id}/evidence`, { size }),
  originalUrl: (id: string) => `/api/images/${id}/original`,
};

export const review = {
  giveVerdict: (imageId: string, label: string, note: string) =>
    send<Image>('PUT', `/api/images/${imageId}/verdict`, { body: { label, note } }),
  undoVerdict: (imageId: string) => send<Image>('DELETE', `/api/images/${imageId}/verdict`),
  cases: (query: Query, signal?: Signal) => send<Page<CaseRow>>('GET', '/api/cases', { query, signal }),
  case: (id: string, signal?: Signal) => send<Case>('GET', `/api/cases/${id}`, { signal }),
  sign: (id: string, note: string) => send<Case>('POST', `/api/cases/${id}/sign`, { body: note ? { note } : {} }),
  correct: (id: string, reason: string) => send<Case>('POST', `/api/cases/${id}/correct`, { body: { reason } }),
  pathways: (signal?: Signal) => send<Pathway[]>('GET', '/api/pathways', { signal }),
  dashboard: (query: Query, signal?: Signal) => send<Dashboard>('GET', '/api/dashboard', { query, signal }),
};

export const reports = {
  list: (query: Query, signal?: Signal) => send<Page<ReportRow>>('GET', '/api/reports', { query, signal }),
  pdfUrl: (caseId: string) => `/api/cases/${caseId}/report.pdf`,
};

export const classification = {
  classifiers: (signal?: Signal) => send<Classifier[]>('GET', '/api/classifiers', { signal }),
};

export const audit = {
  entries: (query: Query, signal?: Signal) => send<Page<AuditEntry>>('GET', '/api/audit', { query, signal }),
  actions: (signal?: Signal) => send<string[]>('GET', '/api/audit/actions', { signal }),
};
