// SPDX-License-Identifier: Apache-2.0
import { Combobox, TextInput, useCombobox } from '@mantine/core';
import { useDebouncedValue, useHotkeys } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useRef, useState } from 'react';
import { accounts, records, review, viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import { IconSearch } from '@/components/icons';
import { age, capital, sex, words } from '@/lib/format';
import classes from './TopBar.module.css';

type SearchResult = { group: string; to: string; title: string; side: string };

export function SearchBox() {
  const { projectId, can, labelName } = useSession();
  const navigate = useNavigate();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState('');
  const [searchText] = useDebouncedValue(text.trim(), 180);
  const box = useCombobox({ onDropdownClose: () => box.resetSelectedOption() });

  useHotkeys([['/', () => input.current?.select()]]);

  const { data: results, isFetching } = useQuery({
    queryKey: ['search', searchText, projectId],
    enabled: searchText.length > 0,
    queryFn: async ({ signal }): Promise<SearchResult[]> => {
      const query = { query: searchText, page_size: 5, project_id: projectId };
      const [patients, cases, images, people] = await Promise.all([
        records.patients(query, signal),
        review.cases(query, signal),
        viewing.images(query, signal),
        can('user.read') ? accounts.users({ query: searchText, page_size: 5 }, signal) : null,
      ]);
      return [
        ...patients.items.map((row) => ({
          group: 'Patients',
          to: `/patients/${row.id}`,
          title: row.code,
          side: `${sex(row.sex)}, ${age(row.age)}`,
        })),
        ...cases.items.map((row) => ({
          group: 'Cases',
          to: `/cases/${row.id}`,
          title: `${row.patient_code}, ${words(row.pathway)}`,
          side: row.stage_title,
        })),
        ...images.items.map((row) => ({
          group: 'Images',
          to: `/images/${row.id}`,
          title: `${row.patient_code}, image ${row.number}`,
          side: labelName(row.verdict?.label ?? row.prediction?.label ?? row.state),
        })),
        ...(people?.items ?? []).map((row) => ({
          group: 'People',
          to: `/people/${row.id}`,
          title: row.name,
          side: row.email,
        })),
      ];
    },
  });

  const go = (to: string) => {
    setText('');
    box.closeDropdown();
    input.current?.blur();
    void navigate({ to });
  };

  const groups = Map.groupBy(results ?? [], (entry) => entry.group);

  return (
    <div className={classes.search} role="search">
      <Combobox store={box} onOptionSubmit={go} transitionProps={{ duration: 100 }}>
        <Combobox.Target>
          <TextInput
            ref={input}
            size="sm"
            aria-label="Search patients, cases and images"
            placeholder="Search"
            leftSection={<IconSearch size={18} />}
            rightSection={<span className={classes.key}>/</span>}
            value={text}
            onChange={(event) => {
              setText(event.currentTarget.value);
              box.openDropdown();
              box.resetSelectedOption();
            }}
            onFocus={() => text && box.openDropdown()}
            onBlur={() => box.closeDropdown()}
            onKeyDown={(event) => {
              if (event.key === 'Escape') input.current?.blur();
              if (event.key === 'Enter' && box.getSelectedOptionIndex() < 0 && text.trim()) {
                event.preventDefault();
                const only = results?.length === 1 ? results[0] : undefined;
                if (only) go(only.to);
                else {
                  box.closeDropdown();
                  void navigate({ to: '/patients', search: { query: text.trim() } });
                }
              }
            }}
          />
        </Combobox.Target>
        <Combobox.Dropdown hidden={text.trim() === ''}>
          <Combobox.Options mah={420} style={{ overflowY: 'auto' }} aria-label="Search results">
            {[...groups].map(([group, entries]) => (
              <Combobox.Group key={group} label={group}>
                {entries.map((entry) => (
                  <Combobox.Option key={entry.to} value={entry.to}>
                    <span className={classes.option}>
                      <span className="mh-code">{entry.title}</span>
                      <span className={classes.side}>{capital(entry.side)}</span>
                    </span>
                  </Combobox.Option>
                ))}
              </Combobox.Group>
            ))}
            {results && results.length === 0 && !isFetching && (
              <Combobox.Empty>No results. Try a patient code.</Combobox.Empty>
            )}
            {!results && <Combobox.Empty>Searching</Combobox.Empty>}
          </Combobox.Options>
        </Combobox.Dropdown>
      </Combobox>
    </div>
  );
}
