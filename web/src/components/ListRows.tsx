// SPDX-License-Identifier: Apache-2.0
// The rows of a list as a table: sortable heads, arrow keys between rows, skeletons while loading.
import { Checkbox, Skeleton } from '@mantine/core';
import { Link, useNavigate } from '@tanstack/react-router';
import type { KeyboardEvent, MouseEvent } from 'react';
import { IconChevronDown, IconChevronUp, IconSelector } from './icons';
import classes from './ListPage.module.css';
import type { Column } from './listTypes';

type Props<T> = {
  title: string;
  columns: Column<T>[];
  rows: T[] | undefined;
  rowId: (row: T) => string;
  rowLink?: (row: T) => string;
  rowName?: (row: T) => string;
  onRow?: (row: T) => void;
  selectable: boolean;
  sort: string;
  dense: boolean;
  stale: boolean;
  selected: ReadonlySet<string>;
  onSelect: (selected: ReadonlySet<string>) => void;
  onSort: (sort: string) => void;
};

export function ListRows<T>(props: Props<T>) {
  const {
    title,
    columns,
    rows,
    rowId,
    rowLink,
    rowName,
    onRow,
    selectable,
    sort,
    dense,
    stale,
    selected,
    onSelect,
    onSort,
  } = props;
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

  const all = rows !== undefined && rows.length > 0 && rows.every((row) => selected.has(rowId(row)));

  return (
    <div
      className={classes.frame}
      data-stale={stale || undefined}
      role="region"
      aria-label={`Table of ${title.toLowerCase()}`}
      tabIndex={0}
    >
      <table className={classes.table} data-dense={dense || undefined} aria-busy={rows === undefined || stale}>
        <thead>
          <tr>
            {selectable && (
              <th className={classes.check}>
                <Checkbox
                  size="xs"
                  aria-label="Select all rows of this page"
                  checked={all}
                  onChange={() => onSelect(all ? new Set() : new Set((rows ?? []).map(rowId)))}
                />
              </th>
            )}
            {columns.map((column) => (
              <Head key={column.id} column={column} sort={sort} onSort={onSort} />
            ))}
          </tr>
        </thead>
        <tbody onKeyDown={move}>
          {rows?.map((row) => (
            <tr
              key={rowId(row)}
              onClick={(event) => open(event, row)}
              data-clickable={Boolean(rowLink || onRow) || undefined}
            >
              {selectable && (
                <td className={classes.check}>
                  <Checkbox
                    size="xs"
                    aria-label={`Select ${rowName?.(row) ?? rowId(row)}`}
                    checked={selected.has(rowId(row))}
                    onChange={(event) => {
                      const next = new Set(selected);
                      if (event.currentTarget.checked) next.add(rowId(row));
                      else next.delete(rowId(row));
                      onSelect(next);
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
      {rows === undefined && (
        <div className={classes.skeletons} aria-hidden="true">
          {Array.from({ length: 8 }, (_, index) => (
            <Skeleton key={index} height={14} width={`${60 + ((index * 17) % 35)}%`} />
          ))}
        </div>
      )}
    </div>
  );
}

function Head<T>({ column, sort, onSort }: { column: Column<T>; sort: string; onSort: (sort: string) => void }) {
  const descending = sort === `-${column.sort}`;
  const ascending = column.sort !== undefined && sort === column.sort;
  if (!column.sort) {
    return (
      <th scope="col" data-align={column.align} data-phone={column.phone || undefined}>
        {column.header}
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
      <button
        type="button"
        className={classes.sort}
        onClick={() => onSort(ascending ? `-${column.sort}` : (column.sort ?? ''))}
      >
        {column.header}
        {ascending ? (
          <IconChevronUp size={14} />
        ) : descending ? (
          <IconChevronDown size={14} />
        ) : (
          <IconSelector size={14} className={classes.idle} />
        )}
      </button>
    </th>
  );
}
