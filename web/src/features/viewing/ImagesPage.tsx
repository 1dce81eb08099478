// SPDX-License-Identifier: Apache-2.0
import { Button, SegmentedControl, Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { viewing } from '@/api/calls';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { Go } from '@/components/Go';
import { IconGrid, IconImages, IconList } from '@/components/icons';
import { ImageGrid, labelLine } from '@/components/ImageTile';
import { ListPage, type Column, type Filter } from '@/components/ListPage';
import { Mark } from '@/components/Mark';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes } from '@/lib/format';
import classes from './viewing.module.css';

const COLUMNS: Column<ImageRow>[] = [
  {
    id: 'image',
    header: 'Image',
    phone: true,
    cell: (row) => (
      <span className={classes.named}>
        {row.state !== 'unreadable' && (
          <img
            src={viewing.renderedUrl(row.id, 256)}
            alt=""
            loading="lazy"
            width={32}
            height={32}
            className={classes.small}
          />
        )}
        Image {row.number}
      </span>
    ),
  },
  { id: 'patient', header: 'Patient', phone: true, cell: (row) => <span className="mh-code">{row.patient_code}</span> },
  { id: 'label', header: 'Label', phone: true, sort: 'confidence', cell: (row) => labelLine(row) },
  { id: 'state', header: 'State', cell: (row) => <Mark image={row} /> },
  {
    id: 'kind',
    header: 'Kind',
    hidden: true,
    cell: (row) => (row.kind === 'dicom' ? `DICOM, ${row.modality}` : 'Photograph'),
  },
  { id: 'size', header: 'Pixels', align: 'end', cell: (row) => `${row.width} × ${row.height}` },
  { id: 'bytes', header: 'Size', align: 'end', hidden: true, cell: (row) => bytes(row.size_bytes) },
  { id: 'created', header: 'Uploaded', sort: 'created_at', cell: (row) => <TimeAgo at={row.created_at} /> },
];

export function ImagesPage() {
  const { projectId, can } = useSession();
  const search = useSearch({ strict: false });
  const navigate = useNavigate();
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const labels = [...new Set(pathways.flatMap((pathway) => pathway.labels))];
  const grid = search.view !== 'list';

  const filters: Filter[] = [
    {
      id: 'verified',
      label: 'Verified',
      options: [
        { value: 'false', label: 'Not yet' },
        { value: 'true', label: 'Yes' },
      ],
    },
    { id: 'label', label: 'Label', options: labels.map((label) => ({ value: label, label })) },
    {
      id: 'uncertain',
      label: 'Uncertain',
      options: [
        { value: 'true', label: 'Yes' },
        { value: 'false', label: 'No' },
      ],
    },
  ];
  // These come with a link from a patient or a study; they show as chips that can be taken away.
  if (search.patient_id)
    filters.push({ id: 'patient_id', label: 'Patient', options: [{ value: search.patient_id, label: 'one patient' }] });
  if (search.study_id)
    filters.push({ id: 'study_id', label: 'Study', options: [{ value: search.study_id, label: 'one study' }] });

  return (
    <ListPage<ImageRow>
      name="images"
      title="Images"
      columns={COLUMNS}
      filters={filters}
      searchLabel="Search patient code"
      fixed={{ project_id: projectId }}
      defaultSort="-created_at"
      pageSize={grid ? 60 : 50}
      load={viewing.images}
      rowId={(row) => row.id}
      rowLink={(row) => `/images/${row.id}`}
      refetchInterval={(rows) => (rows?.some((row) => row.state === 'waiting') ? 1_500 : false)}
      tools={
        <SegmentedControl
          aria-label="How the images are shown"
          value={grid ? 'grid' : 'list'}
          onChange={(view) =>
            void navigate({
              to: '/images',
              search: (before: Record<string, unknown>) => ({ ...before, view: view === 'grid' ? undefined : view }),
              replace: true,
            } as never)
          }
          data={[
            { value: 'grid', label: <ViewName icon={<IconGrid size={16} />} name="Grid" /> },
            { value: 'list', label: <ViewName icon={<IconList size={16} />} name="List" /> },
          ]}
        />
      }
      draw={
        grid
          ? (rows) =>
              rows ? (
                <ImageGrid images={rows} />
              ) : (
                <div className={classes.skeletons} aria-busy="true">
                  {Array.from({ length: 18 }, (_, index) => (
                    <Skeleton key={index} height={196} />
                  ))}
                </div>
              )
          : undefined
      }
      empty={{
        icon: <IconImages size={32} />,
        title: 'No images yet',
        text: can('upload')
          ? 'Choose a patient and upload the first photographs.'
          : 'A technologist uploads images; they then appear here.',
        action: can('upload') && (
          <Button component={Go} to="/upload">
            Upload images
          </Button>
        ),
      }}
    />
  );
}

function ViewName({ icon, name }: { icon: React.ReactNode; name: string }) {
  return (
    <span className={classes.named}>
      {icon}
      {name}
    </span>
  );
}
