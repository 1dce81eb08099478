// SPDX-License-Identifier: Apache-2.0
// The keys of the reading room, heard wherever the focus is, but never while someone types.
import { useEffect, useRef } from 'react';
import { isControl, isTyping } from './keys';

/** `at` is when the key went down, on the clock of the performance timeline. */
export type ReadingActs = {
  label: (number: number, at: number) => void;
  accept: (at: number) => void;
  next: (at: number) => void;
  previous: (at: number) => void;
  note: () => void;
  evidence: () => void;
  undo: () => void;
  sign: () => void;
  reset: () => void;
  brighter: (by: number) => void;
  contrast: (by: number) => void;
  zoom: (factor: number) => void;
  keys: () => void;
};

const STEP = 0.1;

// A key held down moves and adjusts; it never gives a second verdict.
const ONCE = /^(Enter|[1-9nhusr?])$/i;

function actOf(event: KeyboardEvent, acts: ReadingActs): (() => void) | null {
  const at = event.timeStamp;
  const onSlider = event.target instanceof HTMLElement && event.target.getAttribute('role') === 'slider';
  if (/^[1-9]$/.test(event.key)) return () => acts.label(Number(event.key), at);
  switch (event.key) {
    case 'Enter':
      return isControl(event.target) ? null : () => acts.accept(at);
    case 'ArrowRight':
    case 'ArrowDown':
      return onSlider ? null : () => acts.next(at);
    case 'ArrowLeft':
    case 'ArrowUp':
      return onSlider ? null : () => acts.previous(at);
    case 'b':
      return () => acts.brighter(STEP);
    case 'B':
      return () => acts.brighter(-STEP);
    case 'c':
      return () => acts.contrast(STEP);
    case 'C':
      return () => acts.contrast(-STEP);
    case '+':
    case '=':
      return () => acts.zoom(1.25);
    case '-':
      return () => acts.zoom(0.8);
    case '?':
      return acts.keys;
  }
  switch (event.key.toLowerCase()) {
    case 'j':
      return () => acts.next(at);
    case 'k':
      return () => acts.previous(at);
    case 'n':
      return acts.note;
    case 'h':
      return acts.evidence;
    case 'u':
      return acts.undo;
    case 's':
      return acts.sign;
    case 'r':
      return acts.reset;
    default:
      return null;
  }
}

export function useReadingKeys(listening: boolean, acts: ReadingActs): void {
  const latest = useRef({ listening, acts });
  latest.current = { listening, acts };
  useEffect(() => {
    const hear = (event: KeyboardEvent) => {
      const now = latest.current;
      if (
        !now.listening ||
        event.defaultPrevented ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        isTyping(event.target)
      )
        return;
      if (event.repeat && ONCE.test(event.key)) return;
      const act = actOf(event, now.acts);
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener('keydown', hear);
    return () => window.removeEventListener('keydown', hear);
  }, []);
}
