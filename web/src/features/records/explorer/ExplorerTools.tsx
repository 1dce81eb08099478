// SPDX-License-Identifier: Apache-2.0
// The tools above the entries: which kind is listed, search and filters, order, columns, grid or list.
import { SegmentedControl, Select } from '@mantine/core';
import type { ReactNode } from 'react';
import { IconGrid, IconList } from '@/components/icons';
import { ColumnMenu, DensityButton, ListFilters } from '@/components/ListTools';
import type { Column, Filter, SearchPatch } from '@/components/listTypes';
import { KIND_TITLES, type Entry, type EntryKind } from './entries';
import classes from './explorer.module.css';
import { kindsAt, type ExplorerLocation } from './location';

export type ExplorerView = 'grid' | 'list';

const SEARCH_LABELS: Record<EntryKind, string> = {
  patients: 'Search code, field, or any UID',
  studies: 'Search description, code or UID',
  series: 'Search description, modality or UID',
  images: 'Search code, study or UID',
};

type Props = {
  location: ExplorerLocation;
  kind: EntryKind;
  search: Readonly<Record<string, string | undefined>>;
  filters: Filter[];
  sort: string;
  view: ExplorerView;
  columns: Column<Entry>[];
  visibleColumns: Column<Entry>[];
  dense: boolean;
  onKind: (kind: EntryKind) => void;
  onSearch: (patch: SearchPatch) => void;
  onView: (view: ExplorerView) => void;
  onToggleColumn: (id: string, on: boolean) => void;
  onToggleDensity: () => void;
};

export function ExplorerTools(props: Props) {
  const { location, kind, view, onSearch } = props;
  return (
    <div className={classes.toolRows}>
      <div className={classes.filters}>
        <ListFilters
          key={`${location.id} ${kind}`} // what is still being typed belongs to the location that was left
          searchLabel={SEARCH_LABELS[kind]}
          filters={props.filters}
          search={props.search}
          onChange={onSearch}
        />
      </div>
      <div className={classes.bar}>
        <SegmentedControl
          aria-label="Entries to list"
          value={kind}
          onChange={props.onKind}
          data={kindsAt(location).map((option) => ({ value: option, label: KIND_TITLES[option] }))}
        />
        <div className={classes.tools}>
          {view === 'grid' ? (
            <Select
              aria-label="Sort by"
              w={190}
              data={sortOptions(props.columns)}
              value={props.sort}
              onChange={(sort) => onSearch({ sort: sort ?? undefined })}
            />
          ) : (
            <>
              <ColumnMenu columns={props.columns} visible={props.visibleColumns} onToggle={props.onToggleColumn} />
              <DensityButton dense={props.dense} onToggle={props.onToggleDensity} />
            </>
          )}
          <SegmentedControl
            aria-label="View"
            value={view}
            onChange={props.onView}
            data={[
              { value: 'grid', label: <ViewLabel icon={<IconGrid size={16} />} name="Grid" /> },
              { value: 'list', label: <ViewLabel icon={<IconList size={16} />} name="List" /> },
            ]}
          />
        </div>
      </div>
    </div>
  );
}

function sortOptions(columns: Column<Entry>[]) {
  return columns.flatMap(({ sort, header }) =>
    sort
      ? [
          { value: sort, label: sortLabel(sort, header, false) },
          { value: `-${sort}`, label: sortLabel(sort, header, true) },
        ]
      : [],
  );
}

function sortLabel(sort: string, header: string, descending: boolean): string {
  if (sort === 'created_at') return descending ? 'Newest first' : 'Oldest first';
  return `${header}, ${descending ? 'descending' : 'ascending'}`;
}

function ViewLabel({ icon, name }: { icon: ReactNode; name: string }) {
  return (
    <span className={classes.named}>
      {icon}
      {name}
    </span>
  );
}
