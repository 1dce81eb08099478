// SPDX-License-Identifier: Apache-2.0
import { useQueryClient } from '@tanstack/react-query';

/** Loads what belongs to trainings and classifiers again, after a change. */
export function useRefresh() {
  const client = useQueryClient();
  return async () => {
    await client.invalidateQueries({ queryKey: ['training'] });
    await client.invalidateQueries({ queryKey: ['classifiers'] });
  };
}
