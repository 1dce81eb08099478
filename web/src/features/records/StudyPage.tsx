// SPDX-License-Identifier: Apache-2.0
import { Button, Skeleton } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { records, review, viewing } from '@/api/calls';
import { fieldsQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { CaseList } from '@/components/CaseList';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { IconExport, IconFolder, IconPencil } from '@/components/icons';
import { ImageGrid } from '@/components/ImageTile';
import { notifySuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes, capital, count, words } from '@/lib/format';
import { formatField } from './formatField';
import { StudyDialog } from './StudyDialog';

const MAX_IMAGES = 60;

export function StudyPage() {
  const { studyId } = useParams({ from: '/shell/studies/$studyId' });
  const { data: study } = useSuspenseQuery({
    queryKey: ['studies', 'one', studyId],
    queryFn: ({ signal }) => records.study(studyId, signal),
  });
  const { can } = useSession();
  const { data: fields = [] } = useQuery(fieldsQuery(study.project_id, 'study'));
  const { data: images } = useQuery({
    queryKey: ['images', 'of-study', study.id],
    queryFn: ({ signal }) => viewing.images({ study_id: study.id, sort: 'created_at', page_size: MAX_IMAGES }, signal),
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
      lead={`Patient ${study.patient_code}`}
      trail={[
        { to: '/patients', title: 'Patients' },
        { to: `/patients/${study.patient_id}`, title: study.patient_code },
      ]}
      actions={
        <>
          {can('export.create') && (
            <Button
              component={AppLink}
              to={`/exports?order=study&study_id=${study.id}`}
              variant="default"
              leftSection={<IconExport size={18} />}
            >
              Export
            </Button>
          )}
          <Button
            component={AppLink}
            to={`/images?study_id=${study.id}`}
            variant="default"
            leftSection={<IconFolder size={18} />}
          >
            Browse images
          </Button>
          {can('study.change') && (
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
              images && images.total > MAX_IMAGES ? (
                <AppLink to={`/images?study_id=${study.id}&show=images`}>All {count(images.total)} images</AppLink>
              ) : undefined
            }
          >
            {images ? <ImageGrid images={images.items} showPatient={false} /> : <Skeleton height={180} />}
          </Panel>
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  [
                    'Patient',
                    <Link key="patient" to="/patients/$patientId" params={{ patientId: study.patient_id }}>
                      <code>{study.patient_code}</code>
                    </Link>,
                  ],
                  ['Modality', study.modality],
                  ['Pathway', study.pathway ? capital(words(study.pathway)) : 'Archive only'],
                  ...fields.map((field): [string, string] => [
                    field.label,
                    `${formatField(field, study.fields[field.key])}${field.unit && study.fields[field.key] != null ? ` ${field.unit}` : ''}`,
                  ]),
                  ['Series', count(study.series)],
                  ['Images', `${count(study.images)}${study.images > 0 ? `, ${bytes(study.size_bytes)}` : ''}`],
                  ['Registered', <TimeAgo key="at" at={study.created_at} />],
                  [
                    'Study UID',
                    <CopyableCode key="uid" value={study.study_uid} label="the study UID" maxLength={22} />,
                  ],
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
      {editing && (
        <StudyDialog
          title="Edit study"
          submitLabel="Save changes"
          initial={study}
          fields={fields}
          onClose={edit.close}
          save={async (input) => {
            await records.changeStudy(study.id, input, study.etag);
            notifySuccess('Study changed');
          }}
        />
      )}
    </Page>
  );
}
