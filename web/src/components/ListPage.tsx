// SPDX-License-Identifier: Apache-2.0
// The list of this app: title with count, search and filters kept in the address, server pages, sortable columns,
// column choice, density, selection with actions, arrow keys, skeletons, and an empty state that says what to do first.
import { ActionIcon, Alert, Button, Checkbox, Menu, Pagination, Select, Skeleton, TextInput, Tooltip } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useState, type KeyboardEvent, type MouseEvent, type ReactNode } from 'react';
import { asProblem } from '@/api/problem';
import type { Query } from '@/api/http';
import type { Page as PageOf } from '@/api/types';
import { count, plural } from '@/lib/format';
import { remember, remembered } from '@/lib/remembered';
import { EmptyState } from './EmptyState';
import { IconChevronDown, IconChevronUp, IconColumns, IconCross, IconDensity, IconSearch, IconSelector, IconWarning } from './icons';
import classes from './ListPage.module.css';
import { Page } from './Page';

export type Column<T> = {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
  /** The name by which the server sorts, if it does. */
  sort?: string;
  align?: 'end';
  /** Left out until someone chooses it. */
  hidden?: boolean;
  /** Kept on a phone. */
  phone?: boolean;
};

export type Filter = {
  id: string;
  label: string;
  options?: { value: string; label: string }[];
  kind?: 'choice' | 'text' | 'date';
};

type Props<T> = {
  name: string;
  title: string;
  lead?: ReactNode;
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
  const query: Query = { ...fixed, ...Object.fromEntries(active), query: search.query, sort, page, page_size: pageSize };

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
      search: (before: Record<string, string | undefined>) => ({ ...before, ...(keepPage ? {} : { page: undefined }), ...patch }),
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
      lead={props.lead}
      actions={props.actions}
    >
      <div className={classes.bar}>
        {props.searchLabel && (
          <SearchField label={props.searchLabel} value={search.query ?? ''} onChange={(text) => change({ query: text || undefined })} />
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
        <Alert color="red.9" icon={<IconWarning />} title={problem.title} role="alert">
          <div>{problem.detail}</div>
          <Button mt="sm" size="xs" variant="default" onClick={() => void list.refetch()}>
            Try again
          </Button>
        </Alert>
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
                  onClick={() => change({ query: undefined, ...Object.fromEntries(active.map(([key]) => [key, undefined])) })}
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
          <Rows
            {...props}
            columns={shown}
            rows={rows}
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

function SearchField({ label, value, onChange }: { label: string; value: string; onChange: (text: string) => void }) {
  const [text, setText] = useState(value);
  const tell = useDebouncedCallback(onChange, 220);
  useEffect(() => setText(value), [value]);
  return (
    <TextInput
      className={classes.search}
      type="search"
      aria-label={label}
      placeholder={label}
      leftSection={<IconSearch size={18} />}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        tell(event.currentTarget.value.trim());
      }}
      onKeyDown={(event) => {
        if (event.key !== 'ArrowDown') return;
        event.preventDefault();
        document.querySelector<HTMLElement>('[data-row-link]')?.focus();
      }}
    />
  );
}

function FilterField({ filter, value, onChange }: { filter: Filter; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  const tell = useDebouncedCallback(onChange, 300);
  useEffect(() => setText(value), [value]);
  if (filter.options) {
    return (
      <Select
        className={classes.filter}
        aria-label={filter.label}
        placeholder={filter.label}
        data={[{ value: '', label: `${filter.label}: any` }, ...filter.options]}
        value={value || null}
        onChange={(next) => onChange(next ?? '')}
        searchable={filter.options.length > 12}
      />
    );
  }
  return (
    <TextInput
      className={filter.kind === 'date' ? classes.date : classes.filter}
      aria-label={filter.label}
      placeholder={filter.label}
      leftSection={filter.kind === 'date' ? <span className={classes.prefix}>{filter.label}</span> : undefined}
      leftSectionWidth={filter.kind === 'date' ? 58 : undefined}
      type={filter.kind === 'date' ? 'date' : 'text'}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        tell(event.currentTarget.value);
      }}
    />
  );
}

function Chips({ active, filters, onRemove }: { active: [string, string][]; filters: Filter[]; onRemove: (id: string) => void }) {
  return (
    <ul className={classes.chips} aria-label="Filters in use">
      {active.map(([id, value]) => {
        const filter = filters.find((entry) => entry.id === id);
        const words = filter?.options?.find((option) => option.value === value)?.label ?? value;
        const text = `${filter?.label ?? id}: ${words}`;
        return (
          <li key={id}>
            <button type="button" className={classes.chip} onClick={() => onRemove(id)} aria-label={`Remove the filter ${text}`}>
              {text}
              <IconCross size={14} />
            </button>
          </li>
        );
      })}
    </ul>
  );
}

