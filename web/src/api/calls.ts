// SPDX-License-Identifier: Apache-2.0
// Every call that the pages make, by capability; paths, bodies and answers are checked against the server's document.
import { queryText, unwrap, sendFiles, server, type Query } from './http';
import type {
  DataSet,
  ExportInput,
  FieldChange,
  FieldCreate,
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

// Lists pass on the filters of the address, among them fields that a project has defined; the server checks them.
const search = (query: Query, signal: Signal) => ({ querySerializer: () => queryText(query), signal });
const byId = (id: string, signal?: Signal) => ({ params: { path: { id } }, signal });

/** A write that is refused if the object is no longer in the state of this tag. */
const ifCurrent = (id: string, etag: string | undefined) => ({
  params: { path: { id }, header: { 'If-Match': etag ?? null } },
});

export const accounts = {
  signIn: (email: string, password: string) =>
    unwrap(server.POST('/api/auth/session', { body: { email, password } }), true),
  me: (signal?: Signal) => unwrap(server.GET('/api/auth/session', { signal }), true),
  signOut: () => unwrap(server.DELETE('/api/auth/session'), true),
  changePassword: (current: string, next: string) =>
    unwrap(server.POST('/api/auth/password', { body: { current, new: next } }), true),
  users: (query: Query, signal?: Signal) => unwrap(server.GET('/api/users', search(query, signal))),
  user: (id: string, signal?: Signal) => unwrap(server.GET('/api/users/{id}', byId(id, signal))),
  addUser: (body: UserInput) => unwrap(server.POST('/api/users', { body })),
  changeUser: (id: string, body: UserChange) => unwrap(server.PATCH('/api/users/{id}', { ...byId(id), body })),
  deleteUser: (id: string) => unwrap(server.DELETE('/api/users/{id}', byId(id))),
  setRole: (id: string, projectId: string, role: Role) =>
    unwrap(
      server.PUT('/api/users/{id}/memberships/{project_id}', {
        params: { path: { id, project_id: projectId } },
        body: { role },
      }),
    ),
  removeRole: (id: string, projectId: string) =>
    unwrap(
      server.DELETE('/api/users/{id}/memberships/{project_id}', { params: { path: { id, project_id: projectId } } }),
    ),
};

export const projects = {
  project: (id: string, signal?: Signal) => unwrap(server.GET('/api/projects/{id}', byId(id, signal))),
  setErasureByTwo: (id: string, erasureByTwo: boolean) =>
    unwrap(server.PATCH('/api/projects/{id}', { ...byId(id), body: { erasure_by_two: erasureByTwo } })),
};

export const records = {
  fields: (query: Query, signal?: Signal) => unwrap(server.GET('/api/fields', search(query, signal))),
  addField: (body: FieldCreate) => unwrap(server.POST('/api/fields', { body })),
  changeField: (id: string, body: FieldChange, etag?: string) =>
    unwrap(server.PATCH('/api/fields/{id}', { ...ifCurrent(id, etag), body })),
  deleteField: (id: string) => unwrap(server.DELETE('/api/fields/{id}', byId(id))),
  patients: (query: Query, signal?: Signal) => unwrap(server.GET('/api/patients', search(query, signal))),
  patient: (id: string, signal?: Signal) => unwrap(server.GET('/api/patients/{id}', byId(id, signal))),
  addPatient: (body: PatientInput) => unwrap(server.POST('/api/patients', { body })),
  changePatient: (id: string, body: PatientChange, etag?: string) =>
    unwrap(server.PATCH('/api/patients/{id}', { ...ifCurrent(id, etag), body })),
  erasurePreview: (id: string, signal?: Signal) => unwrap(server.GET('/api/patients/{id}/erasure', byId(id, signal))),
  erasePatient: (id: string, reason: string) =>
    unwrap(server.POST('/api/patients/{id}/erasure', { ...byId(id), body: { reason } })),
  withdrawErasure: (id: string) => unwrap(server.DELETE('/api/patients/{id}/erasure', byId(id))),
  erasures: (query: Query, signal?: Signal) => unwrap(server.GET('/api/erasures', search(query, signal))),
  erasure: (id: string, signal?: Signal) => unwrap(server.GET('/api/erasures/{id}', byId(id, signal))),
  summary: (id: string, signal?: Signal) => unwrap(server.GET('/api/patients/{id}/summary', byId(id, signal))),
  study: (id: string, signal?: Signal) => unwrap(server.GET('/api/studies/{id}', byId(id, signal))),
  changeStudy: (id: string, body: StudyChange, etag?: string) =>
    unwrap(server.PATCH('/api/studies/{id}', { ...ifCurrent(id, etag), body })),
  studies: (query: Query, signal?: Signal) => unwrap(server.GET('/api/studies', search(query, signal))),
  addStudy: (body: StudyInput) => unwrap(server.POST('/api/studies', { body })),
  deleteStudy: (id: string) => unwrap(server.DELETE('/api/studies/{id}', byId(id))),
  deletePatient: (id: string) => unwrap(server.DELETE('/api/patients/{id}', byId(id))),
  seriesList: (query: Query, signal?: Signal) => unwrap(server.GET('/api/series', search(query, signal))),
  series: (id: string, signal?: Signal) => unwrap(server.GET('/api/series/{id}', byId(id, signal))),
  addSeries: (body: SeriesInput) => unwrap(server.POST('/api/series', { body })),
  changeSeries: (id: string, description: string) =>
    unwrap(server.PATCH('/api/series/{id}', { ...byId(id), body: { description } })),
  moveSeries: (id: string, studyId: string) =>
    unwrap(server.POST('/api/series/{id}/move', { ...byId(id), body: { to_study_id: studyId } })),
  deleteSeries: (id: string) => unwrap(server.DELETE('/api/series/{id}', byId(id))),
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
  arrivals: (query: Query, signal?: Signal) => unwrap(server.GET('/api/arrivals', search(query, signal))),
  arrival: (id: string, signal?: Signal) => unwrap(server.GET('/api/arrivals/{id}', byId(id, signal))),
  frameUrl: (id: string, frame: number) => `/api/arrivals/${id}/frames/${frame}`,
  release: (id: string, body: Release) => unwrap(server.POST('/api/arrivals/{id}/release', { ...byId(id), body })),
  person: (id: string, signal?: Signal) => unwrap(server.GET('/api/arrivals/{id}/person', byId(id, signal))),
  assign: (id: string, body: Assign) => unwrap(server.POST('/api/arrivals/{id}/assign', { ...byId(id), body })),
  archive: (projectId: string, signal?: Signal) =>
    unwrap(server.GET('/api/projects/{id}/archive', byId(projectId, signal))),
  changeArchive: (projectId: string, body: ArchiveChoice) =>
    unwrap(server.PUT('/api/projects/{id}/archive', { ...byId(projectId), body })),
  indexArchive: (projectId: string) => unwrap(server.POST('/api/projects/{id}/archive/index', byId(projectId))),
  discard: (id: string, note: string) =>
    unwrap(server.POST('/api/arrivals/{id}/discard', { ...byId(id), body: { note } })),
  nodes: (query: Query, signal?: Signal) => unwrap(server.GET('/api/dicom-nodes', search(query, signal))),
  listener: (signal?: Signal) => unwrap(server.GET('/api/dicom-nodes/listener', { signal })),
  addNode: (body: DicomNodeInput) => unwrap(server.POST('/api/dicom-nodes', { body })),
  changeNode: (id: string, body: DicomNodeChange) =>
    unwrap(server.PATCH('/api/dicom-nodes/{id}', { ...byId(id), body })),
  removeNode: (id: string) => unwrap(server.DELETE('/api/dicom-nodes/{id}', byId(id))),
  echoNode: (id: string) => unwrap(server.POST('/api/dicom-nodes/{id}/echo', byId(id))),
  manifest: (imageId: string, signal?: Signal) =>
    unwrap(server.GET('/api/images/{id}/manifest', byId(imageId, signal))),
  profiles: (projectId: string, signal?: Signal) =>
    unwrap(server.GET('/api/projects/{id}/profile', byId(projectId, signal))),
  chooseProfile: (projectId: string, body: ProfileChoice) =>
    unwrap(server.PUT('/api/projects/{id}/profile', { ...byId(projectId), body })),
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
  images: (query: Query, signal?: Signal) => unwrap(server.GET('/api/images', search(query, signal))),
  image: (id: string, signal?: Signal) => unwrap(server.GET('/api/images/{id}', byId(id, signal))),
  numberImage: (id: string, number: number) =>
    unwrap(server.PATCH('/api/images/{id}', { ...byId(id), body: { number } })),
  moveImages: (imageIds: string[], seriesId: string) =>
    unwrap(server.POST('/api/images/move', { body: { image_ids: imageIds, to_series_id: seriesId } })),
  deleteImages: (imageIds: string[]) => unwrap(server.POST('/api/images/delete', { body: { image_ids: imageIds } })),
  deleteImage: (id: string) => unwrap(server.DELETE('/api/images/{id}', byId(id))),
  renderedUrl: (id: string, size: number, frame = 0) =>
    `/api/images/${id}/rendered?size=${size}${frame > 0 ? `&frame=${frame}` : ''}`,
  content: (id: string, signal?: Signal) => unwrap(server.GET('/api/images/{id}/content', byId(id, signal))),
  documentUrl: (id: string) => `/api/images/${id}/original?form=document`,
  evidenceUrl: (id: string, size: number) => `/api/images/${id}/evidence?size=${size}`,
  originalUrl: (id: string) => `/api/images/${id}/original`,
};

export const review = {
  giveVerdict: (imageId: string, label: string, note: string, etag: string) =>
    unwrap(
      server.PUT('/api/images/{id}/verdict', { ...ifCurrent(imageId, etag), body: { label, note: note || null } }),
    ),
  undoVerdict: (imageId: string, etag: string) =>
    unwrap(server.DELETE('/api/images/{id}/verdict', ifCurrent(imageId, etag))),
  cases: (query: Query, signal?: Signal) => unwrap(server.GET('/api/cases', search(query, signal))),
  case: (id: string, signal?: Signal) => unwrap(server.GET('/api/cases/{id}', byId(id, signal))),
  sign: (id: string, note: string, etag: string, acceptUnprintable = false) =>
    unwrap(
      server.POST('/api/cases/{id}/sign', {
        ...ifCurrent(id, etag),
        body: { note: note || null, accept_unprintable: acceptUnprintable },
      }),
    ),
  correct: (id: string, reason: string, etag: string) =>
    unwrap(server.POST('/api/cases/{id}/correct', { ...ifCurrent(id, etag), body: { reason } })),
  pathways: (signal?: Signal) => unwrap(server.GET('/api/pathways', { signal })),
  dashboard: (query: Query, signal?: Signal) => unwrap(server.GET('/api/dashboard', search(query, signal))),
};

export const reports = {
  list: (query: Query, signal?: Signal) => unwrap(server.GET('/api/reports', search(query, signal))),
  pdfUrl: (caseId: string) => `/api/cases/${caseId}/report.pdf`,
};

export const classification = {
  classifiers: (signal?: Signal) => unwrap(server.GET('/api/classifiers', { signal })),
  classifier: (digest: string, signal?: Signal) =>
    unwrap(server.GET('/api/classifiers/{digest}', { params: { path: { digest } }, signal })),
  compare: (digest: string, other: string, signal?: Signal) =>
    unwrap(
      server.GET('/api/classifiers/{digest}/compare', { params: { path: { digest }, query: { with: other } }, signal }),
    ),
};

/** A classifier of the list, as the server sends it. */
export type Classifier = Awaited<ReturnType<typeof classification.classifiers>>[number];

/** The card of a classifier, as the server sends it. */
export type ModelCard = Awaited<ReturnType<typeof classification.classifier>>['card'];

/** A pathway in a project. */
export interface ProjectPathway {
  pathway: string;
  project_id: string;
}

const onPathway = ({ pathway, project_id }: ProjectPathway, signal?: Signal) => ({
  params: { path: { name: pathway }, query: { project_id } },
  signal,
});

export const training = {
  datasets: (query: Query, signal?: Signal) => unwrap(server.GET('/api/datasets', search(query, signal))),
  dataset: (id: string, signal?: Signal) => unwrap(server.GET('/api/datasets/{id}', byId(id, signal))),
  createDataset: (body: { project_id?: string; pathway: string; name: string | null }) =>
    unwrap(server.POST('/api/datasets', { body })),
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
    unwrap(server.GET('/api/datasets/{id}/rows', { params: { path: { id } }, ...search(query, signal) })),
  provenanceUrl: (id: string) => `/api/datasets/${id}/provenance.csv`,
  recipes: (signal?: Signal) => unwrap(server.GET('/api/recipes', { signal })),
  runs: (query: Query, signal?: Signal) => unwrap(server.GET('/api/training-runs', search(query, signal))),
  run: (id: string, signal?: Signal) => unwrap(server.GET('/api/training-runs/{id}', byId(id, signal))),
  start: (body: RunInput) => unwrap(server.POST('/api/training-runs', { body })),
  stop: (id: string) => unwrap(server.POST('/api/training-runs/{id}/stop', byId(id))),
  onPathway: (on: ProjectPathway, signal?: Signal) =>
    unwrap(server.GET('/api/pathways/{name}/classifiers', onPathway(on, signal))),
  setLimits: (on: ProjectPathway, body: Limits) =>
    unwrap(server.PUT('/api/pathways/{name}/limits', { ...onPathway(on), body })),
  startShadow: (on: ProjectPathway, digest: string) =>
    unwrap(server.PUT('/api/pathways/{name}/shadow', { ...onPathway(on), body: { digest } })),
  endShadow: (on: ProjectPathway) => unwrap(server.DELETE('/api/pathways/{name}/shadow', onPathway(on))),
  rollBack: (on: ProjectPathway) => unwrap(server.POST('/api/pathways/{name}/rollback', onPathway(on))),
  agreement: (on: ProjectPathway, signal?: Signal) =>
    unwrap(server.GET('/api/pathways/{name}/agreement', onPathway(on, signal))),
  drift: (on: ProjectPathway, step: 'day' | 'week', signal?: Signal) =>
    unwrap(
      server.GET('/api/pathways/{name}/drift', {
        params: { path: { name: on.pathway }, query: { step, project_id: on.project_id } },
        signal,
      }),
    ),
  promotions: (query: Query, signal?: Signal) => unwrap(server.GET('/api/promotions', search(query, signal))),
  requestPromotion: (body: ProjectPathway & { digest: string }) => unwrap(server.POST('/api/promotions', { body })),
  approve: (id: string, reason: string) =>
    unwrap(server.POST('/api/promotions/{id}/approve', { ...byId(id), body: { reason } })),
  reject: (id: string, reason: string) =>
    unwrap(server.POST('/api/promotions/{id}/reject', { ...byId(id), body: { reason } })),
};

export const exports = {
  list: (query: Query, signal?: Signal) => unwrap(server.GET('/api/exports', search(query, signal))),
  byId: (id: string, signal?: Signal) => unwrap(server.GET('/api/exports/{id}', byId(id, signal))),
  order: (body: ExportInput) => unwrap(server.POST('/api/exports', { body })),
  destroy: (id: string) => unwrap(server.DELETE('/api/exports/{id}', byId(id))),
  findings: (id: string, query: Query, signal?: Signal) =>
    unwrap(
      server.GET('/api/exports/{id}/findings', {
        params: { path: { id } },
        ...search(query, signal),
      }),
    ),
  findingPictureUrl: (id: string, finding: string, size: number) =>
    `/api/exports/${id}/findings/${finding}/picture?size=${size}`,
  clear: (id: string, finding: string, body: { note: string; alike: 'value' | 'place' }) =>
    unwrap(
      server.POST('/api/exports/{id}/findings/{finding_id}/clear', {
        params: { path: { id, finding_id: finding } },
        body,
      }),
    ),
  exclude: (id: string, finding: string, note: string | null) =>
    unwrap(
      server.POST('/api/exports/{id}/findings/{finding_id}/exclude', {
        params: { path: { id, finding_id: finding } },
        body: { note },
      }),
    ),
  fileUrl: (id: string) => `/api/exports/${id}/file`,
  sendings: (id: string, signal?: Signal) => unwrap(server.GET('/api/exports/{id}/sendings', byId(id, signal))),
  send: (id: string, node: string) =>
    unwrap(server.POST('/api/exports/{id}/sendings', { ...byId(id), body: { node } })),
};

export const audit = {
  entries: (query: Query, signal?: Signal) => unwrap(server.GET('/api/audit', search(query, signal))),
  verification: () => unwrap(server.GET('/api/audit/verification')),
  actions: (signal?: Signal) => unwrap(server.GET('/api/audit/actions', { signal })),
};
