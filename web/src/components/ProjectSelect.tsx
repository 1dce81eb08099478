// SPDX-License-Identifier: Apache-2.0
import { Select } from '@mantine/core';
import { useSession } from '@/api/session';

/** Of which project a page of settings speaks; nothing where a person is in one alone. */
export function ProjectSelect({
  value,
  onChange,
}: {
  value: string | undefined;
  onChange: (id: string | undefined) => void;
}) {
  const { memberships } = useSession();
  if (memberships.length < 2) return null;
  return (
    <Select
      label="Project"
      maw={320}
      data={memberships.map((entry) => ({ value: entry.project_id, label: entry.project }))}
      value={value ?? null}
      onChange={(id) => onChange(id ?? undefined)}
    />
  );
}
