// SPDX-License-Identifier: Apache-2.0
// The list of this app: title with count, search and filters kept in the address, server pages, sortable columns,
// column choice, density, selection with actions, arrow keys, skeletons, and an empty state that says what to do first.
import { Button, Pagination } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import type { Query } from '@/api/http';
import type { Paginated } from '@/api/types';
import { count, plural } from '@/lib/format';
import type { ListSearch } from '@/lib/searchParams';
import { EmptyState } from './EmptyState';
import classes from './ListPage.module.css';
import { useColumns, useDensity } from './listPreferences';
import { ListRows } from './ListRows';
import { ColumnMenu, DensityButton, FilterChips, ListError, ListFilters, NoMatches } from './ListTools';
import { activeFilters, validSort, withoutParameters, type Column, type Filter, type SearchPatch } from './listTypes';
import { Page } from './Page';

export type { Column, Filter };

type Props<T> = {
  name: string;
  title: string;
  lead?: ReactNode;
  tabs?: ReactNode;
  actions?: ReactNode;
  tools?: ReactNode;
  columns: Column<T>[];
  filters?: Filter[];
  searchLabel?: string;
  /** Parameters that are always sent, besides those of the address. */
  fixed?: Query;
  defaultSort?: string;
  pageSize?: number;
  load: (query: Query, signal: AbortSignal) => Promise<Paginated<T>>;
  rowId: (row: T) => string;
  rowLink?: (row: T) => string;
  rowName?: (row: T) => string;
  onRow?: (row: T) => void;
  empty: { icon?: ReactNode; title: string; text?: ReactNode; action?: ReactNode };
  selection?: (rows: T[], clear: () => void) => ReactNode;
  refetchInterval?: number | false | ((rows: T[] | undefined) => number | false);
};

export function ListPage<T>(props: Props<T>) {
  const { name, columns, filters = [], fixed = {}, defaultSort = '', pageSize = 50, load } = props;
  const search: ListSearch = useSearch({ strict: false });
  const navigate = useNavigate();
  const columnChoice = useColumns(`list.${name}`, columns);
  const density = useDensity();
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());

  const sort = validSort(search.sort, columns, defaultSort);
  const page = Number(search.page ?? 1);
  const active = activeFilters(search, filters);
  const query: Query = {
    ...fixed,
    ...Object.fromEntries(active),
    query: search.query,
    sort,
    page,
    page_size: pageSize,
  };

  const list = useQuery({
    queryKey: [name, 'list', query],
    queryFn: ({ signal }) => load(query, signal),
    placeholderData: keepPreviousData,
    refetchInterval: (state) => {
      const interval = props.refetchInterval;
      return typeof interval === 'function' ? interval(state.state.data?.items) : (interval ?? false);
    },
  });

  const change = (patch: SearchPatch) => {
    setSelected(new Set());
    void navigate({
      to: '.',
      search: (before) => ({ ...before, page: undefined, ...patch }),
      replace: 'query' in patch,
    });
  };

  const rows = list.data?.items;
  const total = list.data?.total;
  const filtered = active.length > 0 || Boolean(search.query);
  const selectedRows = (rows ?? []).filter((row) => selected.has(props.rowId(row)));

  return (
    <Page
      title={props.title}
      heading={
        <>
          {props.title}
          {total !== undefined && (
            <span className={classes.count} aria-label={`${count(total)} in total`}>
              {count(total)}
            </span>
          )}
        </>
      }
      tabs={props.tabs}
      lead={props.lead}
      actions={props.actions}
    >
      <div className={classes.bar}>
        <ListFilters searchLabel={props.searchLabel} filters={filters} search={search} onChange={change} />
        <div className={classes.tools}>
          {props.tools}
          <ColumnMenu columns={columns} visible={columnChoice.visible} onToggle={columnChoice.toggle} />
          <DensityButton dense={density.dense} onToggle={density.toggle} />
        </div>
      </div>
      {active.length > 0 && (
        <FilterChips active={active} filters={filters} onRemove={(id) => change({ [id]: undefined })} />
      )}
      {selectedRows.length > 0 && props.selection && (
        <div className={classes.selection} role="status">
          <span>{plural(selectedRows.length, 'row')} selected</span>
          {props.selection(selectedRows, () => setSelected(new Set()))}
          <Button variant="subtle" size="compact-sm" onClick={() => setSelected(new Set())}>
            Clear selection
          </Button>
        </div>
      )}
      {list.error && <ListError error={list.error} onRetry={() => void list.refetch()} />}
      {rows?.length === 0 ? (
        <div className={classes.frame}>
          {filtered ? (
            <NoMatches onClear={() => change(withoutParameters(['query', ...active.map(([id]) => id)]))} />
          ) : (
            <EmptyState {...props.empty} />
          )}
        </div>
      ) : (
        !(list.error && !rows) && (
          <ListRows
            title={props.title}
            columns={columnChoice.visible}
            rows={rows}
            rowId={props.rowId}
            rowLink={props.rowLink}
            rowName={props.rowName}
            onRow={props.onRow}
            selectable={Boolean(props.selection)}
            sort={sort}
            dense={density.dense}
            stale={list.isPlaceholderData}
            selected={selected}
            onSelect={setSelected}
            onSort={(next) => change({ sort: next })}
          />
        )
      )}
      <Pages
        page={page}
        pageSize={pageSize}
        total={total ?? 0}
        onChange={(next) => change({ page: next === 1 ? undefined : String(next) })}
      />
    </Page>
  );
}

type PagesProps = { page: number; pageSize: number; total: number; onChange: (page: number) => void };

function Pages({ page, pageSize, total, onChange }: PagesProps) {
  const pages = Math.ceil(total / pageSize);
  if (pages <= 1) return null;
  return (
    <div className={classes.pages}>
      <span className={classes.range}>
        {count((page - 1) * pageSize + 1)} to {count(Math.min(page * pageSize, total))} of {count(total)}
      </span>
      <Pagination
        total={pages}
        value={page}
        onChange={onChange}
        getControlProps={(control) => ({ 'aria-label': `${control} page` })}
        getItemProps={(item) => ({ 'aria-label': `Page ${item}` })}
      />
    </div>
  );
}
