// SPDX-License-Identifier: Apache-2.0
// The fields of a patient, for a new one and for changes: facts, the project's own fields, and who it is.
import { Button, NumberInput, SegmentedControl, Select, TextInput } from '@mantine/core';
import { useState, type SubmitEvent } from 'react';
import { asProblem, type Problem } from '@/api/problem';
import type { Field, FieldValue, Identity, PatientInput } from '@/api/types';
import { IconLock } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Panel } from '@/components/Page';
import { StoredNow } from '@/components/StoredNow';
import { SEX_OPTIONS } from '@/lib/format';
import { ConfirmValues } from './ConfirmValues';
import { DuplicateNotice } from './DuplicateNotice';
import { ageOn, birthYearOf, validatePatient, type PatientDraft } from './patientDraft';
import classes from './records.module.css';

const IDENTITY: { key: keyof Identity; label: string; type?: string; autoComplete?: string }[] = [
  { key: 'name', label: 'Name' },
  { key: 'hospital_number', label: 'Hospital number' },
  { key: 'birth_date', label: 'Birth date', type: 'date' },
  { key: 'email', label: 'E-mail', type: 'email' },
  { key: 'phone', label: 'Phone', type: 'tel' },
];

const nullIfEmpty = (value: FieldValue | undefined): FieldValue => (value === undefined || value === '' ? null : value);

type Props = {
  initial: PatientDraft;
  fields: Field[];
  withIdentity: boolean;
  submitLabel: string;
  save: (input: PatientInput) => Promise<void>;
  onCancel: () => void;
};

