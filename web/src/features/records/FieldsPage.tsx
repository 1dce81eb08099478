// SPDX-License-Identifier: Apache-2.0
import { Button, Checkbox, Modal, Select, Skeleton, TagsInput, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { records } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { fieldsQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Field, FieldKind, FieldLimits } from '@/api/types';
import { EmptyState } from '@/components/EmptyState';
import { IconFields, IconPencil, IconPlus, IconTrash } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { ProjectSelect } from '@/components/ProjectSelect';
import { Page, Panel } from '@/components/Page';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import { useFieldErrors } from '@/lib/fieldErrors';
import { fieldKey } from './fieldKey';
import { LimitInputs } from './LimitInputs';
import { limitText } from './limits';
import classes from './records.module.css';

const KINDS: Record<FieldKind, string> = {
  text: 'Text',
  integer: 'Whole number',
  decimal: 'Number',
  date: 'Date',
  boolean: 'Yes or no',
  choice: 'Selection',
};

type Editing = { subject: 'patient' | 'study'; field: Field | null; position: number };

export function FieldsPage() {
  const { homeProjectId } = useSession();
  const [projectId, setProjectId] = useState(homeProjectId);
  const [editing, setEditing] = useState<Editing | null>(null);
  const [deleting, setDeleting] = useState<Field | null>(null);
  const client = useQueryClient();
  const changed = () => client.invalidateQueries({ queryKey: ['fields'] });

  return (
    <Page
      title="Fields"
      trail={[{ to: '/settings', title: 'Settings' }]}
      lead="Additional data of patients and studies. Values are validated, searchable and sortable."
    >
      <ProjectSelect value={projectId} onChange={setProjectId} />
      {(['patient', 'study'] as const).map((subject) => (
        <FieldPanel
          key={subject}
          subject={subject}
          projectId={projectId}
          onAdd={(position) => setEditing({ subject, field: null, position })}
          onEdit={(field) => setEditing({ subject, field, position: field.position })}
          onDelete={setDeleting}
        />
      ))}
      {editing && projectId && (
        <FieldDialog
          key={editing.field?.id ?? `new-${editing.subject}`}
          subject={editing.subject}
          field={editing.field}
          position={editing.position}
          projectId={projectId}
          onClose={() => setEditing(null)}
          onSaved={changed}
        />
      )}
      {deleting && (
        <ConfirmDialog
          opened
          onClose={() => setDeleting(null)}
          title={`Delete the field ${deleting.label}`}
          code={deleting.key}
          codeName="key"
          confirmLabel="Delete field"
          consequence={`The field is removed from all forms and lists of the project, and its values are no longer displayed.`}
          onConfirm={async () => {
            await records.deleteField(deleting.id);
            await changed();
            notifySuccess(`The field ${deleting.label} is deleted`);
          }}
        />
      )}
    </Page>
  );
}

type PanelProps = {
  subject: 'patient' | 'study';
  projectId: string | undefined;
  onAdd: (position: number) => void;
  onEdit: (field: Field) => void;
  onDelete: (field: Field) => void;
};

function FieldPanel({ subject, projectId, onAdd, onEdit, onDelete }: PanelProps) {
  const { data: fields, error } = useQuery(fieldsQuery(projectId, subject));
  const problem = error ? asProblem(error) : null;
  const name = subject === 'patient' ? 'Patient fields' : 'Study fields';
  return (
    <Panel
      title={name}
      side={
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconPlus size={16} />}
          onClick={() => onAdd(Math.max(0, ...(fields ?? []).map((field) => field.position + 1)))}
        >
          Add {subject} field
        </Button>
      }
    >
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {!fields && !problem && <Skeleton height={60} />}
      {fields?.length === 0 && (
        <EmptyState
          icon={<IconFields size={28} />}
          title="No fields yet"
          text="For example: leukocytes in 10⁹/L, ward, pregnant."
        />
      )}
      {fields && fields.length > 0 && (
        <ul className={classes.fields}>
          {fields.map((field) => (
            <li key={field.id}>
              <span>
                <strong>{field.label}</strong> <code>{field.key}</code>
              </span>
              <span className={classes.note}>
                {KINDS[field.kind]}
                {field.unit && `, ${field.unit}`}
                {field.required && ', required'}
                {limitText(field.limits)}
                {field.choices.length > 0 && `: ${field.choices.join(', ')}`}
              </span>
              <span className={classes.buttons}>
                <Button
                  size="compact-sm"
                  variant="default"
                  leftSection={<IconPencil size={14} />}
                  onClick={() => onEdit(field)}
                  aria-label={`Change ${field.label}`}
                >
                  Change
                </Button>
                <Button
                  size="compact-sm"
                  variant="default"
                  leftSection={<IconTrash size={14} />}
                  onClick={() => onDelete(field)}
                  aria-label={`Delete ${field.label}`}
                >
                  Delete
                </Button>
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

type DialogProps = {
  subject: 'patient' | 'study';
  field: Field | null;
  /** Where a new field stands: behind those already there. */
  position: number;
  projectId: string;
  onClose: () => void;
  onSaved: () => Promise<unknown>;
};

function FieldDialog({ subject, field, position, projectId, onClose, onSaved }: DialogProps) {
  const [opened, { close }] = useDisclosure(true);
  const [label, setLabel] = useState(field?.label ?? '');
  const [key, setKey] = useState(field?.key ?? '');
  const [kind, setKind] = useState<FieldKind>(field?.kind ?? 'text');
  const [unit, setUnit] = useState(field?.unit ?? '');
  const [required, setRequired] = useState(field?.required ?? false);
  const [limits, setLimits] = useState<FieldLimits>(field?.limits ?? {});
  const [choices, setChoices] = useState<string[]>(field?.choices ?? []);
  const [errors, setErrors] = useFieldErrors({ label, key, kind, unit, choices });
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const shownKey = key || fieldKey(label);

  const leave = () => {
    close();
    onClose();
  };

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const problems: Record<string, string> = {};
    if (!label.trim()) problems.label = 'Enter a name.';
    if (!shownKey && label.trim()) problems.key = 'Enter a key of letters, digits and underscores.';
    if (kind === 'choice' && choices.length === 0)
      problems.choices = 'List at least one choice; press Enter after each.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length > 0) return;
    setBusy(true);
    const numeric = kind === 'integer' || kind === 'decimal';
    const facts = {
      label: label.trim(),
      required,
      unit: numeric && unit.trim() ? unit.trim() : null,
      choices: kind === 'choice' ? choices : [],
      limits: numeric || kind === 'date' ? limits : {},
    };
    try {
      if (field) await records.changeField(field.id, facts, field.etag);
      else await records.addField({ ...facts, project_id: projectId, subject, key: shownKey, kind, position });
      await onSaved();
      notifySuccess(`The field ${label.trim()} is saved`);
      leave();
    } catch (error) {
      const refused = asProblem(error);
      setProblem(refused);
      setErrors(Object.fromEntries(refused.errors.map((entry) => [entry.field, entry.message])));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal opened={opened} onClose={leave} title={field ? `Change ${field.label}` : `New ${subject} field`}>
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        <TextInput
          label="Name"
          required
          value={label}
          error={errors.label}
          onChange={(event) => setLabel(event.currentTarget.value)}
          data-autofocus
          autoComplete="off"
        />
        <TextInput
          label="Key"
          description="Identifier for programs. It cannot be changed later."
          value={shownKey}
          disabled={field !== null}
          error={errors.key}
          onChange={(event) => setKey(event.currentTarget.value)}
          autoComplete="off"
        />
        <Select
          label="Kind"
          disabled={field !== null}
          data={Object.entries(KINDS).map(([value, text]) => ({ value, label: text }))}
          value={kind}
          onChange={(value) => setKind((value as FieldKind | null) ?? kind)}
        />
        {(kind === 'integer' || kind === 'decimal') && (
          <TextInput
            label="Unit"
            description="For example 10⁹/L or g/dL. Leave empty if there is none."
            value={unit}
            error={errors.unit}
            onChange={(event) => setUnit(event.currentTarget.value)}
            autoComplete="off"
          />
        )}
        {(kind === 'integer' || kind === 'decimal' || kind === 'date') && (
          <LimitInputs kind={kind} limits={limits} error={errors.limits} onChange={setLimits} />
        )}
        {kind === 'choice' && (
          <TagsInput
            label="Choices"
            description="Press Enter after each."
            value={choices}
            error={errors.choices}
            onChange={setChoices}
          />
        )}
        <Checkbox label="Required" checked={required} onChange={(event) => setRequired(event.currentTarget.checked)} />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={`${classes.buttons} ${classes.end}`}>
          <Button variant="default" onClick={leave}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            Save field
          </Button>
        </div>
      </form>
    </Modal>
  );
}
