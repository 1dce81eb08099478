// SPDX-License-Identifier: Apache-2.0
import { Select } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { records } from '@/api/calls';
import { age, sex } from '@/lib/format';

type Props = {
  value: string | null;
  /** The code of the chosen patient, if it is known already. */
  code?: string;
  projectId?: string;
  onChange: (id: string | null) => void;
  error?: string;
};

export function PatientSelect({ value, code, projectId, onChange, error }: Props) {
  const [text, setText] = useState('');
  const [asked] = useDebouncedValue(text === code ? '' : text.trim(), 180);
  const { data } = useQuery({
    queryKey: ['patients', 'choice', asked, projectId],
    queryFn: ({ signal }) =>
      records.patients({ query: asked, project_id: projectId, page_size: 20, sort: '-created_at' }, signal),
    placeholderData: keepPreviousData,
  });
  const patients = data?.items ?? [];
  const options = patients.map((row) => ({
    value: row.id,
    label: row.code,
    words: `${sex(row.sex)}, ${age(row.age)}`,
  }));
  if (value && code && !options.some((option) => option.value === value))
    options.unshift({ value, label: code, words: '' });
  return (
    <Select
      label="Patient"
      placeholder="Type a code or select a recent patient"
      searchable
      data={options}
      value={value}
      onChange={onChange}
      searchValue={text}
      onSearchChange={setText}
      filter={({ options: all }) => all}
      nothingFoundMessage="No matching patient."
      error={error}
      style={{ flex: '1 1 260px', maxInlineSize: 420 }}
      renderOption={({ option }) => (
        <span style={{ display: 'flex', justifyContent: 'space-between', gap: 12, inlineSize: '100%' }}>
          <code>{option.label}</code>
          <span style={{ color: 'var(--mh-muted)' }}>{(option as { words?: string }).words}</span>
        </span>
      )}
    />
  );
}
