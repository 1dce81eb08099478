// SPDX-License-Identifier: Apache-2.0
// What is chosen in the explorer: by click, Shift, Ctrl, the boxes, or the keyboard alone. What was chosen stays so
// while its page is not on the screen.
import { useCallback, useState } from 'react';
import { notifyProblem, notifySuccess } from '@/components/notify';
import { count } from '@/lib/format';
import type { Entry } from './entries';
import type { EntryPages } from './useEntryPages';

/** More at once would be waited for too long; exports take a whole study or patient by its name. */
export const MAX_SELECTED = 5_000;

export type Selection = {
  selected: ReadonlyMap<string, Entry>;
  /** Where the keyboard stands. */
  cursor: number;
  moveCursor: (index: number) => void;
  selectOnly: (index: number) => void;
  toggle: (index: number) => void;
  /** From where the last one was chosen to here. */
  selectTo: (index: number) => void;
  selectAll: () => void;
  clear: () => void;
};

/** `where` names the list: another list begins with nothing chosen. */
export function useSelection(pages: EntryPages, listKey: string): Selection {
  const [selected, setSelected] = useState<ReadonlyMap<string, Entry>>(new Map());
  const [cursor, setCursor] = useState(0);
  const [anchor, setAnchor] = useState(0);

  const [currentList, setCurrentList] = useState(listKey);
  if (currentList !== listKey) {
    setCurrentList(listKey);
    setSelected(new Map());
    setCursor(0);
    setAnchor(0);
  }

  const clear = useCallback(() => setSelected(new Map()), []);

  const selectRange = async (from: number, to: number) => {
    const last = Math.min(to, from + MAX_SELECTED - 1);
    try {
      const entries = await pages.between(from, last);
      setSelected(new Map(entries.map((entry) => [entry.id, entry])));
      if (last < to) notifySuccess(`The first ${count(MAX_SELECTED)} are selected`, 'Select the others afterwards.');
    } catch (error) {
      notifyProblem(error, 'The selection is incomplete');
    }
  };

  return {
    selected: selected,
    cursor,
    moveCursor: (index) => {
      setCursor(index);
      setAnchor(index);
    },
    selectOnly: (index) => {
      const entry = pages.at(index);
      setCursor(index);
      setAnchor(index);
      if (entry) setSelected(new Map([[entry.id, entry]]));
    },
    toggle: (index) => {
      const entry = pages.at(index);
      setCursor(index);
      setAnchor(index);
      if (!entry) return;
      setSelected((before) => {
        const next = new Map(before);
        if (!next.delete(entry.id)) next.set(entry.id, entry);
        return next;
      });
    },
    selectTo: (index) => {
      setCursor(index);
      void selectRange(Math.min(anchor, index), Math.max(anchor, index));
    },
    selectAll: () => {
      if (pages.total) void selectRange(0, pages.total - 1);
    },
    clear: clear,
  };
}
