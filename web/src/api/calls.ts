// SPDX-License-Identifier: Apache-2.0
// Every call that the pages make, by capability; paths, bodies and answers are checked against the server's document.
import { answered, filled, sendFiles, server, type Query } from './http';
import type {
  DataSet,
  ExportInput,
  FieldChange,
  FieldInput,
  Limits,
  PatientChange,
  PatientInput,
  DicomNodeChange,
  DicomNodeInput,
  Preview,
  ArchiveChoice,
  Assign,
  ProfileChoice,
  Release,
  Role,
  RunInput,
  SeriesInput,
  StudyChange,
  StudyInput,
  UploadAnswer,
  UserChange,
  UserInput,
} from './types';

type Signal = AbortSignal | undefined;

// Lists pass on what stands in the address; the server refuses what it does not know.
const search = (query: Query, signal: Signal) => ({ params: { query: filled(query) as never }, signal });
const one = (id: string, signal?: Signal) => ({ params: { path: { id } }, signal });

export const accounts = {
  signIn: (email: string, password: string) =>
    answered(server.POST('/api/auth/session', { body: { email, password } }), true),
  me: (signal?: Signal) => answered(server.GET('/api/auth/session', { signal }), true),
  signOut: () => answered(server.DELETE('/api/auth/session'), true),
  changePassword: (current: string, next: string) =>
    answered(server.POST('/api/auth/password', { body: { current, new: next } }), true),
  users: (query: Query, signal?: Signal) => answered(server.GET('/api/users', search(query, signal))),
  user: (id: string, signal?: Signal) => answered(server.GET('/api/users/{id}', one(id, signal))),
  addUser: (body: UserInput) => answered(server.POST('/api/users', { body })),
  changeUser: (id: string, body: UserChange) => answered(server.PATCH('/api/users/{id}', { ...one(id), body })),
  deleteUser: (id: string) => answered(server.DELETE('/api/users/{id}', one(id))),
  setRole: (id: string, projectId: string, role: Role) =>
    answered(
      server.PUT('/api/users/{id}/memberships/{project_id}', {
        params: { path: { id, project_id: projectId } },
        body: { role },
      }),
    ),
  removeRole: (id: string, projectId: string) =>
    answered(
      server.DELETE('/api/users/{id}/memberships/{project_id}', { params: { path: { id, project_id: projectId } } }),
    ),
};

export const records = {
  fields: (query: Query, signal?: Signal) => answered(server.GET('/api/fields', search(query, signal))),
  addField: (body: FieldInput) => answered(server.POST('/api/fields', { body })),
  changeField: (id: string, body: FieldChange) => answered(server.PATCH('/api/fields/{id}', { ...one(id), body })),
  deleteField: (id: string) => answered(server.DELETE('/api/fields/{id}', one(id))),
  patients: (query: Query, signal?: Signal) => answered(server.GET('/api/patients', search(query, signal))),
  patient: (id: string, signal?: Signal) => answered(server.GET('/api/patients/{id}', one(id, signal))),
  addPatient: (body: PatientInput) => answered(server.POST('/api/patients', { body })),
  changePatient: (id: string, body: PatientChange) =>
    answered(server.PATCH('/api/patients/{id}', { ...one(id), body })),
  erasePatient: (id: string) =>
    answered(server.DELETE('/api/patients/{id}', { params: { path: { id }, query: { erase: true } } })),
  erasures: (query: Query, signal?: Signal) => answered(server.GET('/api/erasures', search(query, signal))),
  erasure: (id: string, signal?: Signal) => answered(server.GET('/api/erasures/{id}', one(id, signal))),
  summary: (id: string, signal?: Signal) => answered(server.GET('/api/patients/{id}/summary', one(id, signal))),
  study: (id: string, signal?: Signal) => answered(server.GET('/api/studies/{id}', one(id, signal))),
  changeStudy: (id: string, body: StudyChange) => answered(server.PATCH('/api/studies/{id}', { ...one(id), body })),
  studies: (query: Query, signal?: Signal) => answered(server.GET('/api/studies', search(query, signal))),
  addStudy: (body: StudyInput) => answered(server.POST('/api/studies', { body })),
  deleteStudy: (id: string) => answered(server.DELETE('/api/studies/{id}', one(id))),
  deletePatient: (id: string) => answered(server.DELETE('/api/patients/{id}', one(id))),
  seriesList: (query: Query, signal?: Signal) => answered(server.GET('/api/series', search(query, signal))),
  series: (id: string, signal?: Signal) => answered(server.GET('/api/series/{id}', one(id, signal))),
  addSeries: (body: SeriesInput) => answered(server.POST('/api/series', { body })),
  changeSeries: (id: string, description: string) =>
    answered(server.PATCH('/api/series/{id}', { ...one(id), body: { description } })),
  moveSeries: (id: string, studyId: string) =>
    answered(server.POST('/api/series/{id}/move', { ...one(id), body: { to_study_id: studyId } })),
  deleteSeries: (id: string) => answered(server.DELETE('/api/series/{id}', one(id))),
};

