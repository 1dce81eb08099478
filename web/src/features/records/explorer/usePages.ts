// SPDX-License-Identifier: Apache-2.0
// A list of any length of which only the pages are loaded that somebody looks at.
import { useQueries, useQueryClient, type QueryKey } from '@tanstack/react-query';
import { useCallback, useMemo } from 'react';
import type { Query } from '@/api/http';
import type { Page } from '@/api/types';
import { loadPage, type Entry, type Kind } from './entries';

export const PAGE = 50;
const REFRESH_MS = 1_500;

/** The pages on which the entries from one place to another stand. */
export function pagesOf(from: number, to: number): number[] {
  const first = Math.floor(Math.max(0, from) / PAGE) + 1;
  const last = Math.floor(Math.max(0, to) / PAGE) + 1;
  return Array.from({ length: last - first + 1 }, (_, place) => first + place);
}

export type Pages = {
  total: number | undefined;
  error: Error | null;
  at: (index: number) => Entry | undefined;
  /** The entries from one place to another, loaded where they are not. */
  between: (from: number, to: number) => Promise<Entry[]>;
  retry: () => void;
};

export function usePages(kind: Kind, query: Query, from: number, to: number): Pages {
  const client = useQueryClient();
  const key = JSON.stringify(query);
  const keyOf = useCallback((page: number): QueryKey => [kind, 'explorer', key, page], [kind, key]);
  const load = useCallback(
    (page: number, signal?: AbortSignal) => {
      // The first page counts; the others believe it.
      const known = page === 1 ? undefined : client.getQueryData<Page<Entry>>(keyOf(1))?.total;
      return loadPage(kind, { ...(JSON.parse(key) as Query), page, page_size: PAGE, known_total: known }, signal);
    },
    [client, key, keyOf, kind],
  );
  const wanted = useMemo(() => [...new Set([1, ...pagesOf(from, to)])], [from, to]);
  const answers = useQueries({
    queries: wanted.map((page) => ({
      queryKey: keyOf(page),
      queryFn: ({ signal }: { signal: AbortSignal }) => load(page, signal),
      staleTime: 10_000,
      refetchInterval: (state: { state: { data?: Page<Entry> } }) =>
        state.state.data?.items.some((entry) => entry.kind === 'images' && entry.row.state === 'waiting')
          ? REFRESH_MS
          : (false as const),
    })),
  });
  const pages = new Map(wanted.map((page, place) => [page, answers[place]?.data]));
  const total = pages.get(1)?.total;

  return {
    total,
    error: answers.find((answer) => answer.error)?.error ?? null,
    at: (index) => pages.get(Math.floor(index / PAGE) + 1)?.items[index % PAGE],
    between: async (first, last) => {
      const loaded = await Promise.all(
        pagesOf(first, last).map((page) =>
          client.ensureQueryData({ queryKey: keyOf(page), queryFn: () => load(page), staleTime: 10_000 }),
        ),
      );
      const start = (pagesOf(first, last)[0] ?? 1) * PAGE - PAGE;
      return loaded.flatMap((page) => page.items).slice(first - start, last - start + 1);
    },
    retry: () => answers.forEach((answer) => answer.error && void answer.refetch()),
  };
}
