// SPDX-License-Identifier: Apache-2.0
// The keys of the reading room, as they are shown and as they are heard.

export const SHORTCUTS: readonly [keys: string, act: string][] = [
  ['Enter', 'Accept the prediction; on a verified image, next image'],
  ['1 … 9', 'Select the label with this number'],
  ['N', 'Write a note (Enter saves the verdict, Esc cancels)'],
  ['J  →', 'Next image'],
  ['K  ←', 'Previous image'],
  ['U', 'Undo the last verdict'],
  ['S', 'Sign the case'],
  ['H', 'Heat map on or off'],
  ['B  Shift B', 'Brighter, darker'],
  ['C  Shift C', 'More contrast, less contrast'],
  ['+  −', 'Zoom in, zoom out'],
  ['R', 'Reset light and view'],
  ['?', 'Show keyboard shortcuts'],
];

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

/** Enter on a control is the control's own; the frame of the image in view is no control but that image. */
export function isControl(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.closest('button:not([aria-current="true"]),a,[role="menuitem"],[role="slider"],summary') !== null;
}
