// SPDX-License-Identifier: Apache-2.0
// The list of this app: title with count, search and filters kept in the address, server pages, sortable columns,
// column choice, density, selection with actions, arrow keys, skeletons, and an empty state that says what to do first.
import { ActionIcon, Button, Pagination, Tooltip } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { asProblem } from '@/api/problem';
import type { Query } from '@/api/http';
import type { Page as PageOf } from '@/api/types';
import { count, plural } from '@/lib/format';
import { remember, remembered } from '@/lib/remembered';
import { EmptyState } from './EmptyState';
import { IconDensity, IconSearch } from './icons';
import classes from './ListPage.module.css';
import { ListRows } from './ListRows';
import { Chips, ColumnChoice, FilterField, SearchField } from './ListTools';
import type { Column, Filter } from './listTypes';
import { Notice } from './Notice';
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
  /** What always goes to the server besides what stands in the address. */
  fixed?: Query;
  defaultSort?: string;
  pageSize?: number;
  load: (query: Query, signal: AbortSignal) => Promise<PageOf<T>>;
  rowId: (row: T) => string;
  rowLink?: (row: T) => string;
  rowName?: (row: T) => string;
  onRow?: (row: T) => void;
  empty: { icon?: ReactNode; title: string; text?: ReactNode; action?: ReactNode };
  selection?: (rows: T[], clear: () => void) => ReactNode;
  /** Draws the rows in another way than as a table. */
  draw?: (rows: T[] | undefined) => ReactNode;
  refetchInterval?: number | false | ((rows: T[] | undefined) => number | false);
};

const RESERVED = new Set(['query', 'sort', 'page', 'view']);

export function ListPage<T>(props: Props<T>) {
  const { name, columns, filters = [], fixed = {}, defaultSort = '', pageSize = 50, load } = props;
  const search = useSearch({ strict: false });
  const navigate = useNavigate();
  const [visible, setVisible] = useState<Record<string, boolean>>(() => remembered(`list.${name}.columns`, {}));
  const [dense, setDense] = useState(() => remembered('list.dense', false));
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());

  const sort = search.sort ?? defaultSort;
  const page = Math.max(1, Number(search.page) || 1);
  const allowed = new Set(filters.map((filter) => filter.id));
  const active = Object.entries(search).filter(
    (entry): entry is [string, string] => allowed.has(entry[0]) && Boolean(entry[1]) && !RESERVED.has(entry[0]),
  );
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

  const change = (patch: Record<string, string | undefined>, keepPage = false) => {
    setChosen(new Set());
    void navigate({
      to: '.',
      search: (before: Record<string, string | undefined>) => ({
        ...before,
        ...(keepPage ? {} : { page: undefined }),
        ...patch,
      }),
      replace: 'query' in patch,
    } as never);
  };

  const shown = columns.filter((column) => visible[column.id] ?? !column.hidden);
  const rows = list.data?.items;
  const total = list.data?.total;
  const pages = total === undefined ? 1 : Math.max(1, Math.ceil(total / pageSize));
  const filtered = active.length > 0 || Boolean(search.query);
  const chosenRows = (rows ?? []).filter((row) => chosen.has(props.rowId(row)));
  const problem = list.error ? asProblem(list.error) : null;

  return (
    <Page
      title={props.title}
      heading={
        <>
          {props.title}
          {total !== undefined && (
            <span className={classes.count} aria-label={`${count(total)} in all`}>
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
        {props.searchLabel && (
          <SearchField
            label={props.searchLabel}
            value={search.query ?? ''}
            onChange={(text) => change({ query: text || undefined })}
          />
        )}
        {filters.map((filter) => (
          <FilterField
            key={filter.id}
            filter={filter}
            value={search[filter.id] ?? ''}
            onChange={(value) => change({ [filter.id]: value || undefined })}
          />
        ))}
        <div className={classes.tools}>
          {props.tools}
          {!props.draw && (
            <>
              <ColumnChoice
                columns={columns}
                shown={new Set(shown.map((column) => column.id))}
                onChange={(id, on) => {
                  const next = { ...visible, [id]: on };
                  setVisible(next);
                  remember(`list.${name}.columns`, next);
                }}
              />
              <Tooltip label={dense ? 'Wider rows' : 'Denser rows'}>
                <ActionIcon
                  variant="default"
                  size={36}
                  aria-label="Dense rows"
                  aria-pressed={dense}
                  onClick={() => {
                    setDense(!dense);
                    remember('list.dense', !dense);
                  }}
                >
                  <IconDensity />
                </ActionIcon>
              </Tooltip>
            </>
          )}
        </div>
      </div>
      {active.length > 0 && <Chips active={active} filters={filters} onRemove={(id) => change({ [id]: undefined })} />}
      {chosenRows.length > 0 && props.selection && (
        <div className={classes.chosen} role="status">
          <span>{plural(chosenRows.length, 'row')} chosen</span>
          {props.selection(chosenRows, () => setChosen(new Set()))}
          <Button variant="subtle" size="compact-sm" onClick={() => setChosen(new Set())}>
            Choose none
          </Button>
        </div>
      )}
      {problem && (
        <Notice tone="red" title={problem.title}>
          <div>{problem.detail}</div>
          <Button mt="sm" size="xs" variant="default" onClick={() => void list.refetch()}>
            Try again
          </Button>
        </Notice>
      )}
      {rows && rows.length === 0 ? (
        <div className={classes.frame}>
          {filtered ? (
            <EmptyState
              icon={<IconSearch size={32} />}
              title="Nothing matches"
              text="Take a filter away, or search for something else."
              action={
                <Button
                  variant="default"
                  onClick={() =>
                    change({ query: undefined, ...Object.fromEntries(active.map(([key]) => [key, undefined])) })
                  }
                >
                  Clear search and filters
                </Button>
              }
            />
          ) : (
            <EmptyState {...props.empty} />
          )}
        </div>
      ) : props.draw ? (
        props.draw(rows)
      ) : (
        !(problem && !rows) && (
          <ListRows
            title={props.title}
            columns={shown}
            rows={rows}
            rowId={props.rowId}
            rowLink={props.rowLink}
            rowName={props.rowName}
            onRow={props.onRow}
            selectable={Boolean(props.selection)}
            sort={sort}
            dense={dense}
            stale={list.isPlaceholderData}
            chosen={chosen}
            onChoose={setChosen}
            onSort={(next) => change({ sort: next })}
          />
        )
      )}
      {pages > 1 && (
        <div className={classes.pages}>
          <span className={classes.range}>
            {count((page - 1) * pageSize + 1)} to {count(Math.min(page * pageSize, total ?? 0))} of {count(total ?? 0)}
          </span>
          <Pagination
            total={pages}
            value={page}
            onChange={(next) => change({ page: next === 1 ? undefined : String(next) }, true)}
            getControlProps={(control) => ({ 'aria-label': `${control} page` })}
            getItemProps={(item) => ({ 'aria-label': `Page ${item}` })}
          />
        </div>
      )}
    </Page>
  );
}