export const ingest = {
  upload: (
    files: readonly File[],
    facts: { patientId: string; pathway: string; studyId?: string; seriesId?: string; projectId?: string },
    onProgress: (fraction: number) => void,
    signal?: AbortSignal,
  ) => {
    const form = new FormData();
    if (facts.projectId) {
      for (const file of files) form.append('files', file, file.name);
      return sendFiles<UploadAnswer>(`/api/projects/${facts.projectId}/files`, form, onProgress, signal);
    }
    form.set('patient_id', facts.patientId);
    form.set('pathway', facts.pathway);
    if (facts.studyId) form.set('study_id', facts.studyId);
    if (facts.seriesId) form.set('series_id', facts.seriesId);
    for (const file of files) form.append('files', file, file.name);
    return sendFiles<UploadAnswer>('/api/images', form, onProgress, signal);
  },
  arrivals: (query: Query, signal?: Signal) => answered(server.GET('/api/arrivals', search(query, signal))),
  arrival: (id: string, signal?: Signal) => answered(server.GET('/api/arrivals/{id}', one(id, signal))),
  frameUrl: (id: string, frame: number) => `/api/arrivals/${id}/frames/${frame}`,
  release: (id: string, body: Release) => answered(server.POST('/api/arrivals/{id}/release', { ...one(id), body })),
  person: (id: string, signal?: Signal) => answered(server.GET('/api/arrivals/{id}/person', one(id, signal))),
  assign: (id: string, body: Assign) => answered(server.POST('/api/arrivals/{id}/assign', { ...one(id), body })),
  archive: (projectId: string, signal?: Signal) =>
    answered(server.GET('/api/projects/{id}/archive', one(projectId, signal))),
  changeArchive: (projectId: string, body: ArchiveChoice) =>
    answered(server.PUT('/api/projects/{id}/archive', { ...one(projectId), body })),
  indexArchive: (projectId: string) => answered(server.POST('/api/projects/{id}/archive/index', one(projectId))),
  discard: (id: string, note: string) =>
    answered(server.POST('/api/arrivals/{id}/discard', { ...one(id), body: { note } })),
  nodes: (query: Query, signal?: Signal) => answered(server.GET('/api/dicom-nodes', search(query, signal))),
  listener: (signal?: Signal) => answered(server.GET('/api/dicom-nodes/listener', { signal })),
  addNode: (body: DicomNodeInput) => answered(server.POST('/api/dicom-nodes', { body })),
  changeNode: (id: string, body: DicomNodeChange) => answered(server.PATCH('/api/dicom-nodes/{id}', { ...one(id), body })),
  removeNode: (id: string) => answered(server.DELETE('/api/dicom-nodes/{id}', one(id))),
  echoNode: (id: string) => answered(server.POST('/api/dicom-nodes/{id}/echo', one(id))),
  manifest: (imageId: string, signal?: Signal) =>
    answered(server.GET('/api/images/{id}/manifest', one(imageId, signal))),
  profiles: (projectId: string, signal?: Signal) =>
    answered(server.GET('/api/projects/{id}/profile', one(projectId, signal))),
  chooseProfile: (projectId: string, body: ProfileChoice) =>
    answered(server.PUT('/api/projects/{id}/profile', { ...one(projectId), body })),
  preview: (
    projectId: string,
    files: File[],
    profile: { name?: string; text?: string },
    onProgress: (fraction: number) => void,
  ) => {
    const form = new FormData();
    if (profile.name) form.set('name', profile.name);
    if (profile.text) form.set('text', profile.text);
    for (const file of files) form.append('files', file, file.name);
    return sendFiles<Preview>(`/api/projects/${projectId}/profile/preview`, form, onProgress);
  },
};