function ColumnChoice<T>({
  columns,
  shown,
  onChange,
}: {
  columns: Column<T>[];
  shown: ReadonlySet<string>;
  onChange: (id: string, on: boolean) => void;
}) {
  return (
    <Menu closeOnItemClick={false} position="bottom-end">
      <Menu.Target>
        <Tooltip label="Choose columns">
          <ActionIcon variant="default" size={36} aria-label="Choose columns">
            <IconColumns />
          </ActionIcon>
        </Tooltip>
      </Menu.Target>
      <Menu.Dropdown>
        {columns.slice(1).map((column) => (
          <Menu.Item
            key={column.id}
            role="menuitemcheckbox"
            aria-checked={shown.has(column.id)}
            onClick={() => onChange(column.id, !shown.has(column.id))}
            leftSection={<span className={classes.tick}>{shown.has(column.id) ? '✓' : ''}</span>}
          >
            {column.header}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

type RowsProps<T> = Props<T> & {
  rows: T[] | undefined;
  sort: string;
  dense: boolean;
  stale: boolean;
  chosen: ReadonlySet<string>;
  onChoose: (chosen: ReadonlySet<string>) => void;
  onSort: (sort: string) => void;
};

function Rows<T>({ title, columns, rows, rowId, rowLink, rowName, onRow, sort, dense, stale, chosen, onChoose, onSort, selection }: RowsProps<T>) {
  const navigate = useNavigate();

  const move = (event: KeyboardEvent<HTMLTableSectionElement>) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const links = [...event.currentTarget.querySelectorAll<HTMLElement>('[data-row-link]')];
    const at = links.indexOf(document.activeElement as HTMLElement);
    if (at < 0) return;
    event.preventDefault();
    links[at + (event.key === 'ArrowDown' ? 1 : -1)]?.focus();
  };

  const open = (event: MouseEvent, row: T) => {
    if ((event.target as HTMLElement).closest('a,button,input,label') || window.getSelection()?.toString()) return;
    if (onRow) onRow(row);
    else if (rowLink) void navigate({ to: rowLink(row) });
  };

  const all = rows !== undefined && rows.length > 0 && rows.every((row) => chosen.has(rowId(row)));

  return (
    <div className={classes.frame} data-stale={stale || undefined} role="region" aria-label={`Table of ${title.toLowerCase()}`} tabIndex={0}>
      <table className={classes.table} data-dense={dense || undefined} aria-busy={rows === undefined || stale}>
        <thead>
          <tr>
            {selection && (
              <th className={classes.check}>
                <Checkbox
                  size="xs"
                  aria-label="Choose all rows of this page"
                  checked={all}
                  onChange={() => onChoose(all ? new Set() : new Set((rows ?? []).map(rowId)))}
                />
              </th>
            )}
            {columns.map((column) => (
              <Head key={column.id} column={column} sort={sort} onSort={onSort} />
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={move}>
          {rows === undefined
            ? Array.from({ length: 8 }, (_, index) => (
                <tr key={index}>
                  {selection && <td />}
                  {columns.map((column) => (
                    <td key={column.id} data-phone={column.phone || undefined}>
                      <Skeleton height={14} width={`${50 + ((index * 17 + column.id.length * 11) % 40)}%`} />
                    </td>
                  ))}
                </tr>
              ))
            : rows.map((row) => (
                <tr key={rowId(row)} onClick={(event) => open(event, row)} data-clickable={Boolean(rowLink || onRow) || undefined}>
                  {selection && (
                    <td className={classes.check}>
                      <Checkbox
                        size="xs"
                        aria-label={`Choose ${rowName?.(row) ?? rowId(row)}`}
                        checked={chosen.has(rowId(row))}
                        onChange={(event) => {
                          const next = new Set(chosen);
                          if (event.currentTarget.checked) next.add(rowId(row));
                          else next.delete(rowId(row));
                          onChoose(next);
                        }}
                      />
                    </td>
                  )}
                  {columns.map((column, index) => (
                    <td key={column.id} data-align={column.align} data-phone={column.phone || index === 0 || undefined}>
                      {index === 0 && rowLink ? (
                        <Link to={rowLink(row)} data-row-link className={classes.link}>
                          {column.cell(row)}
                        </Link>
                      ) : index === 0 && onRow ? (
                        <button type="button" data-row-link className={classes.link} onClick={() => onRow(row)}>
                          {column.cell(row)}
                        </button>
                      ) : (
                        column.cell(row)
                      )}
                    </td>
                  ))}
                </tr>
              ))}
        </tbody>
      </table>
    </div>
  );
}

function Head<T>({ column, sort, onSort }: { column: Column<T>; sort: string; onSort: (sort: string) => void }) {
  const descending = sort === `-${column.sort}`;
  const ascending = column.sort !== undefined && sort === column.sort;
  const first = column.header;
  if (!column.sort) {
    return (
      <th scope="col" data-align={column.align} data-phone={column.phone || undefined}>
        {first}
      </th>
    );
  }
  return (
    <th
      scope="col"
      data-align={column.align}
      data-phone={column.phone || undefined}
      aria-sort={ascending ? 'ascending' : descending ? 'descending' : 'none'}
    >
      <button type="button" className={classes.sort} onClick={() => onSort(ascending ? `-${column.sort}` : (column.sort ?? ''))}>
        {first}
        {ascending ? <IconChevronUp size={14} /> : descending ? <IconChevronDown size={14} /> : <IconSelector size={14} className={classes.idle} />}
      </button>
    </th>
  );
}
