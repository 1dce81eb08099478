// SPDX-License-Identifier: Apache-2.0
// What is known of the place in which the explorer stands: its name, and what lies above it.
import { queryOptions, useQuery } from '@tanstack/react-query';
import { records } from '@/api/calls';
import type { Series, Study } from '@/api/types';
import { day } from '@/lib/format';
import { addressOf, type Place } from './place';

export type Here = {
  title: string;
  trail: { to: string; title: string }[];
  projectId: string;
  patient: { id: string; code: string };
  study: { id: string; pathway: string | null; locked: boolean } | null;
  series: { id: string; modality: string; locked: boolean } | null;
};

const ROOT = { to: '/images', title: 'Images' };
const ofPatient = (id: string, code: string) => ({ to: addressOf({ level: 'patient', id }), title: code });

function ofStudy(row: Study): Here {
  return {
    title: row.description || `Study of ${day(row.created_at)}`,
    trail: [ROOT, ofPatient(row.patient_id, row.patient_code)],
    projectId: row.project_id,
    patient: { id: row.patient_id, code: row.patient_code },
    study: { id: row.id, pathway: row.pathway, locked: row.locked },
    series: null,
  };
}

function ofSeries(row: Series, study: Study): Here {
  const above = ofStudy(study);
  return {
    ...above,
    title: row.description || `Series of ${row.modality}`,
    trail: [...above.trail, { to: addressOf({ level: 'study', id: study.id }), title: above.title }],
    series: { id: row.id, modality: row.modality, locked: row.locked },
  };
}

const hereQuery = (place: Place) =>
  queryOptions({
    queryKey: [
      place.level === 'patient' ? 'patients' : place.level === 'study' ? 'studies' : 'series',
      'here',
      place.id,
    ],
    queryFn: async ({ signal }): Promise<Here> => {
      switch (place.level) {
        case 'series': {
          const series = await records.series(place.id, signal);
          return ofSeries(series, await records.study(series.study_id, signal));
        }
        case 'study':
          return ofStudy(await records.study(place.id, signal));
        default: {
          // Not the patient itself: a list of images is no reason to open the vault.
          const patient = await records.summary(place.id, signal);
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

export function usePlace(place: Place) {
  return useQuery({ ...hereQuery(place), enabled: place.level !== 'root' });
}
