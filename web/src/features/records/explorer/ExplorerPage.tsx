// SPDX-License-Identifier: Apache-2.0
// Patients, studies, series and images as folders: browse, search, sort, move, and fill them by dropping files.
import { Button, Skeleton } from '@mantine/core';
import { useNavigate } from '@tanstack/react-router';
import { useCallback, useEffect, useState } from 'react';
import { useSession } from '@/api/session';
import { EmptyState } from '@/components/EmptyState';
import { IconImages } from '@/components/icons';
import { useColumns, useDensity } from '@/components/listPreferences';
import { FilterChips, ListError, NoMatches } from '@/components/ListTools';
import { notifySuccess } from '@/components/notify';
import { Page } from '@/components/Page';
import { UploadList } from '@/components/upload/UploadList';
import { parseSearch } from '@/lib/searchParams';
import { countOf, KIND_TITLES, type EntryKind } from './entries';
import { DropArea } from './DropArea';
import { EntryGrid } from './EntryGrid';
import classes from './explorer.module.css';
import { ExplorerDialogs, type OpenDialog } from './ExplorerDialogs';
import { ExplorerTools } from './ExplorerTools';
import { LocationActions } from './LocationActions';
import { isAllowed, SelectionActions } from './SelectionActions';
import { upload } from './UploadDialog';
import { useEntryPages } from './useEntryPages';
import { useExplorerSearch } from './useExplorerSearch';
import { useExplorerUploads } from './useExplorerUploads';
import { useSelection } from './useSelection';

export function ExplorerPage() {
  const { can } = useSession();
  const navigate = useNavigate();
  const explorer = useExplorerSearch();
  const { location, kind, here, pathways, query, sort, view, active, filters, change } = explorer;
  const listKey = JSON.stringify([kind, query]);
  const [range, setRange] = useState({ from: 0, to: 0 });
  const onRange = useCallback((from: number, to: number) => setRange({ from, to }), []);
  const pages = useEntryPages(kind, query, range.from, range.to);
  const selection = useSelection(pages, listKey);
  const selected = [...selection.selected.values()];
  const columnChoice = useColumns(`explorer.${kind}`, explorer.columns);
  const density = useDensity();
  const uploads = useExplorerUploads();
  const [dialog, setDialog] = useState<OpenDialog | null>(null);
  const [dropped, setDropped] = useState<File[] | null>(null);

  useEffect(() => {
    // Some browsers return a promise, which must not become the clean-up of the effect.
    document.getElementById('main')?.scrollTo({ top: 0 });
  }, [listKey]);

  const atRoot = location.level === 'root';
  const title = here?.title ?? (atRoot ? 'Images' : '…');
  const mayUpload = can('image.upload') && !atRoot && here !== undefined;
  const error = pages.error ?? explorer.locationError;
  const { total } = pages;

  const openUpload = (files: File[] | null) => {
    setDropped(files);
    setDialog('upload');
  };
  const addFiles = (files: File[]) => {
    if (!here || files.length === 0) return;
    const pathway = here.study?.pathway ?? (pathways.length === 1 ? pathways[0]?.name : undefined);
    if (pathway) void upload(files, here, pathway);
    else openUpload(files);
  };
  const dropFiles = (files: Promise<File[]>) => {
    if (mayUpload) void files.then(addFiles);
    else if (can('image.upload'))
      notifySuccess('Open a patient first', 'Then drop the files there: they need a patient.');
  };
  const openParent = () => {
    const parent = here?.trail.at(-1);
    if (parent) void navigate({ to: '/images', search: parseSearch(parent.to.split('?')[1] ?? '') });
  };

  return (
    <Page
      title={title}
      trail={here?.trail}
      heading={
        <>
          {location.level === 'patient' ? <code>{title}</code> : title}
          {total !== undefined && (
            <span className={classes.count} aria-label={`${countOf(kind, total)} here`}>
              {countOf(kind, total)}
            </span>
          )}
        </>
      }
      actions={
        <LocationActions
          location={location}
          here={here}
          kind={kind}
          mayUpload={mayUpload}
          onCreate={() => setDialog('new')}
          onUpload={() => openUpload(null)}
        />
      }
    >
      <ExplorerTools
        location={location}
        kind={kind}
        search={explorer.search}
        filters={filters}
        sort={sort}
        view={view}
        columns={explorer.columns}
        visibleColumns={columnChoice.visible}
        dense={density.dense}
        onKind={explorer.changeKind}
        onSearch={change}
        onView={explorer.changeView}
        onToggleColumn={columnChoice.toggle}
        onToggleDensity={density.toggle}
      />
      {active.length > 0 && (
        <FilterChips active={active} filters={filters} onRemove={(id) => change({ [id]: undefined })} />
      )}
      {uploads.length > 0 && <UploadList title="Uploads" uploads={uploads} />}
      {selected.length > 0 && (
        <SelectionActions
          kind={kind}
          entries={selected}
          onAction={setDialog}
          onAll={selection.selectAll}
          onNone={selection.clear}
        />
      )}
      {error && <ListError error={error} onRetry={pages.retry} />}
      <DropArea
        message={mayUpload ? `Drop to upload into ${title}` : 'Open a patient first; then drop the files there'}
        onFiles={dropFiles}
      >
        {total === undefined && !error && <LoadingEntries view={view} />}
        {total === 0 &&
          (explorer.filtered ? (
            <NoMatches title={`No matching ${KIND_TITLES[kind].toLowerCase()}`} onClear={explorer.clear} />
          ) : (
            <EmptyLocation kind={kind} mayUpload={mayUpload} onUpload={() => openUpload(null)} />
          ))}
        {total !== undefined && total > 0 && (
          <EntryGrid
            label={`${KIND_TITLES[kind]} in ${title}`}
            pages={pages}
            total={total}
            selection={selection}
            columns={columnChoice.visible}
            grid={view === 'grid'}
            dense={density.dense}
            withPatient={atRoot}
            withCode={atRoot && kind === 'images'}
            sort={sort}
            onSort={(next) => change({ sort: next })}
            onRange={onRange}
            keys={{
              rename: () => selected.length === 1 && isAllowed('rename', kind, can) && setDialog('rename'),
              remove: () => selected.length > 0 && isAllowed('delete', kind, can) && setDialog('delete'),
              up: openParent,
            }}
          />
        )}
      </DropArea>
      <ExplorerDialogs
        dialog={dialog}
        kind={kind}
        selected={selected}
        here={here}
        pathways={pathways}
        droppedFiles={dropped}
        onClose={() => setDialog(null)}
        onDone={() => {
          selection.clear();
          setDialog(null);
        }}
      />
    </Page>
  );
}

function LoadingEntries({ view }: { view: 'grid' | 'list' }) {
  return (
    <div className={classes.skeletons} aria-busy="true">
      {Array.from({ length: 12 }, (_, index) => (
        <Skeleton key={index} height={view === 'grid' ? 220 : 40} />
      ))}
    </div>
  );
}

type EmptyProps = { kind: EntryKind; mayUpload: boolean; onUpload: () => void };

function EmptyLocation({ kind, mayUpload, onUpload }: EmptyProps) {
  return (
    <EmptyState
      icon={<IconImages size={32} />}
      title={`No ${KIND_TITLES[kind].toLowerCase()} here yet`}
      text={
        mayUpload
          ? 'Drop files, a folder or a ZIP here.'
          : 'A technologist registers patients and uploads their images; they then appear here.'
      }
      action={mayUpload && <Button onClick={onUpload}>Upload here</Button>}
    />
  );
}
