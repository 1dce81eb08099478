// SPDX-License-Identifier: Apache-2.0
// Text that a person is typing, kept in this tab until it is sent, so that the end of a session does not lose it.

const PREFIX = 'medhub.draft.';

export function readDraft(key: string): string | null {
  try {
    return sessionStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

/** Keeps a text; null removes it. */
export function writeDraft(key: string, text: string | null): void {
  try {
    if (text === null) sessionStorage.removeItem(PREFIX + key);
    else sessionStorage.setItem(PREFIX + key, text);
  } catch {
    // Storage may be full or forbidden: the text then lasts until the page is left.
  }
}

/** Removes every draft, so that the next person at this computer does not read them. */
export function clearDrafts(): void {
  try {
    for (const key of Object.keys(sessionStorage)) {
      if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
    }
  } catch {
    // Without storage there are no drafts.
  }
}
