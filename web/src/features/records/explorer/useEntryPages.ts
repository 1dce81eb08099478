// SPDX-License-Identifier: Apache-2.0
// A list of any length of which only the pages are loaded that somebody looks at.
import { useQueries, useQueryClient, type QueryKey } from '@tanstack/react-query';
import { useCallback, useMemo } from 'react';
import type { Query } from '@/api/http';
import type { Paginated } from '@/api/types';
import { loadPage, type Entry, type EntryKind } from './entries';

export const PAGE_SIZE = 50;
const REFRESH_MS = 1_500;

/** The pages on which the entries from one place to another stand. */
export function pageNumbers(from: number, to: number): number[] {
  const first = Math.floor(Math.max(0, from) / PAGE_SIZE) + 1;
  const last = Math.floor(Math.max(0, to) / PAGE_SIZE) + 1;
  return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
}

export type EntryPages = {
  total: number | undefined;
  error: Error | null;
  at: (index: number) => Entry | undefined;
  /** The entries from one place to another, loaded where they are not. */
  between: (from: number, to: number) => Promise<Entry[]>;
  retry: () => void;
};

export function useEntryPages(kind: EntryKind, query: Query, from: number, to: number): EntryPages {
  const client = useQueryClient();
  const key = JSON.stringify(query);
  const keyOf = useCallback((page: number): QueryKey => [kind, 'explorer', key, page], [kind, key]);
  const load = useCallback(
    (page: number, signal?: AbortSignal) => {
      // The first page counts; the others believe it.
      const known = page === 1 ? undefined : client.getQueryData<Paginated<Entry>>(keyOf(1))?.total;
      return loadPage(kind, { ...(JSON.parse(key) as Query), page, page_size: PAGE_SIZE, known_total: known }, signal);
    },
    [client, key, keyOf, kind],
  );
  const visiblePages = useMemo(() => [...new Set([1, ...pageNumbers(from, to)])], [from, to]);
  const answers = useQueries({
    queries: visiblePages.map((page) => ({
      queryKey: keyOf(page),
      queryFn: ({ signal }: { signal: AbortSignal }) => load(page, signal),
      staleTime: 10_000,
      refetchInterval: (state: { state: { data?: Paginated<Entry> } }) =>
        state.state.data?.items.some((entry) => entry.kind === 'images' && entry.row.state === 'waiting')
          ? REFRESH_MS
          : (false as const),
    })),
  });
  const pages = new Map(visiblePages.map((page, position) => [page, answers[position]?.data]));
  const total = pages.get(1)?.total;

  return {
    total,
    error: answers.find((answer) => answer.error)?.error ?? null,
    at: (index) => pages.get(Math.floor(index / PAGE_SIZE) + 1)?.items[index % PAGE_SIZE],
    between: async (first, last) => {
      const loaded = await Promise.all(
        pageNumbers(first, last).map((page) =>
          client.query({ queryKey: keyOf(page), queryFn: () => load(page), staleTime: 'static' }),
        ),
      );
      const start = (pageNumbers(first, last)[0] ?? 1) * PAGE_SIZE - PAGE_SIZE;
      return loaded.flatMap((page) => page.items).slice(first - start, last - start + 1);
    },
    retry: () => answers.forEach((answer) => answer.error && void answer.refetch()),
  };
}
