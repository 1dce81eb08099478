// SPDX-License-Identifier: Apache-2.0
// The keys of the reading room, heard wherever the focus is, but never while someone types.
import { useEffect, useEffectEvent } from 'react';
import { isControl, isTyping } from './shortcuts';

/** `at` is when the key went down, on the clock of the performance timeline. */
export type ShortcutActions = {
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

function actionOf(event: KeyboardEvent, actions: ShortcutActions): (() => void) | null {
  const at = event.timeStamp;
  const onSlider = event.target instanceof HTMLElement && event.target.getAttribute('role') === 'slider';
  if (/^[1-9]$/.test(event.key)) return () => actions.label(Number(event.key), at);
  switch (event.key) {
    case 'Enter':
      return isControl(event.target) ? null : () => actions.accept(at);
    case 'ArrowRight':
    case 'ArrowDown':
      return onSlider ? null : () => actions.next(at);
    case 'ArrowLeft':
    case 'ArrowUp':
      return onSlider ? null : () => actions.previous(at);
    case 'b':
      return () => actions.brighter(STEP);
    case 'B':
      return () => actions.brighter(-STEP);
    case 'c':
      return () => actions.contrast(STEP);
    case 'C':
      return () => actions.contrast(-STEP);
    case '+':
    case '=':
      return () => actions.zoom(1.25);
    case '-':
      return () => actions.zoom(0.8);
    case '?':
      return actions.keys;
  }
  switch (event.key.toLowerCase()) {
    case 'j':
      return () => actions.next(at);
    case 'k':
      return () => actions.previous(at);
    case 'n':
      return actions.note;
    case 'h':
      return actions.evidence;
    case 'u':
      return actions.undo;
    case 's':
      return actions.sign;
    case 'r':
      return actions.reset;
    default:
      return null;
  }
}

export function useShortcuts(listening: boolean, actions: ShortcutActions): void {
  const onKeyDown = useEffectEvent((event: KeyboardEvent) => {
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (!listening || event.defaultPrevented || modified || isTyping(event.target)) return;
    if (event.repeat && ONCE.test(event.key)) return;
    const action = actionOf(event, actions);
    if (!action) return;
    event.preventDefault();
    action();
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKeyDown(event);
    window.addEventListener('keydown', listener);
    return () => window.removeEventListener('keydown', listener);
  }, []);
}
