// SPDX-License-Identifier: Apache-2.0
// What several pages ask for, once.
import { queryOptions } from '@tanstack/react-query';
import { records, review } from './calls';
import type { Field } from './types';

const MINUTES = 60_000;

export const pathwaysQuery = queryOptions({
  queryKey: ['pathways'],
  queryFn: ({ signal }) => review.pathways(signal),
  staleTime: 10 * MINUTES,
});

export const fieldsQuery = (projectId: string | undefined, subject: 'patient' | 'study') =>
  queryOptions({
    queryKey: ['fields', projectId ?? 'all', subject],
    queryFn: async ({ signal }): Promise<Field[]> => {
      const fields = await records.fields({ project_id: projectId, subject }, signal);
      return [...fields].sort((a, b) => a.position - b.position);
    },
    staleTime: 5 * MINUTES,
  });

export const patientQuery = (id: string) =>
  queryOptions({ queryKey: ['patients', 'one', id], queryFn: ({ signal }) => records.patient(id, signal) });

export const caseQuery = (id: string) =>
  queryOptions({ queryKey: ['cases', 'one', id], queryFn: ({ signal }) => review.case(id, signal) });
