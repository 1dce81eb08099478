// SPDX-License-Identifier: Apache-2.0
// The entries of a place as tiles or as rows. Only those on the screen are drawn, however many there are. It is one stop
// of the Tab key; arrows walk inside it, and the entry on which the keyboard stands is named to screen readers.
import { Checkbox, Skeleton } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import {
  useEffect,
  useEffectEvent,
  useLayoutEffect,
  useRef,
  useState,
  type KeyboardEvent,
  type MouseEvent,
} from 'react';
import { AppLink } from '@/components/AppLink';
import { IconChevronDown, IconChevronUp, IconLock, IconSelector } from '@/components/icons';
import { LabelLine } from '@/components/ImageTile';
import type { Column } from '@/components/listTypes';
import { StatusIcon, statusOf, statusText } from '@/components/StatusMark';
import { parseSearch } from '@/lib/searchParams';
import { summaryOf, isLocked, nameOf, type Entry } from './entries';
import classes from './explorer.module.css';
import { EntryThumbnail } from './EntryThumbnail';
import { entryPath } from './location';
import type { EntryPages } from './useEntryPages';
import type { Selection } from './useSelection';

export type EntryKeys = { rename: () => void; remove: () => void; up: () => void };

type Props = {
  label: string;
  pages: EntryPages;
  total: number;
  selection: Selection;
  columns: Column<Entry>[];
  grid: boolean;
  dense: boolean;
  withPatient: boolean;
  /** Whether each tile has a line more, for the patient's code. */
  withCode: boolean;
  sort: string;
  onSort: (sort: string) => void;
  onRange: (from: number, to: number) => void;
  keys: EntryKeys;
};

const TILE = 156;
const GAP = 12;

/** Width of an element, and how large a letter is on this screen. */
function useSize(): [ref: (node: HTMLElement | null) => void, width: number, rem: number] {
  const [node, setNode] = useState<HTMLElement | null>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!node) return;
    const observer = new ResizeObserver(() => setWidth(node.clientWidth));
    observer.observe(node);
    return () => observer.disconnect();
  }, [node]);
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
  return [setNode, width, rem];
}

