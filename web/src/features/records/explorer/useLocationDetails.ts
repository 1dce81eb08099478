// SPDX-License-Identifier: Apache-2.0
// What is known of the place in which the explorer stands: its name, and what lies above it.
import { queryOptions, useQuery } from '@tanstack/react-query';
import { records } from '@/api/calls';
import type { Series, Study } from '@/api/types';
import { day } from '@/lib/format';
import { locationPath, type ExplorerLocation } from './location';

export type LocationDetails = {
  title: string;
  trail: { to: string; title: string }[];
  projectId: string;
  patient: { id: string; code: string };
  study: { id: string; pathway: string | null; locked: boolean } | null;
  series: { id: string; modality: string; locked: boolean } | null;
};

const ROOT = { to: '/images', title: 'Images' };
const patientCrumb = (id: string, code: string) => ({ to: locationPath({ level: 'patient', id }), title: code });

function describeStudy(row: Study): LocationDetails {
  return {
    title: row.description || `Study of ${day(row.created_at)}`,
    trail: [ROOT, patientCrumb(row.patient_id, row.patient_code)],
    projectId: row.project_id,
    patient: { id: row.patient_id, code: row.patient_code },
    study: { id: row.id, pathway: row.pathway, locked: row.locked },
    series: null,
  };
}

function describeSeries(row: Series, study: Study): LocationDetails {
  const above = describeStudy(study);
  return {
    ...above,
    title: row.description || `Series of ${row.modality}`,
    trail: [...above.trail, { to: locationPath({ level: 'study', id: study.id }), title: above.title }],
    series: { id: row.id, modality: row.modality, locked: row.locked },
  };
}

const locationQuery = (location: ExplorerLocation) =>
  queryOptions({
    queryKey: [
      location.level === 'patient' ? 'patients' : location.level === 'study' ? 'studies' : 'series',
      'here',
      location.id,
    ],
    queryFn: async ({ signal }): Promise<LocationDetails> => {
      switch (location.level) {
        case 'series': {
          const series = await records.series(location.id, signal);
          return describeSeries(series, await records.study(series.study_id, signal));
        }
        case 'study':
          return describeStudy(await records.study(location.id, signal));
        default: {
          // Not the patient itself: a list of images is no reason to open the vault.
          const patient = await records.summary(location.id, signal);
          return {
            title: patient.code,
            trail: [ROOT],
            projectId: patient.project_id,
            patient: { id: patient.patient_id, code: patient.code },
            study: null,
            series: null,
          };
        }
      }
    },
  });

export function useLocationDetails(location: ExplorerLocation) {
  return useQuery({ ...locationQuery(location), enabled: location.level !== 'root' });
}
