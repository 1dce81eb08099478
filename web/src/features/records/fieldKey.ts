// SPDX-License-Identifier: Apache-2.0

/** A key for programs out of a name for people: "Leukocytes (10⁹/L)" becomes "leukocytes_10_l". */
export function fieldKey(label: string): string {
  return label
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replaceAll(/^[_0-9]+|_+$/g, '')
    .slice(0, 40);
}