export function EntryGrid(props: Props) {
  const { label, pages, total, selection, columns, grid, dense, withPatient, withCode, sort, onSort, onRange, keys } =
    props;
  const navigate = useNavigate();
  const body = useRef<HTMLDivElement | null>(null);
  const [measure, width, rem] = useSize();
  const [margin, setMargin] = useState(0);
  const across = grid ? Math.max(2, Math.floor((width + GAP) / (TILE + GAP))) : 1;
  const tile = (width - GAP * (across - 1)) / across;
  const height = grid ? tile + (withCode ? 4.6 : 3.3) * rem + GAP : (dense ? 2.2 : 3) * rem;
  const lines = Math.ceil(total / across);
  const cursor = Math.min(selection.cursor, Math.max(0, total - 1));

  const virtual = useVirtualizer({
    count: lines,
    getScrollElement: () => document.getElementById('main'),
    estimateSize: () => height,
    overscan: 3,
    scrollMargin: margin,
  });
  useEffect(() => {
    virtual.measure();
  }, [virtual, height]);
  // What stands above it comes and goes: the uploads, what is chosen.
  const updateMargin = useEffectEvent(() => {
    const main = document.getElementById('main');
    if (!main || !body.current) return;
    const top = body.current.getBoundingClientRect().top - main.getBoundingClientRect().top + main.scrollTop;
    if (Math.abs(top - margin) > 1) setMargin(top);
  });
  useLayoutEffect(() => updateMargin());

  const drawn = virtual.getVirtualItems();
  const from = (drawn[0]?.index ?? 0) * across;
  const to = Math.min(total, ((drawn.at(-1)?.index ?? 0) + 1) * across) - 1;
  useEffect(() => {
    onRange(from, Math.max(from, to));
  }, [from, to, onRange]);

  const open = (entry: Entry | undefined) => {
    if (!entry) return;
    const [path = '/', search = ''] = entryPath(entry).split('?', 2);
    void navigate({ to: path, search: parseSearch(search) });
  };

  const walk = (index: number, choosing: boolean) => {
    const next = Math.min(total - 1, Math.max(0, index));
    virtual.scrollToIndex(Math.floor(next / across));
    if (choosing) selection.selectTo(next);
    else selection.moveCursor(next);
  };

  const press = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget && (event.target as HTMLElement).matches('input, textarea')) return;
    const screen =
      Math.max(1, Math.floor((document.getElementById('main')?.clientHeight ?? 600) / height) - 1) * across;
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: across,
      ArrowUp: -across,
      PageDown: screen,
      PageUp: -screen,
      Home: -total,
      End: total,
    };
    const step = steps[event.key];
    if (step !== undefined) walk(cursor + step, event.shiftKey);
    else if (event.key === ' ') selection.toggle(cursor);
    else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) selection.selectAll();
    else if (event.key === 'Escape') selection.clear();
    else if (event.key === 'Enter') open(pages.at(cursor));
    else if (event.key === 'F2') keys.rename();
    else if (event.key === 'Delete') keys.remove();
    else if (event.key === 'Backspace') keys.up();
    else return;
    event.preventDefault();
  };

  /** Ctrl and Shift choose; without them a click chooses just this one, and a tap opens unless something is chosen. */
  const click = (event: MouseEvent, index: number) => {
    const modified = event.ctrlKey || event.metaKey || event.shiftKey;
    const target = event.target as HTMLElement;
    if (target.closest('input, label') || (target.closest('a') && !modified)) return;
    event.preventDefault();
    const touch = (event.nativeEvent as globalThis.PointerEvent).pointerType === 'touch';
    if (event.shiftKey) selection.selectTo(index);
    else if (modified || (touch && selection.selected.size > 0)) selection.toggle(index);
    else if (touch) open(pages.at(index));
    else selection.selectOnly(index);
  };

  const cells = {
    click,
    open,
    columns,
    withPatient,
    chosen: selection.selected,
    toggle: selection.toggle,
    cursor,
  };

  return (
    <div className={grid ? undefined : classes.frame}>
      {!grid && <ColumnHeaders columns={columns} sort={sort} onSort={onSort} />}
      <div
        ref={(node) => {
          body.current = node;
          measure(node);
        }}
        className={classes.items}
        role="grid"
        aria-label={label}
        aria-multiselectable
        aria-rowcount={lines}
        aria-colcount={grid ? across : 1}
        aria-activedescendant={total > 0 ? `entry-${cursor}` : undefined}
        tabIndex={0}
        style={{ blockSize: virtual.getTotalSize() }}
        onKeyDown={press}
      >
        {drawn.map((line) => (
          <div
            key={line.key}
            role="row"
            aria-rowindex={line.index + 1}
            className={grid ? classes.tiles : classes.row}
            data-dense={dense || undefined}
            style={{
              transform: `translateY(${line.start - margin}px)`,
              blockSize: height,
              ...(grid ? { gridTemplateColumns: `repeat(${across}, minmax(0, 1fr))` } : {}),
            }}
          >
            {Array.from({ length: Math.min(across, total - line.index * across) }, (_, column) => {
              const index = line.index * across + column;
              const entry = pages.at(index);
              return grid ? (
                <Tile key={index} index={index} entry={entry} {...cells} />
              ) : (
                <Row key={index} index={index} entry={entry} {...cells} />
              );
            })}
          </div>
        ))}
      </div>
    </div>
  );
}

type CellProps = {
  index: number;
  entry: Entry | undefined;
  columns: Column<Entry>[];
  withPatient: boolean;
  chosen: Selection['selected'];
  cursor: number;
  toggle: (index: number) => void;
  click: (event: MouseEvent, index: number) => void;
  open: (entry: Entry | undefined) => void;
};

function EntryCheckbox({
  entry,
  index,
  chosen,
  toggle,
}: Pick<CellProps, 'index' | 'chosen' | 'toggle'> & { entry: Entry }) {
  return (
    <Checkbox
      size="xs"
      tabIndex={-1}
      className={classes.check}
      aria-label={`Select ${nameOf(entry)}`}
      checked={chosen.has(entry.id)}
      onChange={() => toggle(index)}
    />
  );
}

