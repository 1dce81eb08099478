// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, MultiSelect, Radio, SegmentedControl, Select } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState, type SubmitEvent } from 'react';
import { exports, records } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { ExportInput } from '@/api/types';
import { Notice } from '@/components/Notice';
import { useFieldErrors } from '@/lib/fieldErrors';
import classes from './ExportDialog.module.css';

type Form = ExportInput['form'];
type Kind = ExportInput['selection'];

const FORMS: { value: Form; label: string; words: string }[] = [
  { value: 'dicom', label: 'DICOM files', words: 'The stored files, in folders with neutral names and a DICOMDIR.' },
  {
    value: 'training',
    label: 'Data set for training',
    words: 'Images with the signed labels, divided by patient into training, validation and test.',
  },
  { value: 'metadata', label: 'Metadata only', words: 'The metadata of each image as CSV and JSON.' },
];

/** Entries selected on another page. */
export type ExportSelection = { kind: Kind; ids: string[]; words: string; projectId: string };

type Props = {
  opened: boolean;
  onClose: () => void;
  /** Entries that are selected on another page; the dialog then offers no other selection. */
  selection?: ExportSelection;
  /** A study or a patient to start with. */
  studyId?: string;
  patientId?: string;
};

/** Requests an export of a project, or of a part of it. */
export function ExportDialog({ opened, onClose, selection, studyId, patientId }: Props) {
  const { projectsWith, homeProjectId } = useSession();
  const mine = projectsWith('export.create');
  const { data: pathways } = useQuery({ ...pathwaysQuery, enabled: opened });
  const client = useQueryClient();
  const navigate = useNavigate();
  const [form, setForm] = useState<Form>('dicom');
  const [picture, setPicture] = useState<'png' | 'jpeg'>('png');
  const [projectId, setProjectId] = useState(
    selection?.projectId ?? mine.find((entry) => entry.project_id === homeProjectId)?.project_id ?? mine[0]?.project_id,
  );
  const [kind, setKind] = useState<Kind>(selection?.kind ?? (studyId ? 'studies' : patientId ? 'patients' : 'project'));
  const [patients, setPatients] = useState<string[]>(patientId ? [patientId] : []);
  const [pathway, setPathway] = useState<string | null>(null);
  const [errors, setErrors] = useFieldErrors({ pathway, ids: patients });
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const way = pathway ?? (pathways?.length === 1 ? (pathways[0]?.name ?? null) : null);

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const at = event.currentTarget;
    const problems: Record<string, string> = {};
    if (kind === 'verdicts' && !way) problems.pathway = 'Select a pathway.';
    if (!selection && kind === 'patients' && patients.length === 0) problems.ids = 'Select the patients.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length === 0) {
      setBusy(true);
      try {
        const ordered = await exports.order({
          project_id: projectId,
          form,
          picture: form === 'training' ? picture : null,
          selection: kind,
          ids: selection?.ids ?? (kind === 'patients' ? patients : kind === 'studies' && studyId ? [studyId] : []),
          pathway: kind === 'verdicts' ? way : null,
        });
        await client.invalidateQueries({ queryKey: ['exports'] });
        await navigate({ to: '/exports/$exportId', params: { exportId: ordered.id } });
        return;
      } catch (error) {
        const refused = asProblem(error);
        setProblem(refused);
        setErrors(Object.fromEntries(refused.errors.map((entry) => [entry.field, entry.message])));
      } finally {
        setBusy(false);
      }
    }
    requestAnimationFrame(() => at.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
  };

  return (
    <Modal opened={opened} onClose={onClose} title="New export" size="lg">
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        {mine.length > 1 && !selection && (
          <Select
            label="Project"
            data={mine.map((entry) => ({ value: entry.project_id, label: entry.project }))}
            value={projectId ?? null}
            onChange={(value) => {
              setProjectId(value ?? projectId);
              setPatients([]);
            }}
          />
        )}
        <Radio.Group label="Format" value={form} onChange={(value) => setForm(value)}>
          <div className={classes.choices}>
            {FORMS.map((option) => (
              <Radio key={option.value} value={option.value} label={option.label} description={option.words} />
            ))}
          </div>
        </Radio.Group>
        {form === 'training' && (
          <SegmentedControl
            aria-label="Pictures"
            data={[
              { value: 'png', label: 'PNG, lossless' },
              { value: 'jpeg', label: 'JPEG, smaller' },
            ]}
            value={picture}
            onChange={(value) => setPicture(value)}
          />
        )}
        {selection ? (
          <p className={classes.note}>Selection: {selection.words}</p>
        ) : (
          <Radio.Group label="Images" value={kind} onChange={(value) => setKind(value)}>
            <div className={classes.choices}>
              {studyId && <Radio value="studies" label="This study" />}
              <Radio value="project" label="Entire project" />
              <Radio value="verdicts" label="Signed verdicts of a pathway" />
              <Radio value="patients" label="Selected patients" />
            </div>
          </Radio.Group>
        )}
        {kind === 'verdicts' && (
          <Select
            label="Pathway"
            required
            data={(pathways ?? []).map((entry) => ({ value: entry.name, label: entry.title }))}
            value={way}
            error={errors.pathway}
            onChange={setPathway}
          />
        )}
        {kind === 'patients' && !selection && (
          <PatientsSelect value={patients} onChange={setPatients} projectId={projectId} error={errors.ids} />
        )}
        <p className={classes.note}>
          Before the download, every header, text, image and file name is scanned for personal data. An administrator
          reviews each finding and either clears it or removes the image.
        </p>
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            Create export
          </Button>
        </div>
      </form>
    </Modal>
  );
}

type PatientsProps = {
  value: string[];
  onChange: (ids: string[]) => void;
  projectId: string | undefined;
  error?: string;
};

function PatientsSelect({ value, onChange, projectId, error }: PatientsProps) {
  const [text, setText] = useState('');
  const [known, setKnown] = useState<Record<string, string>>({});
  const [asked] = useDebouncedValue(text.trim(), 180);
  const { data } = useQuery({
    queryKey: ['patients', 'choice', asked, projectId],
    queryFn: async ({ signal }) => {
      const page = await records.patients(
        { query: asked, project_id: projectId, page_size: 20, sort: '-created_at' },
        signal,
      );
      setKnown((before) => ({ ...before, ...Object.fromEntries(page.items.map((row) => [row.id, row.code])) }));
      return page;
    },
    placeholderData: keepPreviousData,
  });
  const matches = data?.items.map((row) => row.id) ?? [];
  return (
    <MultiSelect
      label="Patients"
      required
      placeholder="Type a code or select recent patients"
      searchable
      hidePickedOptions
      data={[...new Set([...value, ...matches])].map((id) => ({ value: id, label: known[id] ?? 'Selected patient' }))}
      value={value}
      onChange={onChange}
      searchValue={text}
      onSearchChange={setText}
      nothingFoundMessage="No matching patient."
      error={error}
    />
  );
}