export const viewing = {
  images: (query: Query, signal?: Signal) => answered(server.GET('/api/images', search(query, signal))),
  image: (id: string, signal?: Signal) => answered(server.GET('/api/images/{id}', one(id, signal))),
  numberImage: (id: string, number: number) =>
    answered(server.PATCH('/api/images/{id}', { ...one(id), body: { number } })),
  moveImages: (imageIds: string[], seriesId: string) =>
    answered(server.POST('/api/images/move', { body: { image_ids: imageIds, to_series_id: seriesId } })),
  deleteImages: (imageIds: string[]) => answered(server.POST('/api/images/delete', { body: { image_ids: imageIds } })),
  deleteImage: (id: string) => answered(server.DELETE('/api/images/{id}', one(id))),
  renderedUrl: (id: string, size: number, frame = 0) =>
    `/api/images/${id}/rendered?size=${size}${frame > 0 ? `&frame=${frame}` : ''}`,
  content: (id: string, signal?: Signal) => answered(server.GET('/api/images/{id}/content', one(id, signal))),
  documentUrl: (id: string) => `/api/images/${id}/original?form=document`,
  evidenceUrl: (id: string, size: number) => `/api/images/${id}/evidence?size=${size}`,
  originalUrl: (id: string) => `/api/images/${id}/original`,
};

export const review = {
  giveVerdict: (imageId: string, label: string, note: string) =>
    answered(server.PUT('/api/images/{id}/verdict', { ...one(imageId), body: { label, note: note || null } })),
  undoVerdict: (imageId: string) => answered(server.DELETE('/api/images/{id}/verdict', one(imageId))),
  cases: (query: Query, signal?: Signal) => answered(server.GET('/api/cases', search(query, signal))),
  case: (id: string, signal?: Signal) => answered(server.GET('/api/cases/{id}', one(id, signal))),
  sign: (id: string, note: string) =>
    answered(server.POST('/api/cases/{id}/sign', { ...one(id), body: { note: note || null } })),
  correct: (id: string, reason: string) =>
    answered(server.POST('/api/cases/{id}/correct', { ...one(id), body: { reason } })),
  pathways: (signal?: Signal) => answered(server.GET('/api/pathways', { signal })),
  dashboard: (query: Query, signal?: Signal) => answered(server.GET('/api/dashboard', search(query, signal))),
};

export const reports = {
  list: (query: Query, signal?: Signal) => answered(server.GET('/api/reports', search(query, signal))),
  pdfUrl: (caseId: string) => `/api/cases/${caseId}/report.pdf`,
};

export const classification = {
  classifiers: (signal?: Signal) => answered(server.GET('/api/classifiers', { signal })),
  classifier: (digest: string, signal?: Signal) =>
    answered(server.GET('/api/classifiers/{digest}', { params: { path: { digest } }, signal })),
  compare: (digest: string, other: string, signal?: Signal) =>
    answered(
      server.GET('/api/classifiers/{digest}/compare', { params: { path: { digest }, query: { with: other } }, signal }),
    ),
};

const onPathway = (name: string, signal?: Signal) => ({ params: { path: { name } }, signal });

