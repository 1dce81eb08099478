// SPDX-License-Identifier: Apache-2.0
import { Checkbox } from '@mantine/core';

type Props = { confirmed: string[]; keys: string[]; onChange: (keys: string[]) => void };

/** A person's statement that unlikely values of fields are right; the form is saved again with it. */
export function ConfirmValues({ confirmed, keys, onChange }: Props) {
  return (
    <Checkbox
      mt="sm"
      label="I have checked these values. They are correct."
      checked={keys.every((key) => confirmed.includes(key))}
      onChange={(event) => {
        onChange(event.currentTarget.checked ? [...new Set([...confirmed, ...keys])] : []);
      }}
    />
  );
}
