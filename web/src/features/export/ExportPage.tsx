// SPDX-License-Identifier: Apache-2.0
import { Button, Modal } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { exports } from '@/api/calls';
import { useSession } from '@/api/session';
import type { Export } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { IconDownload, IconTrash } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifyProblem } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes, capital, count, plural, share } from '@/lib/format';
import classes from './export.module.css';
import { Findings } from './Findings';
import { NodeTransfers } from './NodeTransfers';
import { columnTitle, ExportState, formTitle, isExportRunning, isRemovable, selectionTitle } from './exportState';

export function ExportPage() {
  const { exportId } = useParams({ from: '/shell/exports/$exportId' });
  const { can } = useSession();
  const { data: row } = useSuspenseQuery({
    queryKey: ['exports', 'one', exportId],
    queryFn: ({ signal }) => exports.byId(exportId, signal),
    refetchInterval: (query) => (query.state.data && isExportRunning(query.state.data.state) ? 1000 : false),
  });
  return (
    <Page
      title={formTitle(row)}
      heading={
        <>
          {formTitle(row)} <ExportState state={row.state} />
        </>
      }
      lead={`${plural(row.images, 'image')} of ${plural(row.patients, 'patient')}: ${selectionTitle(row).toLowerCase()}`}
      trail={[{ to: '/exports', title: 'Exports' }]}
      actions={
        <>
          {isRemovable(row.state) && <DestroyButton row={row} />}
          {row.state === 'ready' && (
            <Button component="a" href={exports.fileUrl(row.id)} download leftSection={<IconDownload size={18} />}>
              Download {row.size_bytes !== null && bytes(row.size_bytes)}
            </Button>
          )}
        </>
      }
    >
      <Columns
        left={
          <>
            <StateNotice row={row} mayClear={can('export.clear')} />
            {isExportRunning(row.state) && <ExportProgress row={row} />}
            {(row.open_findings > 0 || row.cleared_findings > 0 || row.excluded > 0) && <Findings row={row} />}
            {row.state === 'ready' && row.form === 'dicom' && <NodeTransfers row={row} />}
            {row.anonymity && <Anonymity row={row} />}
          </>
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  ['Format', formTitle(row)],
                  ['Selection', selectionTitle(row)],
                  ['Images', count(row.images)],
                  ['Patients', count(row.patients)],
                  row.excluded > 0 && ['Removed', plural(row.excluded, 'image')],
                  ['Project', row.project],
                  ['Requested by', row.created_by],
                  ['Requested', <TimeAgo key="at" at={row.created_at} />],
                  row.finished_at !== null && ['Finished', <TimeAgo key="end" at={row.finished_at} />],
                  row.state === 'ready' &&
                    row.expires_at !== null && ['Expires', <TimeAgo key="expires" at={row.expires_at} />],
                  row.size_bytes !== null && ['Size', bytes(row.size_bytes)],
                  row.digest !== null && [
                    'SHA-256',
                    <CopyableCode key="digest" value={row.digest} label="the digest" maxLength={16} />,
                  ],
                ]}
              />
            </Panel>
            {Object.keys(row.left_out).length > 0 && (
              <Panel title="Excluded">
                <DetailList
                  details={Object.entries(row.left_out).map(([reason, number]) => [capital(reason), count(number)])}
                />
              </Panel>
            )}
          </>
        }
      />
    </Page>
  );
}

