// SPDX-License-Identifier: Apache-2.0
import { Button, SegmentedControl, Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { asProblem } from '@/api/problem';
import { pathwaysQuery, patientQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { AppLink } from '@/components/AppLink';
import { IconPlus } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Page, Panel } from '@/components/Page';
import { PatientSelect } from '@/components/PatientSelect';
import { plural } from '@/lib/format';
import { openFiles } from '../../components/upload/zipFiles';
import { DropZone } from '../../components/upload/DropZone';
import classes from './UploadPage.module.css';
import { UploadList } from '../../components/upload/UploadList';
import { uploadQueue } from '../../components/upload/uploadQueue';
import { useUploads } from '@/components/upload/useUploads';

/** Only the server knows that a patient does not exist; without its answer nothing is said of the patient. */
function patientError(error: unknown): string | undefined {
  if (!error) return undefined;
  const problem = asProblem(error);
  return problem.status === 404
    ? 'This patient does not exist or is not in your projects. Select another one.'
    : `${problem.title}. ${problem.detail}`;
}

export function UploadPage() {
  const { patient_id: patientId } = useSearch({ from: '/shell/upload' });
  const { can, memberships, projectId, homeProjectId } = useSession();
  const [fromFiles, setFromFiles] = useState(false);
  const navigate = useNavigate();
  const { uploads } = useUploads();
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const [chosenPathway, setPathway] = useState<string | null>(null);
  const pathway = chosenPathway ?? pathways[0]?.name ?? 'smear-review';
  const { data: patient, error } = useQuery({ ...patientQuery(patientId ?? ''), enabled: Boolean(patientId) });
  const choose = (id: string | null) =>
    void navigate({ to: '/upload', search: id ? { patient_id: id } : {}, replace: true });

  if (!can('image.upload')) {
    return (
      <Page title="Upload">
        <Notice title="Your role cannot upload">The pathway of this project defines which roles upload files.</Notice>
      </Page>
    );
  }

  return (
    <Page
      title="Upload"
      lead="Select the patient, then drop the files. Each file gets its own result; files whose modality has no pathway are archived without a case."
    >
      <Panel title="1. Patient">
        <SegmentedControl
          aria-label="Assignment"
          mb={16}
          value={fromFiles ? 'files' : 'one'}
          onChange={(value) => setFromFiles(value === 'files')}
          data={[
            { value: 'one', label: 'One patient' },
            { value: 'files', label: 'Patients from the files' },
          ]}
        />
        {fromFiles && (
          <p className={classes.about}>
            DICOM files are assigned by their patient number; unknown patients are registered with a new code. Files
            with contradictory data are quarantined.
          </p>
        )}
        {!fromFiles && (
          <div className={classes.patient}>
            <PatientSelect
              value={patientId ?? null}
              code={patient?.code}
              projectId={projectId}
              onChange={choose}
              error={patientError(error)}
            />
            {pathways.length > 1 && (
              <Select
                label="Pathway"
                data={pathways.map((entry) => ({ value: entry.name, label: entry.title }))}
                value={pathway}
                onChange={setPathway}
              />
            )}
            <Button component={AppLink} to="/patients/new" variant="default" leftSection={<IconPlus size={18} />}>
              New patient
            </Button>
          </div>
        )}
        {!fromFiles && patient && (
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
      <Panel title={fromFiles ? '2. Files and folders' : '2. Photographs'}>
        <DropZone
          small={uploads.length > 0}
          disabled={!patient && !fromFiles}
          hint={patient || fromFiles ? undefined : 'Select the patient first.'}
          onFiles={(files) => {
            const project = projectId ?? homeProjectId;
            const facts =
              fromFiles && project
                ? { patientId: '', pathway: '', projectId: project }
                : patient && { patientId: patient.id, pathway };
            if (!facts) return;
            void openFiles(files).then((sources) => uploadQueue.add(sources, facts));
          }}
        />
      </Panel>
      {uploads.length > 0 && <UploadList title="3. Results" uploads={uploads} />}
    </Page>
  );
}
