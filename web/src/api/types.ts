// SPDX-License-Identifier: Apache-2.0
// The shapes of the JSON API, by the words of the project.

export type Role =
  | 'patient'
  | 'technologist'
  | 'physician'
  | 'pharmacist'
  | 'researcher'
  | 'viewer'
  | 'administrator';

export type Page<T> = { items: T[]; total: number; page: number; page_size: number };

export type Membership = { project_id: string; project: string; role: Role };

export type Me = {
  user: { id: string; email: string; name: string };
  csrf_token: string;
  memberships: Membership[];
};

export type Project = {
  id: string;
  name: string;
  description: string;
  created_at: string;
  my_role: Role | null;
  pathways: string[];
  counts: { patients: number; images: number };
};

export type User = {
  id: string;
  email: string;
  name: string;
  active: boolean;
  created_at: string;
  last_seen_at: string | null;
  memberships: Membership[];
};

export type FieldKind = 'text' | 'integer' | 'decimal' | 'date' | 'boolean' | 'choice';

export type Field = {
  id: string;
  project_id: string;
  subject: 'patient' | 'study';
  key: string;
  label: string;
  kind: FieldKind;
  required: boolean;
  unit: string | null;
  choices: string[];
  position: number;
};

export type FieldValue = string | number | boolean | null;
export type Sex = 'F' | 'M' | 'O' | 'U';

export type Identity = {
  name?: string | null;
  hospital_number?: string | null;
  birth_date?: string | null;
  email?: string | null;
  phone?: string | null;
};

export type PatientRow = {
  id: string;
  project_id: string;
  code: string;
  sex: Sex;
  birth_year: number | null;
  age: number | null;
  fields: Record<string, FieldValue>;
  created_at: string;
  images: number;
  unverified: number;
  identity_available: boolean;
};

export type Patient = PatientRow & { identity: Identity | null; identity_hidden?: boolean };

export type PatientSummary = {
  patient_id: string;
  images: number;
  unverified: number;
  cases: number;
  open_cases: number;
  last_upload_at: string | null;
};

export type Study = {
  id: string;
  patient_id: string;
  project_id: string;
  study_uid: string;
  description: string;
  fields: Record<string, FieldValue>;
  created_at: string;
  images: number;
  modality: string;
};

export type Prediction = {
  classifier: string;
  version: string;
  digest: string;
  label: string;
  uncertain: boolean;
  reason: string | null;
  threshold: number;
  probabilities: Record<string, number>;
  novelty: number | null;
  novel: boolean;
  milliseconds: number;
  evidence: boolean;
  created_at: string;
};

export type Verdict = {
  label: string;
  note: string;
  by: string;
  by_id: string;
  at: string;
  agrees: boolean;
};

export type ImageState = 'waiting' | 'read' | 'verified' | 'signed' | 'unreadable';

export type ImageRow = {
  id: string;
  project_id: string;
  patient_id: string;
  patient_code: string;
  study_id: string;
  case_id: string | null;
  number: number;
  modality: string;
  kind: 'photograph' | 'dicom';
  width: number;
  height: number;
  frames: number;
  size_bytes: number;
  created_at: string;
  verified: boolean;
  state: ImageState;
  prediction: Prediction | null;
  verdict: Verdict | null;
};

export type HistoryEntry = { at: string; by: string; role?: string; action: string; detail: string };

export type Image = ImageRow & {
  predictions: Prediction[];
  history: HistoryEntry[];
  labels: string[];
  case: { id: string; stage: string; pathway: string; version: number; signed: boolean } | null;
};

export type Outcome = 'accepted' | 'duplicate' | 'quarantined';
export type UploadItem = { filename: string; outcome: Outcome; reason: string | null; image_id: string | null };

export type Arrival = {
  id: string;
  created_at: string;
  outcome: Outcome;
  reason: string;
  detail: string;
  size_bytes: number;
  patient_id: string | null;
  patient_code: string | null;
  image_id: string | null;
  by: string;
  expires_at: string | null;
};

export type CaseRow = {
  id: string;
  project_id: string;
  project: string;
  patient_id: string;
  patient_code: string;
  patient_sex: Sex;
  patient_age: number | null;
  study_id: string;
  pathway: string;
  stage: string;
  stage_title: string;
  version: number;
  supersedes_id: string | null;
  superseded_by_id: string | null;
  opened_at: string;
  signed_at: string | null;
  signed_by: string | null;
  images: number;
  verified: number;
  uncertain: number;
  waiting: number;
  waiting_for_me: boolean;
};

export type Case = CaseRow & {
  images_list: ImageRow[];
  labels: string[];
  threshold: number;
  history: HistoryEntry[];
  allowed: { verdict: boolean; sign: boolean; correct: boolean };
  blockers: string[];
  report: { issued_at: string; digest: string; version: number } | null;
};

export type Pathway = {
  name: string;
  title: string;
  digest: string;
  labels: string[];
  threshold: number;
  classifier: string;
  stages: { name: string; title: string; roles: Role[]; acts: string[] }[];
};

export type ReportRow = {
  case_id: string;
  patient_code: string;
  pathway: string;
  version: number;
  issued_at: string;
  signed_by: string;
  digest: string;
};

export type Classifier = {
  name: string;
  version: string;
  digest: string;
  architecture: string;
  labels: string[];
  licence: string;
  figures: Record<string, unknown>;
  intended_use: string;
  not_for: string;
  card: string;
};

export type Dashboard = {
  patients: number;
  images: number;
  unverified: number;
  cases_waiting_for_me: number;
  cases_open: number;
  cases_signed: number;
  reports: number;
  quarantined: number;
  uploads: { date: string; count: number }[];
  labels: { label: string; count: number }[];
};

export type AuditEntry = {
  seq: number;
  at: string;
  actor_id: string | null;
  actor: string;
  action: string;
  object_type: string;
  object_id: string | null;
  project_id: string | null;
  patient_code: string | null;
  origin: string;
  outcome: string;
  detail: string | Record<string, unknown> | null;
  hash: string;
};
