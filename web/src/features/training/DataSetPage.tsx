// SPDX-License-Identifier: Apache-2.0
import { Anchor, Button, Pagination } from '@mantine/core';
import { keepPreviousData, useQuery, useSuspenseQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { training } from '@/api/calls';
import { useSession } from '@/api/session';
import type { DataSet, DataSetRow } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { IconDownload, IconTraining } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, count, plural } from '@/lib/format';
import { RowTable } from '@/components/RowTable';
import classes from './training.module.css';

const PARTS: [string, string][] = [
  ['train', 'Training'],
  ['val', 'Validation'],
  ['test', 'Test'],
];
const ROWS = 50;

export function DataSetPage() {
  const { datasetId } = useParams({ from: '/shell/training/datasets/$datasetId' });
  const { data: dataset } = useSuspenseQuery({
    queryKey: ['datasets', 'one', datasetId],
    queryFn: ({ signal }) => training.dataset(datasetId, signal),
  });
  return (
    <Page
      title={`${dataset.name} v${dataset.version}`}
      trail={[{ to: '/training/datasets', title: 'Data sets' }]}
      actions={
        <Button component={AppLink} to={`/training/new?dataset=${dataset.id}`} leftSection={<IconTraining size={18} />}>
          Start training
        </Button>
      }
    >
      <Columns
        left={
          <>
            {dataset.erased > 0 && (
              <Notice title={`${plural(dataset.erased, 'image')} erased`}>
                Their patients were erased. New trainings do not use these images. The digest is that of the original
                version.
              </Notice>
            )}
            {dataset.gaps.length > 0 && (
              <Notice title="This version has gaps">
                <ul className={classes.list}>
                  {dataset.gaps.map((gap) => (
                    <li key={gap}>{gap}</li>
                  ))}
                </ul>
              </Notice>
            )}
            <Counts dataset={dataset} />
            <Provenance dataset={dataset} />
          </>
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  ['Images', count(dataset.images)],
                  ['Label source', dataset.origin === 'verdicts' ? 'Signed verdicts' : 'An uploaded ZIP'],
                  dataset.pathway !== null && ['Pathway', dataset.pathway],
                  ['Project', dataset.project],
                  ['Created by', dataset.created_by],
                  ['Created', <TimeAgo key="made" at={dataset.created_at} />],
                  ['Digest', <CopyableCode key="digest" value={dataset.digest} label="the digest" maxLength={16} />],
                ]}
              />
            </Panel>
            {Object.keys(dataset.left_out).length > 0 && (
              <Panel title="Excluded">
                <DetailList
                  details={Object.entries(dataset.left_out).map(([reason, number]) => [capital(reason), count(number)])}
                />
              </Panel>
            )}
          </>
        }
      />
    </Page>
  );
}

function Counts({ dataset }: { dataset: DataSet }) {
  const { labelName } = useSession();
  const labels = Object.entries(dataset.counts);
  const total = (part: string) => labels.reduce((sum, [, of]) => sum + (of[part] ?? 0), 0);
  return (
    <Panel title="Images by label and part">
      <RowTable
        name="Images by label and part"
        headers={['Label', ...PARTS.map(([, title]) => title), 'All']}
        rows={[
          ...labels.map(([label, of]) => [
            labelName(label),
            ...PARTS.map(([part]) => count(of[part] ?? 0)),
            count(PARTS.reduce((sum, [part]) => sum + (of[part] ?? 0), 0)),
          ]),
          ['All labels', ...PARTS.map(([part]) => count(total(part))), count(dataset.images)],
        ]}
      />
    </Panel>
  );
}

function Provenance({ dataset }: { dataset: DataSet }) {
  const [page, setPage] = useState(1);
  const { data } = useQuery({
    queryKey: ['datasets', 'rows', dataset.id, page],
    queryFn: ({ signal }) => training.rows(dataset.id, { page, page_size: ROWS }, signal),
    placeholderData: keepPreviousData,
  });
  const pages = Math.max(1, Math.ceil(dataset.images / ROWS));
  return (
    <Panel
      title="Origin of the labels"
      side={
        <Anchor href={training.provenanceUrl(dataset.id)} download>
          <IconDownload size={16} style={{ verticalAlign: '-3px' }} /> CSV
        </Anchor>
      }
    >
      <Rows rows={data?.items ?? []} />
      {pages > 1 && (
        <Pagination
          total={pages}
          value={page}
          onChange={setPage}
          mt={12}
          getControlProps={(control) => ({ 'aria-label': `${capital(control)} page` })}
          getItemProps={(number) => ({ 'aria-label': `Page ${number}` })}
        />
      )}
    </Panel>
  );
}

function Rows({ rows }: { rows: DataSetRow[] }) {
  const { labelName } = useSession();
  return (
    <RowTable
      name="Origin of the labels"
      headers={['Image', 'Label', 'Part', 'Patient', 'Labeled by', 'When', 'Case']}
      rows={rows.map((row) => [
        row.image_id ? (
          <AppLink key="image" to={`/images/${row.image_id}`}>
            {count(row.number)}
          </AppLink>
        ) : (
          count(row.number)
        ),
        labelName(row.label),
        PARTS.find(([part]) => part === row.part)?.[1] ?? row.part,
        row.source === 'erased' ? 'erased' : (row.patient_code ?? '–'),
        row.source === 'uploaded' ? 'the upload' : (row.said_by ?? '–'),
        row.said_at ? <TimeAgo key="when" at={row.said_at} /> : '–',
        row.case_id ? (
          <AppLink key="case" to={`/cases/${row.case_id}`}>
            {`v${row.case_version ?? 1}`}
          </AppLink>
        ) : (
          '–'
        ),
      ])}
    />
  );
}
