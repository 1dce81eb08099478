// SPDX-License-Identifier: Apache-2.0
import { Button, Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { pathwaysQuery, patientQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { Go } from '@/components/Go';
import { IconPlus } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Page, Panel } from '@/components/Page';
import { PatientSelect } from '@/components/PatientSelect';
import { plural } from '@/lib/format';
import { DropZone } from './DropZone';
import classes from './ingest.module.css';
import { UploadList } from './UploadList';
import { isDone, uploadQueue } from './uploadQueue';

export function UploadPage() {
  const { patient_id: patientId } = useSearch({ strict: false });
  const { can, memberships, projectId } = useSession();
  const navigate = useNavigate();
  const uploads = useSyncExternalStore(uploadQueue.subscribe, uploadQueue.snapshot);
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const [chosenPathway, setPathway] = useState<string | null>(null);
  const pathway = chosenPathway ?? pathways[0]?.name ?? 'smear-review';
  const { data: patient, error } = useQuery({ ...patientQuery(patientId ?? ''), enabled: Boolean(patientId) });
  const busy = uploads.some((upload) => !isDone(upload.state));

  useEffect(() => {
    if (!busy) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [busy]);

  const choose = (id: string | null) =>
    void navigate({ to: '/upload', search: id ? { patient_id: id } : {}, replace: true });

  if (!can('upload')) {
    return (
      <Page title="Upload">
        <Notice title="Your role does not upload">
          The pathway of this project names who uploads; technologists do.
        </Notice>
      </Page>
    );
  }

  return (
    <Page
      title="Upload"
      lead="Choose the patient, then drop as many photographs as you have. Each is answered for by itself."
    >
      <Panel title="1. Patient">
        <div className={classes.patient}>
          <PatientSelect
            value={patientId ?? null}
            code={patient?.code}
            projectId={projectId}
            onChange={choose}
            error={error ? 'This patient is not there, or not in a project of yours. Choose another.' : undefined}
          />
          {pathways.length > 1 && (
            <Select
              label="Pathway"
              data={pathways.map((entry) => ({ value: entry.name, label: entry.title }))}
              value={pathway}
              onChange={setPathway}
            />
          )}
          <Button component={Go} to="/patients/new" variant="default" leftSection={<IconPlus size={18} />}>
            New patient
          </Button>
        </div>
        {patient && (
          <p className={classes.about}>
            <Link to="/patients/$patientId" params={{ patientId: patient.id }}>
              <code>{patient.code}</code>
            </Link>
            , {plural(patient.images, 'image')} so far
            {memberships.length > 1 &&
              `, ${memberships.find((entry) => entry.project_id === patient.project_id)?.project ?? ''}`}
          </p>
        )}
      </Panel>
      <Panel title="2. Photographs">
        <DropZone
          small={uploads.length > 0}
          disabled={!patient}
          hint={patient ? undefined : 'Choose the patient first.'}
          onFiles={(files) => patient && uploadQueue.add(files, { patientId: patient.id, pathway })}
        />
      </Panel>
      {uploads.length > 0 && <UploadList uploads={uploads} />}
    </Page>
  );
}
