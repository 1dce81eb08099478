// SPDX-License-Identifier: Apache-2.0
// A dialog of one or two fields: to rename something, or to make a series.
import { Button, Modal, NumberInput, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent, type ReactNode } from 'react';
import { records, viewing } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { nameOf, type Entry } from './entries';
import classes from './explorer.module.css';

type Props = { title: string; verb: string; save: () => Promise<unknown>; onClose: () => void; children: ReactNode };

function FormDialog({ title, verb, save, onClose, children }: Props) {
  const client = useQueryClient();
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await save();
      await client.invalidateQueries();
      onClose();
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened onClose={onClose} title={title}>
      <form onSubmit={(event) => void submit(event)} className={classes.form} noValidate>
        {children}
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.errors[0]?.message ?? problem.detail}
          </Notice>
        )}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            {verb}
          </Button>
        </div>
      </form>
    </Modal>
  );
}

/** A study or a series is described anew; an image gets another number. */
export function RenameDialog({ entry, onClose }: { entry: Entry; onClose: () => void }) {
  const [text, setText] = useState(entry.kind === 'studies' || entry.kind === 'series' ? entry.row.description : '');
  const [number, setNumber] = useState<number>(entry.kind === 'images' ? entry.row.number : 1);
  const save = async () => {
    if (entry.kind === 'studies') await records.changeStudy(entry.id, { description: text.trim() });
    if (entry.kind === 'series') await records.changeSeries(entry.id, text.trim());
    if (entry.kind === 'images') await viewing.numberImage(entry.id, number);
    notifySuccess(entry.kind === 'images' ? 'Number changed' : 'Description changed');
  };
  return (
    <FormDialog title={`Rename ${nameOf(entry)}`} verb="Save" save={save} onClose={onClose}>
      {entry.kind === 'images' ? (
        <NumberInput
          label="Number"
          description="Position in the study."
          min={1}
          max={1_000_000}
          allowDecimal={false}
          value={number}
          onChange={(value) => setNumber(Number(value) || 1)}
          data-autofocus
        />
      ) : (
        <TextInput
          label="Description"
          description="The examination, without personal data."
          value={text}
          maxLength={2000}
          onChange={(event) => setText(event.currentTarget.value)}
          data-autofocus
        />
      )}
    </FormDialog>
  );
}

export function NewSeriesDialog({ studyId, onClose }: { studyId: string; onClose: () => void }) {
  const [modality, setModality] = useState('GM');
  const [description, setDescription] = useState('');
  const save = async () => {
    await records.addSeries({ study_id: studyId, modality: modality.trim().toUpperCase(), description });
    notifySuccess('Series created');
  };
  return (
    <FormDialog title="New series" verb="Create series" save={save} onClose={onClose}>
      <TextInput
        label="Description"
        value={description}
        maxLength={2000}
        onChange={(event) => setDescription(event.currentTarget.value)}
        data-autofocus
      />
      <TextInput
        label="Modality"
        description="DICOM modality: GM for a microscope, XC for a photograph, DX, CT, MR and so on."
        value={modality}
        maxLength={16}
        required
        onChange={(event) => setModality(event.currentTarget.value)}
      />
    </FormDialog>
  );
}
