// SPDX-License-Identifier: Apache-2.0
import type { FieldLimits } from '@/api/types';

export const LIMITS: { name: keyof FieldLimits; label: string }[] = [
  { name: 'minimum', label: 'Smallest value' },
  { name: 'low', label: 'Usual from' },
  { name: 'high', label: 'Usual to' },
  { name: 'maximum', label: 'Largest value' },
];

/** The limits of a field in words, for a list. */
export function limitText(limits: FieldLimits): string {
  return LIMITS.filter(({ name }) => limits[name] != null)
    .map(({ name, label }) => `, ${label.toLowerCase()} ${limits[name]}`)
    .join('');
}
