// SPDX-License-Identifier: Apache-2.0
import { capital, words } from './format';

function valueText(value: unknown): string {
  if (value === null || value === undefined || value === '') return '';
  if (Array.isArray(value)) return value.map(valueText).filter(Boolean).join(', ');
  if (typeof value === 'object') return eventText(value as Record<string, unknown>);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** The facts of an event as one line for people: {label: "ig", note: null} becomes "Label: ig". */
export function eventText(detail: Record<string, unknown>, without: readonly string[] = []): string {
  return Object.entries(detail)
    .filter(([name]) => !without.includes(name))
    .map(([name, value]) => [name, valueText(value)] as const)
    .filter(([, text]) => text !== '')
    .map(([name, text]) => `${capital(words(name))}: ${text}`)
    .join('. ');
}