function Tile(props: CellProps) {
  const { index, entry, chosen, cursor, click, open, withPatient } = props;
  if (!entry) {
    return (
      <div role="gridcell" id={`entry-${index}`} className={classes.tile} aria-busy="true">
        <Skeleton className={classes.ground} />
      </div>
    );
  }
  const name = nameOf(entry);
  return (
    <div
      role="gridcell"
      id={`entry-${index}`}
      className={classes.tile}
      aria-selected={chosen.has(entry.id)}
      data-cursor={cursor === index || undefined}
      onClick={(event) => click(event, index)}
      onDoubleClick={() => open(entry)}
    >
      <EntryCheckbox {...props} entry={entry} />
      <span className={classes.ground} data-stack={entry.kind !== 'images' || undefined}>
        <EntryThumbnail key={entry.id} entry={entry} />
      </span>
      <span className={classes.line}>
        {entry.kind === 'images' && <StatusIcon mark={statusOf(entry.row)} />}
        {isLocked(entry) && entry.kind !== 'images' && <IconLock size={14} />}
        <AppLink to={entryPath(entry)} tabIndex={-1} className={classes.name} data-row-link>
          {entry.kind === 'patients' ? <span className="mh-code">{name}</span> : name}
        </AppLink>
        {entry.kind === 'images' && <span className="mh-visually-hidden">, {statusText(statusOf(entry.row))}</span>}
      </span>
      <span className={entry.kind === 'images' ? `${classes.sub} ${classes.labelLine}` : classes.sub}>
        {entry.kind === 'images' ? <LabelLine image={entry.row} /> : summaryOf(entry, withPatient)}
      </span>
      {entry.kind === 'images' && withPatient && (
        <span className={classes.sub}>
          <span className="mh-code">{entry.row.patient_code}</span>
        </span>
      )}
    </div>
  );
}

function Row(props: CellProps) {
  const { index, entry, columns, chosen, cursor, click, open } = props;
  if (!entry) {
    return (
      <div role="gridcell" id={`entry-${index}`} className={classes.cell} aria-busy="true">
        <Skeleton height={14} width={`${40 + ((index * 17) % 35)}%`} />
      </div>
    );
  }
  const name = nameOf(entry);
  return (
    <div
      role="gridcell"
      id={`entry-${index}`}
      className={classes.cell}
      aria-selected={chosen.has(entry.id)}
      data-cursor={cursor === index || undefined}
      onClick={(event) => click(event, index)}
      onDoubleClick={() => open(entry)}
    >
      <EntryCheckbox {...props} entry={entry} />
      <span className={classes.small}>
        <EntryThumbnail key={entry.id} entry={entry} small />
      </span>
      {columns.map((column, position) => (
        <span
          key={column.id}
          className={position === 0 ? classes.first : classes.value}
          data-align={column.align}
          data-column={column.id}
          data-phone={column.phone || undefined}
        >
          {position === 0 ? (
            <>
              {isLocked(entry) && <IconLock size={14} />}
              <AppLink to={entryPath(entry)} tabIndex={-1} className={classes.name} data-row-link>
                {entry.kind === 'patients' ? <span className="mh-code">{name}</span> : name}
              </AppLink>
            </>
          ) : (
            <>
              <span className="mh-visually-hidden">{column.header}: </span>
              {column.cell(entry)}
            </>
          )}
        </span>
      ))}
    </div>
  );
}

function ColumnHeaders({
  columns,
  sort,
  onSort,
}: {
  columns: Column<Entry>[];
  sort: string;
  onSort: (sort: string) => void;
}) {
  return (
    <div className={classes.heads} role="group" aria-label="Sort by column">
      {columns.map((column, position) => {
        const ascending = sort === column.sort;
        const descending = sort === `-${column.sort}`;
        const Icon = ascending ? IconChevronUp : descending ? IconChevronDown : IconSelector;
        return (
          <span
            key={column.id}
            className={position === 0 ? classes.first : classes.value}
            data-align={column.align}
            data-column={column.id}
            data-phone={column.phone || undefined}
          >
            {column.sort ? (
              <button
                type="button"
                className={classes.sort}
                aria-label={`Sort by ${column.header.toLowerCase()}${ascending ? ', descending' : ''}`}
                aria-pressed={ascending || descending}
                onClick={() => onSort(ascending ? `-${column.sort}` : (column.sort ?? ''))}
              >
                {column.header}
                <Icon size={14} />
              </button>
            ) : (
              column.header
            )}
          </span>
        );
      })}
    </div>
  );
}