function StateNotice({ row, mayClear }: { row: Export; mayClear: boolean }) {
  if (row.state === 'blocked')
    return (
      <Notice title={`${plural(row.open_findings, 'value')} may be personal data`}>
        {mayClear
          ? 'Review each finding. Clear it with a reason if it identifies nobody, or remove its images. The export is packed when no finding is open.'
          : 'An administrator reviews each finding and clears it with a reason or removes the image. You can remove images.'}
      </Notice>
    );
  if (row.state === 'ready')
    return (
      <Notice title="The scan is complete">
        The scan covered {row.form === 'metadata' ? 'every value' : 'headers, texts, images and file names'} and
        searched for known identities and for text that looks like one.
      </Notice>
    );
  if (row.state === 'failed')
    return (
      <Notice tone="red" title="Export failed">
        {row.failure}
      </Notice>
    );
  if (row.failure) return <Notice title="The file is no longer available">{row.failure}</Notice>;
  if (row.state === 'expired')
    return (
      <Notice title="The file is no longer available">The export has expired. Create it again if you need it.</Notice>
    );
  if (row.state === 'destroyed')
    return (
      <Notice title="The file is no longer available">The export was deleted. Create it again if you need it.</Notice>
    );
  return null;
}

function ExportProgress({ row }: { row: Export }) {
  const title = { waiting: 'Waiting', looking: 'Scanning', packing: 'Packing' }[
    row.state as 'waiting' | 'looking' | 'packing'
  ];
  const done = row.images > 0 ? row.looked / row.images : 0;
  const known = row.state === 'looking';
  return (
    <Panel title="Progress">
      <div className={classes.progress}>
        <div className={classes.progressLine}>
          <strong aria-live="polite">{title}</strong>
          {known && (
            <span>
              {count(row.looked)} of {plural(row.images, 'image')}, {share(done)}
            </span>
          )}
        </div>
        <div
          className={classes.bar}
          role="progressbar"
          aria-label={title}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={known ? Math.round(100 * done) : undefined}
          data-unknown={known ? undefined : true}
        >
          <span style={known ? { inlineSize: `${100 * done}%` } : undefined} />
        </div>
      </div>
    </Panel>
  );
}

function Anonymity({ row }: { row: Export }) {
  const { anonymity } = row;
  if (!anonymity) return null;
  return (
    <Panel title="Anonymity">
      <div className={classes.figures}>
        <Figure value={`k = ${count(anonymity.k)}`} words="people in the smallest group" />
        <Figure
          value={count(anonymity.alone)}
          words={`of ${plural(anonymity.patients, 'patient')} in a group of one`}
        />
        <Figure value={count(anonymity.below)} words={`in groups of fewer than ${count(anonymity.least)}`} />
      </div>
      <p className={classes.note}>
        The patients of a group have the same values of all exported attributes that others may know:{' '}
        {anonymity.columns.map(columnTitle).join(', ').toLowerCase()}. A patient who is alone in a group can be
        identified by somebody who knows these values. Export fewer or less precise fields to make the groups larger.
      </p>
    </Panel>
  );
}

function Figure({ value, words }: { value: string; words: string }) {
  return (
    <div className={classes.figure}>
      <strong>{value}</strong>
      <span>{words}</span>
    </div>
  );
}

function DestroyButton({ row }: { row: Export }) {
  const [opened, { open, close }] = useDisclosure(false);
  const [busy, setBusy] = useState(false);
  const client = useQueryClient();
  const act = async () => {
    setBusy(true);
    try {
      await exports.destroy(row.id);
      await client.invalidateQueries({ queryKey: ['exports'] });
      close();
    } catch (error) {
      notifyProblem(error, 'The export was not deleted');
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Button variant="default" leftSection={<IconTrash size={18} />} onClick={open}>
        Delete
      </Button>
      <Modal opened={opened} onClose={close} title="Delete this export?">
        <div className={classes.form}>
          <p className={classes.text}>
            {row.state === 'ready'
              ? 'Its file is deleted. Downloaded copies are not affected.'
              : 'The unfinished export is deleted.'}{' '}
            The images in the hub are not affected.
          </p>
          <div className={classes.buttons}>
            <Button variant="default" onClick={close} data-autofocus>
              Cancel
            </Button>
            <Button color="red.9" loading={busy} onClick={() => void act()}>
              Delete export
            </Button>
          </div>
        </div>
      </Modal>
    </>
  );
}
