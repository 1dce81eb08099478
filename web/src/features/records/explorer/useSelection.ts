// SPDX-License-Identifier: Apache-2.0
// What is chosen in the explorer: by click, Shift, Ctrl, the boxes, or the keyboard alone. What was chosen stays so
// while its page is not on the screen.
import { useCallback, useEffect, useState } from 'react';
import { tellProblem, tellSuccess } from '@/components/notify';
import { count } from '@/lib/format';
import type { Entry } from './entries';
import type { Pages } from './usePages';

/** More at once would be waited for too long; exports take a whole study or patient by its name. */
export const MOST_CHOSEN = 5_000;

export type Selection = {
  chosen: ReadonlyMap<string, Entry>;
  /** Where the keyboard stands. */
  cursor: number;
  moveTo: (index: number) => void;
  only: (index: number) => void;
  toggle: (index: number) => void;
  /** From where the last one was chosen to here. */
  upTo: (index: number) => void;
  all: () => void;
  none: () => void;
};

/** `where` names the list: another list begins with nothing chosen. */
export function useSelection(pages: Pages, where: string): Selection {
  const [chosen, setChosen] = useState<ReadonlyMap<string, Entry>>(new Map());
  const [cursor, setCursor] = useState(0);
  const [anchor, setAnchor] = useState(0);

  const none = useCallback(() => setChosen(new Map()), []);
  useEffect(() => {
    none();
    setCursor(0);
    setAnchor(0);
  }, [where, none]);

  const range = async (from: number, to: number) => {
    const last = Math.min(to, from + MOST_CHOSEN - 1);
    try {
      const entries = await pages.between(from, last);
      setChosen(new Map(entries.map((entry) => [entry.id, entry])));
      if (last < to) tellSuccess(`The first ${count(MOST_CHOSEN)} are chosen`, 'Choose the rest afterwards.');
    } catch (error) {
      tellProblem(error, 'Not all could be chosen');
    }
  };

  return {
    chosen,
    cursor,
    moveTo: (index) => {
      setCursor(index);
      setAnchor(index);
    },
    only: (index) => {
      const entry = pages.at(index);
      setCursor(index);
      setAnchor(index);
      if (entry) setChosen(new Map([[entry.id, entry]]));
    },
    toggle: (index) => {
      const entry = pages.at(index);
      setCursor(index);
      setAnchor(index);
      if (!entry) return;
      setChosen((before) => {
        const next = new Map(before);
        if (!next.delete(entry.id)) next.set(entry.id, entry);
        return next;
      });
    },
    upTo: (index) => {
      setCursor(index);
      void range(Math.min(anchor, index), Math.max(anchor, index));
    },
    all: () => {
      if (pages.total) void range(0, pages.total - 1);
    },
    none,
  };
}
