// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { exports } from '@/api/calls';
import { useSession } from '@/api/session';
import type { Export } from '@/api/types';
import { IconExport, IconPlus } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes, count, share } from '@/lib/format';
import { ExportDialog } from '../../components/export/ExportDialog';
import { ExportState, formTitle, isExportRunning, selectionTitle, STATE_OPTIONS } from './exportState';

export function ExportsPage() {
  const { projectId } = useSession();
  const { order, study_id: studyId, patient_id: patientId } = useSearch({ from: '/shell/exports' });
  const navigate = useNavigate();
  const open = (opened: boolean) =>
    void navigate({
      to: '/exports',
      replace: !opened,
      search: (before) => ({
        ...before,
        order: opened ? 'project' : undefined,
        study_id: undefined,
        patient_id: undefined,
      }),
    });
  const button = (
    <Button leftSection={<IconPlus size={18} />} onClick={() => open(true)}>
      New export
    </Button>
  );
  return (
    <>
      <ListPage<Export>
        name="exports"
        title="Exports"
        lead="Every export is scanned for personal data before the download, independently of the de-identification."
        actions={button}
        columns={[
          { id: 'form', header: 'Format', phone: true, cell: formTitle },
          { id: 'selection', header: 'Selection', cell: selectionTitle },
          { id: 'state', header: 'State', sort: 'state', phone: true, cell: (row) => <State row={row} /> },
          { id: 'images', header: 'Images', sort: 'images', align: 'end', cell: (row) => count(row.images) },
          { id: 'patients', header: 'Patients', align: 'end', cell: (row) => count(row.patients) },
          {
            id: 'size',
            header: 'Size',
            sort: 'size_bytes',
            align: 'end',
            cell: (row) => (row.size_bytes === null ? '–' : bytes(row.size_bytes)),
          },
          { id: 'k', header: 'k', align: 'end', cell: (row) => (row.anonymity ? count(row.anonymity.k) : '–') },
          { id: 'project', header: 'Project', cell: (row) => row.project, hidden: true },
          { id: 'by', header: 'Requested by', cell: (row) => row.created_by },
          { id: 'at', header: 'Requested', sort: 'created_at', cell: (row) => <TimeAgo at={row.created_at} /> },
          {
            id: 'expires',
            header: 'Expires',
            hidden: true,
            cell: (row) => (row.expires_at && row.state === 'ready' ? <TimeAgo at={row.expires_at} /> : '–'),
          },
        ]}
        filters={[{ id: 'state', label: 'State', options: STATE_OPTIONS }]}
        fixed={{ project_id: projectId }}
        load={exports.list}
        rowId={(row) => row.id}
        rowName={(row) => `${formTitle(row)} of ${count(row.images)} images`}
        rowLink={(row) => `/exports/${row.id}`}
        refetchInterval={(rows) => (rows?.some((row) => isExportRunning(row.state)) ? 1500 : false)}
        empty={{
          icon: <IconExport size={32} />,
          title: 'No exports yet',
          text: 'Export DICOM files, a data set for training, or metadata only. Download it here after the scan.',
          action: button,
        }}
      />
      <ExportDialog
        key={order}
        opened={Boolean(order)}
        onClose={() => open(false)}
        studyId={studyId}
        patientId={patientId}
      />
    </>
  );
}

function State({ row }: { row: Export }) {
  return (
    <span style={{ display: 'inline-flex', alignItems: 'center', gap: 8 }}>
      <ExportState state={row.state} />
      {row.state === 'looking' && (
        <span className="mh-tabular">{share(row.images > 0 ? row.looked / row.images : 0)}</span>
      )}
    </span>
  );
}
