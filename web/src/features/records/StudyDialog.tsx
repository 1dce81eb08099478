// SPDX-License-Identifier: Apache-2.0
// What a study is called, and the project's own fields of it; for a new one and for changes.
import { Button, Modal, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { asProblem, type Problem } from '@/api/problem';
import type { Field, FieldValue } from '@/api/types';
import { Notice } from '@/components/Notice';
import { StoredNow } from '@/components/StoredNow';
import { useFieldErrors } from '@/lib/fieldErrors';
import { ConfirmValues } from './ConfirmValues';
import { FieldControl } from './PatientForm';
import classes from './records.module.css';

export type StudyDraft = { description: string; fields: Record<string, FieldValue>; confirmed_fields?: string[] };

type Props = {
  title: string;
  submitLabel: string;
  initial: StudyDraft;
  fields: Field[];
  save: (draft: StudyDraft) => Promise<void>;
  onClose: () => void;
};

export function StudyDialog({ title, submitLabel: submitLabel, initial: initial, fields, save, onClose }: Props) {
  const client = useQueryClient();
  const [description, setDescription] = useState(initial.description);
  const [values, setValues] = useState<Record<string, FieldValue>>(initial.fields);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [errors, setErrors] = useFieldErrors({ ...values, description, fields: values });
  const [busy, setBusy] = useState(false);
  const [confirmed, setConfirmed] = useState<string[]>([]);
  // Saves on top of the study as it was when the dialog opened; after a refusal, of the one that the refusal shows.
  const [saveOpened] = useState(() => save);

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    setBusy(true);
    setProblem(null);
    try {
      // What was emptied goes along: that is how a value is taken away.
      const given = fields.map((field): [string, FieldValue] => [field.key, values[field.key] ?? null]);
      await (problem?.isStale ? save : saveOpened)({
        description: description.trim(),
        fields: Object.fromEntries(given),
        confirmed_fields: confirmed,
      });
      await client.invalidateQueries({ queryKey: ['studies'] });
      onClose();
    } catch (error) {
      const refused = asProblem(error);
      setProblem(refused);
      setErrors(Object.fromEntries(refused.errors.map((entry) => [entry.field.replace(/^body\./, ''), entry.message])));
      if (asProblem(error).isStale) void client.invalidateQueries({ queryKey: ['studies'] });
      requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal opened onClose={onClose} title={title}>
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        <TextInput
          label="Description"
          description="The examination, without personal data."
          value={description}
          error={errors.description}
          onChange={(event) => setDescription(event.currentTarget.value)}
          data-autofocus
        />
        {fields.map((field) => (
          <FieldControl
            key={field.id}
            field={field}
            value={values[field.key] ?? null}
            error={errors[`fields.${field.key}`] ?? errors[field.key]}
            onChange={(value) => {
              setConfirmed([]);
              setValues({ ...values, [field.key]: value });
            }}
          />
        ))}
        {fields.length === 0 && (
          <p className={classes.note}>
            This project has no fields for studies. They are defined under Settings, Fields.
          </p>
        )}
        {problem && (
          <Notice tone="red" title={problem.title}>
            <div>{problem.detail}</div>
            {problem.implausible.length > 0 && (
              <ConfirmValues confirmed={confirmed} keys={problem.implausible} onChange={setConfirmed} />
            )}
            <StoredNow problem={problem} members={['description', 'fields']} />
          </Notice>
        )}
        <div className={`${classes.buttons} ${classes.end}`}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            {submitLabel}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
