// SPDX-License-Identifier: Apache-2.0
import { Button, Radio, Textarea } from '@mantine/core';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { OpenedArrival, PatientClaim } from '@/api/types';
import { IconCheck, IconTrash } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { Panel } from '@/components/Page';
import { PatientSelect } from '@/components/PatientSelect';
import { Table } from '@/components/Table';
import { sex } from '@/lib/format';
import classes from './boxes.module.css';

const NEW = 'new';
const OTHER = 'other';

/** A file that names a person whom nobody could tell: what it says, for whom it may be, and who decides. */
export function PatientClaimPanel({ file }: { file: OpenedArrival }) {
  const { data: claim } = useSuspenseQuery({
    queryKey: ['arrivals', 'person', file.id],
    queryFn: ({ signal }) => ingest.person(file.id, signal),
    staleTime: Infinity,
  });
  const { projectId, homeProjectId } = useSession();
  const [choice, setChoice] = useState('');
  const [other, setOther] = useState<string | null>(null);
  const [note, setNote] = useState('');
  const [missing, setMissing] = useState<{ choice?: string; note?: string }>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState<'assign' | 'discard' | null>(null);
  const navigate = useNavigate();
  const client = useQueryClient();

  const act = async (which: 'assign' | 'discard') => {
    const patient = choice === OTHER ? other : choice === NEW ? null : choice;
    if (which === 'assign' && (!choice || (choice === OTHER && !other))) {
      setMissing({ choice: 'Select the patient.' });
      return;
    }
    if (which === 'discard' && !note.trim()) {
      setMissing({ note: 'Enter why the file is discarded.' });
      return;
    }
    setMissing({});
    setProblem(null);
    setBusy(which);
    try {
      if (which === 'discard') {
        await ingest.discard(file.id, note);
        notifySuccess('File deleted');
      } else {
        const answer = await ingest.assign(file.id, { patient_id: patient, new_patient: choice === NEW, note });
        notifySuccess(
          answer.outcome === 'accepted'
            ? 'Image accepted; files with the same patient data follow'
            : 'The file is quarantined for that patient',
        );
        if (answer.outcome === 'quarantined') {
          await client.invalidateQueries();
          return;
        }
      }
      await client.invalidateQueries();
      await navigate({ to: '/quarantine' });
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(null);
    }
  };

  return (
    <Panel title="Assign patient">
      <div className={classes.form}>
        <p className={classes.muted}>
          The patient data of the file is shown for your decision and not stored; the audit log records that you saw it.
          Your decision applies to all files with the same patient data, quarantined and future ones.
        </p>
        <Comparison claim={claim} />
        <Radio.Group
          label="Patient"
          value={choice}
          onChange={setChoice}
          error={choice && (choice !== OTHER || other) ? undefined : missing.choice}
        >
          <div style={{ display: 'grid', gap: 8, marginBlockStart: 8 }}>
            {claim.candidates.map((candidate) => (
              <Radio
                key={candidate.patient_id}
                value={candidate.patient_id}
                label={
                  <>
                    <code>{candidate.code}</code>, same person
                  </>
                }
              />
            ))}
            <Radio value={NEW} label="a new patient" />
            <Radio value={OTHER} label="another registered patient" />
          </div>
        </Radio.Group>
        {choice === OTHER && <PatientSelect value={other} onChange={setOther} projectId={projectId ?? homeProjectId} />}
        <Textarea
          label="Note"
          description="How you know. Stored with your name."
          autosize
          minRows={2}
          value={note}
          error={note.trim() ? undefined : missing.note}
          onChange={(event) => setNote(event.currentTarget.value)}
        />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={classes.actions} style={{ marginBlockStart: 0 }}>
          <Button
            leftSection={<IconCheck size={18} />}
            loading={busy === 'assign'}
            disabled={busy !== null}
            onClick={() => void act('assign')}
          >
            Assign patient
          </Button>
          <Button
            variant="default"
            leftSection={<IconTrash size={18} />}
            loading={busy === 'discard'}
            disabled={busy !== null}
            onClick={() => void act('discard')}
          >
            Discard
          </Button>
        </div>
      </div>
    </Panel>
  );
}

/** A day as DICOM writes it, 19700102, as 1970-01-02; whatever else stands there as it is. */
function day(written: string): string {
  return /^\d{8}$/.test(written) ? `${written.slice(0, 4)}-${written.slice(4, 6)}-${written.slice(6)}` : written;
}

function Comparison({ claim }: { claim: PatientClaim }) {
  const rows: [string, string, (candidate: PatientClaim['candidates'][number]) => string][] = [
    ['Name', claim.name.replaceAll('^', ' '), (candidate) => candidate.identity?.name ?? '–'],
    ['Number', claim.number, (candidate) => candidate.identity?.hospital_number ?? '–'],
    [
      'Born',
      day(claim.birth_date),
      (candidate) => candidate.identity?.birth_date ?? (candidate.birth_year ? `${candidate.birth_year}` : '–'),
    ],
    ['Sex', sex(claim.sex.toUpperCase()), (candidate) => sex(candidate.sex)],
    ['Modality', claim.modality, () => ''],
  ];
  return (
    <Table
      name="Patient data of the file and of known patients"
      headers={['Attribute', 'File', ...claim.candidates.map((candidate) => candidate.code)]}
      rows={rows.map(([name, claimed, known]) => [name, claimed || '–', ...claim.candidates.map(known)])}
    />
  );
}
