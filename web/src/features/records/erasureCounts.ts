// SPDX-License-Identifier: Apache-2.0
import type { Detail } from '@/components/DetailList';
import { capital, count } from '@/lib/format';

const COUNT_LABELS: Record<string, string> = {
  keys: 'Vault key',
  identities: 'Identity in the vault',
  studies: 'Studies',
  images: 'Images',
  files: 'Files, including renditions',
  arrivals: 'Arrival entries',
  quarantined_files: 'Files in quarantine',
  receipts: 'File receipts',
  manifests: 'De-identification manifests',
  predictions: 'Predictions',
  evidence_maps: 'Heat maps',
  shadow_predictions: 'Shadow predictions',
  cases: 'Cases',
  verdicts: 'Verdicts',
  reports: 'Reports',
  exports: 'Exports',
};

/** The numbers in what an erasure destroys, with their names. */
export function countDetails(contents: Record<string, unknown>): (Detail | false)[] {
  return Object.entries(contents).map(
    ([name, value]) =>
      typeof value === 'number' &&
      value > 0 && [COUNT_LABELS[name] ?? capital(name.replaceAll('_', ' ')), count(value)],
  );
}
