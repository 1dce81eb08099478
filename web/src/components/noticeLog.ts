// SPDX-License-Identifier: Apache-2.0
// What was told in this sitting, so that a notice that went by can be read again. It is gone when the page is left.

export type LoggedNotice = { id: number; at: string; title: string; message: string; problem: boolean };

const MAX_NOTICES = 30;
let notices: readonly LoggedNotice[] = [];
let next = 1;
const listeners = new Set<() => void>();

function change(to: readonly LoggedNotice[]): void {
  notices = to;
  listeners.forEach((listener) => listener());
}

export const noticeLog = {
  add: (title: string, message: string, problem: boolean): void =>
    change([{ id: next++, at: new Date().toISOString(), title, message, problem }, ...notices].slice(0, MAX_NOTICES)),
  clear: () => change([]),
  snapshot: () => notices,
  subscribe: (listener: () => void) => {
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  },
};
