// SPDX-License-Identifier: Apache-2.0
// What was told in this sitting, so that a notice that went by can be read again. It is gone when the page is left.

export type Told = { id: number; at: string; title: string; message: string; problem: boolean };

const MOST = 30;
let told: readonly Told[] = [];
let next = 1;
const listeners = new Set<() => void>();

function change(to: readonly Told[]): void {
  told = to;
  listeners.forEach((listener) => listener());
}

export const noticeLog = {
  add(title: string, message: string, problem: boolean): void {
    change([{ id: next++, at: new Date().toISOString(), title, message, problem }, ...told].slice(0, MOST));
  },
  clear: () => change([]),
  snapshot: () => told,
  subscribe(listener: () => void): () => void {
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  },
};
