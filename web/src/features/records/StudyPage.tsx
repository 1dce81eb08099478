// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, Skeleton, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { records, review, viewing } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { fieldsQuery, patientQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Field, FieldValue, Study } from '@/api/types';
import { CaseList } from '@/components/CaseList';
import { Code } from '@/components/Code';
import { Facts } from '@/components/Facts';
import { Go } from '@/components/Go';
import { IconExport, IconPencil } from '@/components/icons';
import { ImageGrid } from '@/components/ImageTile';
import { Notice } from '@/components/Notice';
import { tellSuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, count, words } from '@/lib/format';
import { fieldText } from './fieldText';
import { FieldInput } from './PatientForm';
import classes from './records.module.css';

const SHOWN_IMAGES = 60;

export function StudyPage() {
  const { studyId } = useParams({ strict: false }) as { studyId: string };
  const { data: study } = useSuspenseQuery({
    queryKey: ['studies', 'one', studyId],
    queryFn: ({ signal }) => records.study(studyId, signal),
  });
  const { can } = useSession();
  const { data: patient } = useQuery(patientQuery(study.patient_id));
  const { data: fields = [] } = useQuery(fieldsQuery(study.project_id, 'study'));
  const { data: images } = useQuery({
    queryKey: ['images', 'of-study', study.id],
    queryFn: ({ signal }) =>
      viewing.images({ study_id: study.id, sort: 'created_at', page_size: SHOWN_IMAGES }, signal),
  });
  const { data: cases } = useQuery({
    queryKey: ['cases', 'of-patient', study.patient_id],
    queryFn: ({ signal }) => review.cases({ patient_id: study.patient_id, sort: '-opened_at', page_size: 50 }, signal),
  });
  const [editing, edit] = useDisclosure(false);
  const title = study.description || 'Study';
  const own = cases?.items.filter((row) => row.study_id === study.id) ?? [];

  return (
    <Page
      title={title}
      lead={patient ? `Of patient ${patient.code}` : undefined}
      trail={[
        { to: '/patients', title: 'Patients' },
        { to: `/patients/${study.patient_id}`, title: patient?.code ?? 'Patient' },
      ]}
      actions={
        <>
          {can('export') && (
            <Button
              component={Go}
              to={`/exports?order=study&study_id=${study.id}`}
              variant="default"
              leftSection={<IconExport size={18} />}
            >
              Export
            </Button>
          )}
          {can('write-records') && (
            <Button variant="default" leftSection={<IconPencil size={18} />} onClick={edit.open}>
              Edit
            </Button>
          )}
        </>
      }
    >
      <Columns
        left={
          <Panel
            title="Images"
            side={
              images && images.total > SHOWN_IMAGES ? (
                <Go to={`/images?study_id=${study.id}`}>All {count(images.total)} images</Go>
              ) : undefined
            }
          >
            {images ? <ImageGrid images={images.items} showPatient={false} /> : <Skeleton height={180} />}
          </Panel>
        }
        right={
          <>
            <Panel title="Facts">
              <Facts
                facts={[
                  [
                    'Patient',
                    <Link key="patient" to="/patients/$patientId" params={{ patientId: study.patient_id }}>
                      <code>{patient?.code ?? 'Open'}</code>
                    </Link>,
                  ],
                  ['Modality', study.modality],
                  ['Pathway', study.pathway ? capital(words(study.pathway)) : null],
                  ...fields.map((field): [string, string] => [
                    field.label,
                    `${fieldText(field, study.fields[field.key])}${field.unit && study.fields[field.key] != null ? ` ${field.unit}` : ''}`,
                  ]),
                  ['Images', count(study.images)],
                  ['Registered', <TimeAgo key="at" at={study.created_at} />],
                  ['Study UID', <Code key="uid" value={study.study_uid} what="the study UID" shown={22} />],
                ]}
              />
            </Panel>
            {own.length > 0 && (
              <Panel title="Cases">
                <CaseList cases={own} />
              </Panel>
            )}
          </>
        }
      />
      {editing && <StudyDialog study={study} fields={fields} onClose={edit.close} />}
    </Page>
  );
}

function StudyDialog({ study, fields, onClose }: { study: Study; fields: Field[]; onClose: () => void }) {
  const client = useQueryClient();
  const [description, setDescription] = useState(study.description);
  const [values, setValues] = useState<Record<string, FieldValue>>(study.fields);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      const filled = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== ''));
      await records.changeStudy(study.id, { description: description.trim(), fields: filled });
      await client.invalidateQueries({ queryKey: ['studies'] });
      tellSuccess('The study is changed');
      onClose();
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };

  const errorOf = (name: string) =>
    problem?.errors.find((entry) => entry.field.replace(/^body\./, '') === name)?.message;
  return (
    <Modal opened onClose={onClose} title="Edit study">
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        <TextInput
          label="Description"
          value={description}
          error={errorOf('description')}
          onChange={(event) => setDescription(event.currentTarget.value)}
          data-autofocus
        />
        {fields.map((field) => (
          <FieldInput
            key={field.id}
            field={field}
            value={values[field.key] ?? null}
            error={errorOf(`fields.${field.key}`) ?? errorOf(field.key)}
            onChange={(value) => setValues({ ...values, [field.key]: value })}
          />
        ))}
        {fields.length === 0 && (
          <p className={classes.note}>
            This project has no fields for studies. They are defined under Settings, Fields.
          </p>
        )}
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={classes.buttons}>
          <Button type="submit" loading={busy}>
            Save changes
          </Button>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
        </div>
      </form>
    </Modal>
  );
}
