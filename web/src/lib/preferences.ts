// SPDX-License-Identifier: Apache-2.0
// Small choices of this person on this device (columns, density); never anything of a patient.

export function readPreference<T>(key: string, fallback: T): T {
  try {
    const text = localStorage.getItem(`medhub.${key}`);
    return text === null ? fallback : (JSON.parse(text) as T);
  } catch {
    return fallback;
  }
}

export function writePreference(key: string, value: unknown): void {
  try {
    localStorage.setItem(`medhub.${key}`, JSON.stringify(value));
  } catch {
    // Storage may be full or forbidden: the choice then lasts until the page is left.
  }
}
