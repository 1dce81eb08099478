// SPDX-License-Identifier: Apache-2.0
import { Select, Skeleton } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { records } from '@/api/calls';
import { fieldsQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { notifySuccess } from '@/components/notify';
import { Page, Panel } from '@/components/Page';
import { EMPTY_DRAFT } from './patientDraft';
import { PatientForm } from './PatientForm';

export function NewPatientPage() {
  const { homeProjectId, memberships, can } = useSession();
  const [projectId, setProjectId] = useState(homeProjectId);
  const { data: fields } = useQuery(fieldsQuery(projectId, 'patient'));
  const navigate = useNavigate();
  const client = useQueryClient();

  return (
    <Page
      title="New patient"
      width="text"
      trail={[{ to: '/patients', title: 'Patients' }]}
      lead="Medhub generates a code for the patient. Lists, images and reports show this code."
    >
      {memberships.length > 1 && (
        <Panel title="Project">
          <Select
            aria-label="Project of the patient"
            data={memberships.map((entry) => ({ value: entry.project_id, label: entry.project }))}
            value={projectId ?? null}
            onChange={(value) => setProjectId(value ?? undefined)}
          />
        </Panel>
      )}
      {fields ? (
        <PatientForm
          key={projectId}
          initial={EMPTY_DRAFT}
          fields={fields}
          withIdentity={can('identity.read')}
          submitLabel="Register patient"
          onCancel={() => void navigate({ to: '/patients' })}
          save={async (input) => {
            const patient = await records.addPatient({ ...input, project_id: projectId });
            await client.invalidateQueries({ queryKey: ['patients'] });
            notifySuccess(`Patient ${patient.code} is registered`, 'Next, upload the photographs.');
            await navigate({ to: '/patients/$patientId', params: { patientId: patient.id } });
          }}
        />
      ) : (
        <Skeleton height={320} />
      )}
    </Page>
  );
}
