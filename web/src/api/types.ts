// SPDX-License-Identifier: Apache-2.0
// The shapes of the JSON API by the words of the project; all of them come from the server's own document.
import type { components } from './schema';

type Schemas = components['schemas'];

export type Paginated<T> = { items: T[]; total: number; page: number; page_size: number };

export type Role = Schemas['Role'];
export type Membership = Schemas['MembershipOut'];
export type OwnMembership = Schemas['OwnMembership'];
/** An action of the server's permission table. */
export type Action = OwnMembership['permissions'][number];
export type Me = Schemas['Me'];
export type User = Schemas['UserOut'];
export type UserInput = Schemas['UserCreate'];
export type UserCreated = Schemas['UserCreated'];
export type UserChange = Schemas['UserChange'];

export type Field = Schemas['FieldOut'];
export type FieldKind = Field['kind'];
export type FieldCreate = Schemas['FieldCreate'];
export type FieldChange = Schemas['FieldChange'];
export type FieldValue = string | number | boolean | null;

export type PatientRow = Schemas['PatientRow'];
export type Patient = Schemas['PatientOut'];
export type FieldLimits = Schemas['FieldLimits'];
export type PatientInput = Schemas['PatientCreate'];
export type PatientChange = Schemas['PatientChange'];
export type Identity = Schemas['IdentityIn'];
export type Sex = Patient['sex'];

export type Erasure = Schemas['ErasureOut'];
export type Study = Schemas['StudyOut'];
export type StudyChange = Schemas['StudyChange'];
export type StudyInput = Schemas['StudyCreate'];
export type Series = Schemas['SeriesOut'];
export type SeriesInput = Schemas['SeriesCreate'];

export type Prediction = Schemas['PredictionOut'];
export type Verdict = Schemas['VerdictOut'];
export type ImageRow = Schemas['ImageRow'];
export type Image = Schemas['ImageOut'];
export type ShownAs = ImageRow['shown_as'];
export type Content = Schemas['Content'];
export type ContentNode = Schemas['ReportTreeNode'];
export type ChannelGroup = Schemas['ChannelGroup'];
export type HistoryEntry = Schemas['EventOut'];

export type UploadItem = Schemas['UploadItem'];
export type UploadAnswer = Schemas['UploadAnswer'];
export type Outcome = UploadItem['outcome'];
export type Arrival = Schemas['ArrivalOut'];
export type PatientClaim = Schemas['PatientClaim'];
export type Archive = Schemas['ArchiveOut'];
export type ArchiveChoice = Schemas['ArchiveChoice'];
export type Assign = Schemas['Assign'];
export type OpenedArrival = Schemas['ArrivalOpened'];
export type Release = Schemas['Release'];
/** Frame (from 1), x0, y0, x1, y1 in pixels; the last two are not included. */
export type Box = [frame: number, x0: number, y0: number, x1: number, y1: number];
export type Manifest = Schemas['ManifestOut'];
export type Profiles = Schemas['ProfilesOut'];
export type ProfileChoice = Schemas['ProfileChoice'];
export type Preview = Schemas['PreviewOut'];

export type DicomNode = Schemas['DicomNodeOut'];
export type DicomNodeInput = Schemas['DicomNodeCreate'];
export type DicomNodeChange = Schemas['DicomNodeChange'];

export type CaseRow = Schemas['CaseRow'];
export type Case = Schemas['CaseOut'];
export type Pathway = Schemas['PathwayOut'];
export type ReportRow = Schemas['ReportOut'];
export type AuditEntry = Schemas['AuditEntryOut'];

export type DataSet = Schemas['DataSetOut'];
export type DataSetRow = Schemas['RowOut'];
export type Recipe = Schemas['RecipeOut'];
export type RunRow = Schemas['RunRow'];
export type Run = Schemas['RunOut'];
export type RunInput = Schemas['RunCreate'];
export type ClassifierCard = Schemas['ClassifierCard'];
export type PathwayClassifiers = Schemas['PathwayClassifiers'];
export type Limits = Schemas['LimitsIn'];
export type Check = Schemas['CheckOut'];
export type Promotion = Schemas['PromotionOut'];
export type Agreements = Schemas['AgreementsOut'];
export type Drift = Schemas['DriftOut'];
export type Export = Schemas['ExportOut'];
export type ExportInput = Schemas['ExportCreate'];
export type ExportFinding = Schemas['FindingOut'];
export type Comparison = Schemas['ComparisonOut'];