export const training = {
  datasets: (query: Query, signal?: Signal) => answered(server.GET('/api/datasets', search(query, signal))),
  dataset: (id: string, signal?: Signal) => answered(server.GET('/api/datasets/{id}', one(id, signal))),
  makeDataset: (body: { project_id?: string; pathway: string; name: string | null }) =>
    answered(server.POST('/api/datasets', { body })),
  uploadDataset: (
    file: File,
    facts: { projectId: string | undefined; name: string },
    onProgress: (fraction: number) => void,
    signal?: AbortSignal,
  ) => {
    const form = new FormData();
    if (facts.projectId) form.set('project_id', facts.projectId);
    form.set('name', facts.name);
    form.set('file', file, 'images.zip'); // the name of the file may name somebody
    return sendFiles<DataSet>('/api/datasets/zip', form, onProgress, signal);
  },
  rows: (id: string, query: Query, signal?: Signal) =>
    answered(
      server.GET('/api/datasets/{id}/rows', { params: { path: { id }, query: filled(query) as never }, signal }),
    ),
  provenanceUrl: (id: string) => `/api/datasets/${id}/provenance.csv`,
  recipes: (signal?: Signal) => answered(server.GET('/api/recipes', { signal })),
  runs: (query: Query, signal?: Signal) => answered(server.GET('/api/training-runs', search(query, signal))),
  run: (id: string, signal?: Signal) => answered(server.GET('/api/training-runs/{id}', one(id, signal))),
  start: (body: RunInput) => answered(server.POST('/api/training-runs', { body })),
  stop: (id: string) => answered(server.POST('/api/training-runs/{id}/stop', one(id))),
  onPathway: (name: string, signal?: Signal) =>
    answered(server.GET('/api/pathways/{name}/classifiers', onPathway(name, signal))),
  fixLimits: (name: string, body: Limits) =>
    answered(server.PUT('/api/pathways/{name}/limits', { ...onPathway(name), body })),
  beginShadow: (name: string, digest: string) =>
    answered(server.PUT('/api/pathways/{name}/shadow', { ...onPathway(name), body: { digest } })),
  endShadow: (name: string) => answered(server.DELETE('/api/pathways/{name}/shadow', onPathway(name))),
  rollBack: (name: string) => answered(server.POST('/api/pathways/{name}/rollback', onPathway(name))),
  agreement: (name: string, projectId: string | undefined, signal?: Signal) =>
    answered(
      server.GET('/api/pathways/{name}/agreement', {
        params: { path: { name }, query: filled({ project_id: projectId }) as never },
        signal,
      }),
    ),
  drift: (name: string, step: 'day' | 'week', projectId: string | undefined, signal?: Signal) =>
    answered(
      server.GET('/api/pathways/{name}/drift', {
        params: { path: { name }, query: filled({ step, project_id: projectId }) as never },
        signal,
      }),
    ),
  promotions: (query: Query, signal?: Signal) => answered(server.GET('/api/promotions', search(query, signal))),
  ask: (body: { digest: string; pathway: string }) => answered(server.POST('/api/promotions', { body })),
  approve: (id: string) => answered(server.POST('/api/promotions/{id}/approve', one(id))),
  reject: (id: string, reason: string) =>
    answered(server.POST('/api/promotions/{id}/reject', { ...one(id), body: { reason } })),
};

export const exports = {
  list: (query: Query, signal?: Signal) => answered(server.GET('/api/exports', search(query, signal))),
  one: (id: string, signal?: Signal) => answered(server.GET('/api/exports/{id}', one(id, signal))),
  order: (body: ExportInput) => answered(server.POST('/api/exports', { body })),
  destroy: (id: string) => answered(server.DELETE('/api/exports/{id}', one(id))),
  findings: (id: string, query: Query, signal?: Signal) =>
    answered(
      server.GET('/api/exports/{id}/findings', { params: { path: { id }, query: filled(query) as never }, signal }),
    ),
  clear: (id: string, finding: string, body: { note: string; alike: 'value' | 'place' }) =>
    answered(
      server.POST('/api/exports/{id}/findings/{finding_id}/clear', {
        params: { path: { id, finding_id: finding } },
        body,
      }),
    ),
  exclude: (id: string, finding: string, note: string | null) =>
    answered(
      server.POST('/api/exports/{id}/findings/{finding_id}/exclude', {
        params: { path: { id, finding_id: finding } },
        body: { note },
      }),
    ),
  fileUrl: (id: string) => `/api/exports/${id}/file`,
  sendings: (id: string, signal?: Signal) => answered(server.GET('/api/exports/{id}/sendings', one(id, signal))),
  send: (id: string, node: string) =>
    answered(server.POST('/api/exports/{id}/sendings', { ...one(id), body: { node } })),
};

export const audit = {
  entries: (query: Query, signal?: Signal) => answered(server.GET('/api/audit', search(query, signal))),
  actions: (signal?: Signal) => answered(server.GET('/api/audit/actions', { signal })),
};
