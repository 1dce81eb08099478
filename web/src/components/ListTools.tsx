// SPDX-License-Identifier: Apache-2.0
// The tools of a list: search, filters, chips of the filters in use, columns, density; and its messages.
import { ActionIcon, Button, Checkbox, Popover, Select, TextInput, Tooltip } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useState } from 'react';
import { asProblem } from '@/api/problem';
import { EmptyState } from './EmptyState';
import { IconColumns, IconCross, IconDensity, IconSearch } from './icons';
import classes from './ListPage.module.css';
import type { Column, Filter, SearchPatch } from './listTypes';
import { Notice } from './Notice';

/** What is being typed; it starts anew when the value itself changes. */
function useDraft(value: string) {
  const [text, setText] = useState(value);
  const [previous, setPrevious] = useState(value);
  if (previous !== value) {
    setPrevious(value);
    setText(value);
  }
  return [text, setText] as const;
}

function SearchField({ label, value, onChange }: { label: string; value: string; onChange: (text: string) => void }) {
  const [text, setText] = useDraft(value);
  const report = useDebouncedCallback(onChange, 220);
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
        report(event.currentTarget.value.trim());
      }}
      onKeyDown={(event) => {
        if (event.key !== 'ArrowDown') return;
        event.preventDefault();
        document.querySelector<HTMLElement>('[data-row-link]')?.focus();
      }}
    />
  );
}

function FilterField({
  filter,
  value,
  onChange,
}: {
  filter: Filter;
  value: string;
  onChange: (value: string) => void;
}) {
  const [text, setText] = useDraft(value);
  const report = useDebouncedCallback(onChange, 300);
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
        report(event.currentTarget.value);
      }}
    />
  );
}

export function FilterChips({
  active,
  filters,
  onRemove,
}: {
  active: [string, string][];
  filters: Filter[];
  onRemove: (id: string) => void;
}) {
  return (
    <ul className={classes.chips} aria-label="Filters in use">
      {active.map(([id, value]) => {
        const filter = filters.find((entry) => entry.id === id);
        const words = filter?.options?.find((option) => option.value === value)?.label ?? value;
        const text = `${filter?.label ?? id}: ${words}`;
        return (
          <li key={id}>
            <button
              type="button"
              className={classes.chip}
              onClick={() => onRemove(id)}
              aria-label={`Remove the filter ${text}`}
            >
              {text}
              <IconCross size={14} />
            </button>
          </li>
        );
      })}
    </ul>
  );
}

type ColumnMenuProps<T> = {
  columns: Column<T>[];
  visible: readonly Column<T>[];
  onToggle: (id: string, on: boolean) => void;
};

export function ColumnMenu<T>({ columns, visible, onToggle }: ColumnMenuProps<T>) {
  return (
    <Popover position="bottom-end" trapFocus>
      <Popover.Target>
        <ActionIcon variant="default" size={36} aria-label="Choose columns" title="Choose columns">
          <IconColumns />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown aria-label="Columns">
        <div className={classes.choice}>
          {columns.slice(1).map((column) => (
            <Checkbox
              key={column.id}
              label={column.header}
              checked={visible.includes(column)}
              onChange={(event) => onToggle(column.id, event.currentTarget.checked)}
            />
          ))}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}

type FiltersProps = {
  searchLabel?: string;
  filters: readonly Filter[];
  search: Readonly<Record<string, string | undefined>>;
  onChange: (patch: SearchPatch) => void;
};

/** The search field and the filters of a list; their values are parameters of the address. */
export function ListFilters({ searchLabel, filters, search, onChange }: FiltersProps) {
  return (
    <>
      {searchLabel && (
        <SearchField
          label={searchLabel}
          value={search.query ?? ''}
          onChange={(text) => onChange({ query: text || undefined })}
        />
      )}
      {filters.map((filter) => (
        <FilterField
          key={filter.id}
          filter={filter}
          value={search[filter.id] ?? ''}
          onChange={(value) => onChange({ [filter.id]: value || undefined })}
        />
      ))}
    </>
  );
}

export function DensityButton({ dense, onToggle }: { dense: boolean; onToggle: () => void }) {
  return (
    <Tooltip label={dense ? 'Taller rows' : 'Denser rows'}>
      <ActionIcon variant="default" size={36} aria-label="Dense rows" aria-pressed={dense} onClick={onToggle}>
        <IconDensity />
      </ActionIcon>
    </Tooltip>
  );
}

export function ListError({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const problem = asProblem(error);
  return (
    <Notice tone="red" title={problem.title}>
      <div>{problem.detail}</div>
      <Button mt="sm" size="xs" variant="default" onClick={onRetry}>
        Try again
      </Button>
    </Notice>
  );
}

export function NoMatches({ title = 'No matches', onClear }: { title?: string; onClear: () => void }) {
  return (
    <EmptyState
      icon={<IconSearch size={32} />}
      title={title}
      text="Remove a filter or search for something else."
      action={
        <Button variant="default" onClick={onClear}>
          Clear search and filters
        </Button>
      }
    />
  );
}
