// SPDX-License-Identifier: Apache-2.0
import { Anchor, Button, Menu, Modal, Skeleton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { asProblem } from '@/api/problem';
import { records, review, viewing } from '@/api/calls';
import { fieldsQuery, patientQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Patient, Study } from '@/api/types';
import { CaseList } from '@/components/CaseList';
import { CopyableCode } from '@/components/CopyableCode';
import { EmptyState } from '@/components/EmptyState';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { IconDots, IconFolder, IconPencil, IconTrash, IconUpload, IconWorklist } from '@/components/icons';
import { ImageGrid } from '@/components/ImageTile';
import { notifySuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { count, day, plural, sex } from '@/lib/format';
import { formatField } from './formatField';
import { EraseDialog } from './EraseDialog';
import { PatientForm } from './PatientForm';
import classes from './records.module.css';

const MAX_IMAGES = 24;

export function PatientPage() {
  const { patientId } = useParams({ from: '/shell/patients/$patientId' });
  const { data: patient } = useSuspenseQuery(patientQuery(patientId));
  const { can, memberships } = useSession();
  const [editing, edit] = useDisclosure(false);
  const [erasing, erase] = useDisclosure(false);
  const client = useQueryClient();
  const { data: fields = [] } = useQuery(fieldsQuery(patient.project_id, 'patient'));

  const left = (
    <>
      <PatientCases patient={patient} />
      <PatientImages patient={patient} />
      <PatientStudies patient={patient} />
    </>
  );

  const right = (
    <>
      <PatientSummary patientId={patient.id} />
      <Panel title="Details">
        <DetailList
          details={[
            ['Sex', sex(patient.sex)],
            ['Age', patient.age === null ? null : `${patient.age} years`],
            ['Birth year', patient.birth_year],
            ...fields.map((field): [string, string] => [
              field.label,
              `${formatField(field, patient.fields[field.key])}${field.unit && patient.fields[field.key] != null ? ` ${field.unit}` : ''}`,
            ]),
            memberships.length > 1 && [
              'Project',
              memberships.find((entry) => entry.project_id === patient.project_id)?.project ?? '',
            ],
            ['Registered', <TimeAgo key="at" at={patient.created_at} />],
          ]}
        />
      </Panel>
      <IdentityPanel patient={patient} />
    </>
  );

  return (
    <Page
      title={`Patient ${patient.code}`}
      heading={
        <>
          Patient <CopyableCode value={patient.code} label="the code" />
        </>
      }
      trail={[{ to: '/patients', title: 'Patients' }]}
      actions={
        <>
          {can('image.upload') && (
            <Button component={AppLink} to={`/upload?patient_id=${patient.id}`} leftSection={<IconUpload size={18} />}>
              Upload images
            </Button>
          )}
          {can('verdict.give') && patient.unverified > 0 && (
            <Button
              component={AppLink}
              to={`/worklist?patient_id=${patient.id}`}
              variant="default"
              leftSection={<IconWorklist size={18} />}
            >
              Read {plural(patient.unverified, 'image')}
            </Button>
          )}
          <Button
            component={AppLink}
            to={`/images?patient_id=${patient.id}`}
            variant="default"
            leftSection={<IconFolder size={18} />}
          >
            Browse studies
          </Button>
          {can('patient.change') && (
            <Button variant="default" leftSection={<IconPencil size={18} />} onClick={edit.open}>
              Edit
            </Button>
          )}
          {can('patient.erase') && (
            <Menu position="bottom-end">
              <Menu.Target>
                <Button variant="default" px={10} aria-label="More actions">
                  <IconDots />
                </Button>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item leftSection={<IconTrash size={18} />} onClick={erase.open}>
                  Erase patient
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          )}
        </>
      }
    >
      <Columns left={left} right={right} />
      <Modal opened={editing} onClose={edit.close} title={`Edit patient ${patient.code}`} size="xl">
        <PatientForm
          initial={{
            sex: patient.sex,
            birth_year: patient.birth_year,
            fields: patient.fields,
            identity: patient.identity ?? {},
          }}
          fields={fields}
          withIdentity={can('identity.read') && !patient.identity_hidden}
          submitLabel="Save changes"
          onCancel={edit.close}
          save={async (input) => {
            try {
              await records.changePatient(patient.id, input, patient.etag);
            } catch (error) {
              if (asProblem(error).isStale) void client.invalidateQueries({ queryKey: ['patients'] });
              throw error;
            }
            await client.invalidateQueries({ queryKey: ['patients'] });
            edit.close();
            notifySuccess(`Patient ${patient.code} is changed`);
          }}
        />
      </Modal>
      <EraseDialog patientId={patient.id} code={patient.code} opened={erasing} onClose={erase.close} />
    </Page>
  );
}

function PatientSummary({ patientId }: { patientId: string }) {
  const { data } = useQuery({
    queryKey: ['patients', 'summary', patientId],
    queryFn: ({ signal }) => records.summary(patientId, signal),
  });
  if (!data) return <Skeleton height={150} />;
  return (
    <Panel title="Summary">
      <dl className={classes.numbers}>
        <div>
          <dt>Images</dt>
          <dd>{count(data.images)}</dd>
        </div>
        <div>
          <dt>To verify</dt>
          <dd>{count(data.unverified)}</dd>
        </div>
        <div>
          <dt>Cases</dt>
          <dd>{count(data.cases)}</dd>
        </div>
        <div>
          <dt>Open cases</dt>
          <dd>{count(data.open_cases)}</dd>
        </div>
      </dl>
      <p className={classes.note} style={{ marginBlockStart: 10 }}>
        Last upload: <TimeAgo at={data.last_upload_at} />
      </p>
    </Panel>
  );
}

function IdentityPanel({ patient }: { patient: Patient }) {
  const { identity } = patient;
  const given = identity && Object.values(identity).some(Boolean);
  return (
    <Panel title="Identity">
      {identity && given ? (
        <DetailList
          details={[
            ['Name', identity.name],
            ['Hospital number', identity.hospital_number],
            ['Birth date', identity.birth_date ? day(`${identity.birth_date}T12:00:00`) : null],
            ['E-mail', identity.email && <Anchor href={`mailto:${identity.email}`}>{identity.email}</Anchor>],
            ['Phone', identity.phone],
          ]}
        />
      ) : (
        <p className={classes.note}>
          {patient.identity_hidden
            ? 'Recorded, but not visible to your role.'
            : 'No name or number is recorded. Select Edit to add them.'}
        </p>
      )}
    </Panel>
  );
}

function PatientCases({ patient }: { patient: Patient }) {
  const { data } = useQuery({
    queryKey: ['cases', 'of-patient', patient.id],
    queryFn: ({ signal }) => review.cases({ patient_id: patient.id, sort: '-opened_at', page_size: 50 }, signal),
    refetchInterval: 60_000,
  });
  return (
    <Panel title="Cases">
      {data === undefined ? (
        <Skeleton height={60} />
      ) : data.items.length === 0 ? (
        <p className={classes.note}>A case opens automatically after the uploaded images are classified.</p>
      ) : (
        <CaseList cases={data.items} />
      )}
    </Panel>
  );
}

function PatientImages({ patient }: { patient: Patient }) {
  const { can } = useSession();
  const { data } = useQuery({
    queryKey: ['images', 'of-patient', patient.id],
    queryFn: ({ signal }) =>
      viewing.images({ patient_id: patient.id, sort: '-created_at', page_size: MAX_IMAGES }, signal),
    refetchInterval: (query) => (query.state.data?.items.some((image) => image.state === 'waiting') ? 1_500 : false),
  });
  return (
    <Panel
      title="Images"
      side={
        data && data.total > MAX_IMAGES ? (
          <AppLink to={`/images?patient_id=${patient.id}&show=images`}>All {count(data.total)} images</AppLink>
        ) : undefined
      }
    >
      {data === undefined ? (
        <Skeleton height={180} />
      ) : data.items.length === 0 ? (
        <EmptyState
          title="No images yet"
          text="Drop photographs of the smear on the upload page; each is classified within seconds."
          action={
            can('image.upload') && (
              <Button component={AppLink} to={`/upload?patient_id=${patient.id}`}>
                Upload images
              </Button>
            )
          }
        />
      ) : (
        <ImageGrid images={data.items} showPatient={false} />
      )}
    </Panel>
  );
}

function PatientStudies({ patient }: { patient: Patient }) {
  const { data } = useQuery({
    queryKey: ['studies', patient.id],
    queryFn: ({ signal }) => records.studies({ patient_id: patient.id, page_size: 50 }, signal),
  });
  const { data: fields = [] } = useQuery(fieldsQuery(patient.project_id, 'study'));
  if (!data || data.items.length === 0) return null;
  const fieldValues = (study: Study) =>
    fields.flatMap((field) =>
      study.fields[field.key] == null
        ? []
        : [`${field.label}: ${formatField(field, study.fields[field.key])}${field.unit ? ` ${field.unit}` : ''}`],
    );
  return (
    <Panel
      title="Studies"
      side={
        data.total > data.items.length ? (
          <AppLink to={`/images?patient_id=${patient.id}`}>All {count(data.total)} studies</AppLink>
        ) : undefined
      }
    >
      <ul style={{ margin: 0, paddingInlineStart: 18 }}>
        {data.items.map((study) => (
          <li key={study.id}>
            <AppLink to={`/studies/${study.id}`}>{study.description || 'Study'}</AppLink>,{' '}
            {study.modality ?? 'no images'}, {plural(study.images, 'image')}, <TimeAgo at={study.created_at} />
            {fieldValues(study).length > 0 && <div className={classes.muted}>{fieldValues(study).join(', ')}</div>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