export function PatientForm({
  initial: initial,
  fields,
  withIdentity,
  submitLabel: submitLabel,
  save,
  onCancel,
}: Props) {
  const [draft, setDraft] = useState(initial);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const [confirmed, setConfirmed] = useState<string[]>([]);
  // Saves on top of the patient as it was when the form opened; after a refusal, of the one that the refusal shows.
  const [saveOpened] = useState(() => save);

  const setField = (key: string, value: FieldValue) => {
    setConfirmed((keys) => keys.filter((entry) => entry !== key));
    setDraft((old) => ({ ...old, fields: { ...old.fields, [key]: value } }));
  };

  const age = ageOn(new Date(), draft.identity.birth_date, draft.birth_year);

  const setIdentity = (key: keyof Identity, value: string) =>
    setDraft((old) => ({
      ...old,
      identity: { ...old.identity, [key]: value },
      // The birth date decides the birth year.
      birth_year: key === 'birth_date' ? (birthYearOf(value) ?? old.birth_year) : old.birth_year,
    }));

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    await send(event.currentTarget, null);
  };

  const send = async (form: HTMLFormElement | null, duplicateReason: string | null) => {
    const problems = validatePatient(draft, fields, new Date().getFullYear());
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length === 0) {
      setBusy(true);
      try {
        await (problem?.isStale ? save : saveOpened)({
          sex: draft.sex,
          birth_year: draft.birth_year,
          // What was emptied goes along: that is how a value is taken away.
          fields: Object.fromEntries(fields.map((field) => [field.key, nullIfEmpty(draft.fields[field.key])])),
          ...(withIdentity
            ? { identity: Object.fromEntries(Object.entries(draft.identity).filter(([, value]) => value)) }
            : {}),
          confirmed_fields: confirmed,
          confirm_duplicate: duplicateReason !== null,
          duplicate_reason: duplicateReason,
        });
      } catch (error) {
        const refused = asProblem(error);
        setProblem(refused);
        setErrors(
          Object.fromEntries(refused.errors.map((entry) => [entry.field.replace(/^body\./, ''), entry.message])),
        );
      } finally {
        setBusy(false);
      }
    }
    requestAnimationFrame(() => form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
  };

  return (
    <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
      <Panel title="Details">
        <div className={classes.grid}>
          <div>
            <div className={classes.label} id="sex-label">
              Sex
            </div>
            <SegmentedControl
              aria-labelledby="sex-label"
              fullWidth
              value={draft.sex}
              onChange={(value) => setDraft({ ...draft, sex: value })}
              data={[...SEX_OPTIONS]}
            />
          </div>
          <NumberInput
            label="Birth year"
            description={age !== null && age >= 0 ? `Age ${age}` : 'Four digits. Leave empty if unknown.'}
            value={draft.birth_year ?? ''}
            onChange={(value) => setDraft({ ...draft, birth_year: value === '' ? null : Number(value) })}
            error={errors.birth_year}
            allowDecimal={false}
            allowNegative={false}
            hideControls
            thousandSeparator=""
          />
          {fields.map((field) => (
            <FieldControl
              key={field.id}
              field={field}
              value={draft.fields[field.key] ?? null}
              error={errors[`fields.${field.key}`] ?? errors[field.key]}
              onChange={(value) => setField(field.key, value)}
            />
          ))}
        </div>
      </Panel>
      {withIdentity && (
        <Panel title="Identity">
          <p className={classes.hint}>
            <IconLock size={16} /> Stored encrypted, separately from the images. Only technologists, physicians and
            administrators of this project can read it. Everywhere else the patient appears as a code.
          </p>
          <div className={classes.grid}>
            {IDENTITY.map(({ key, label, type }) => (
              <TextInput
                key={key}
                label={label}
                type={type ?? 'text'}
                autoComplete="off"
                value={draft.identity[key] ?? ''}
                error={errors[`identity.${key}`]}
                onChange={(event) => {
                  setIdentity(key, event.currentTarget.value);
                }}
              />
            ))}
          </div>
        </Panel>
      )}
      {problem && problem.duplicates.length > 0 && (
        <DuplicateNotice problem={problem} busy={busy} onConfirm={(reason) => void send(null, reason)} />
      )}
      {problem && problem.duplicates.length === 0 && (
        <Notice tone="red" title={problem.title}>
          <div>{problem.detail}</div>
          {problem.implausible.length > 0 && (
            <ConfirmValues confirmed={confirmed} keys={problem.implausible} onChange={setConfirmed} />
          )}
          <StoredNow problem={problem} members={['sex', 'birth_year', 'fields', 'identity']} />
        </Notice>
      )}
      <div className={classes.buttons}>
        <Button type="submit" loading={busy}>
          {submitLabel}
        </Button>
        <Button variant="default" onClick={onCancel}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

export function FieldControl({
  field,
  value,
  error,
  onChange,
}: {
  field: Field;
  value: FieldValue;
  error?: string;
  onChange: (value: FieldValue) => void;
}) {
  const label = field.unit ? `${field.label} (${field.unit})` : field.label;
  const { low, high } = field.limits;
  const usual = [low, high].some((limit) => limit != null) ? `Usually ${low ?? ''} to ${high ?? ''}` : undefined;
  const common = { label, error, description: usual, required: field.required, withAsterisk: field.required };
  switch (field.kind) {
    case 'integer':
    case 'decimal':
      return (
        <NumberInput
          {...common}
          value={value === null ? '' : Number(value)}
          allowDecimal={field.kind === 'decimal'}
          hideControls
          onChange={(next) => onChange(next === '' ? null : Number(next))}
        />
      );
    case 'boolean':
      return (
        <Select
          {...common}
          placeholder="Not specified"
          clearable={!field.required}
          data={[
            { value: 'true', label: 'Yes' },
            { value: 'false', label: 'No' },
          ]}
          value={value === null ? null : String(value)}
          onChange={(next) => onChange(next === null ? null : next === 'true')}
        />
      );
    case 'choice':
      return (
        <Select
          {...common}
          placeholder="Not specified"
          clearable={!field.required}
          data={field.choices}
          value={value === null ? null : String(value)}
          onChange={(next) => onChange(next)}
        />
      );
    default:
      return (
        <TextInput
          {...common}
          type={field.kind === 'date' ? 'date' : 'text'}
          value={value === null ? '' : String(value)}
          onChange={(event) => onChange(event.currentTarget.value || null)}
        />
      );
  }
}
