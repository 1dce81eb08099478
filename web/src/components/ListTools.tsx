// SPDX-License-Identifier: Apache-2.0
// What stands above a list: search, filters, the chips of filters in use, the choice of columns.
import { ActionIcon, Checkbox, Popover, Select, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useEffect, useState } from 'react';
import { IconColumns, IconCross, IconSearch } from './icons';
import classes from './ListPage.module.css';
import type { Column, Filter } from './listTypes';

export function SearchField({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string;
  onChange: (text: string) => void;
}) {
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

export function FilterField({
  filter,
  value,
  onChange,
}: {
  filter: Filter;
  value: string;
  onChange: (value: string) => void;
}) {
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

export function Chips({
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

export function ColumnChoice<T>({
  columns,
  shown,
  onChange,
}: {
  columns: Column<T>[];
  shown: ReadonlySet<string>;
  onChange: (id: string, on: boolean) => void;
}) {
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
              checked={shown.has(column.id)}
              onChange={(event) => onChange(column.id, event.currentTarget.checked)}
            />
          ))}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}
