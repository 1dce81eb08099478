// SPDX-License-Identifier: Apache-2.0
// The registered patients who may be the same person; a second record needs a reason.
import { Button, Group, Textarea } from '@mantine/core';
import { useState } from 'react';
import type { Problem } from '@/api/problem';
import { AppLink } from '@/components/AppLink';
import { Notice } from '@/components/Notice';

const REASONS: Record<string, string> = {
  hospital_number: 'same hospital number',
  name_and_birth_date: 'same name and birth date',
};

type Props = { problem: Problem; busy: boolean; onConfirm: (reason: string) => void };

export function DuplicateNotice({ problem, busy, onConfirm }: Props) {
  const [reason, setReason] = useState('');
  return (
    <Notice tone="red" title={problem.title}>
      <p>{problem.detail}</p>
      <ul>
        {problem.duplicates.map((duplicate) => (
          <li key={duplicate.id}>
            <AppLink to={`/patients/${duplicate.id}`} target="_blank" rel="noreferrer">
              Open {duplicate.code}
            </AppLink>{' '}
            ({duplicate.reasons.map((entry) => REASONS[entry] ?? entry).join(', ')})
          </li>
        ))}
      </ul>
      <Textarea
        label="Why is a second record needed?"
        description="For example: a twin, or the number was given twice. The reason is stored encrypted."
        value={reason}
        maxLength={500}
        autosize
        minRows={2}
        onChange={(event) => {
          setReason(event.currentTarget.value);
        }}
      />
      <Group mt="sm">
        <Button
          variant="default"
          loading={busy}
          disabled={reason.trim() === ''}
          onClick={() => {
            onConfirm(reason);
          }}
        >
          Save as another person
        </Button>
      </Group>
    </Notice>
  );
}
