// SPDX-License-Identifier: Apache-2.0
// Patients, studies, series and images as folders: walked through, searched, sorted, moved, filled by dropping files.
import { ActionIcon, Button, SegmentedControl, Select, Skeleton, Tooltip } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useCallback, useEffect, useRef, useState, useSyncExternalStore, type DragEvent } from 'react';
import { records } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { fieldsQuery, pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { EmptyState } from '@/components/EmptyState';
import { Go } from '@/components/Go';
import { IconDensity, IconGrid, IconImages, IconList, IconPlus, IconSearch, IconUpload } from '@/components/icons';
import { Chips, ColumnChoice, FilterField, SearchField } from '@/components/ListTools';
import { Notice } from '@/components/Notice';
import { tellSuccess } from '@/components/notify';
import { Page } from '@/components/Page';
import { droppedFiles } from '@/lib/droppedFiles';
import { remember, remembered } from '@/lib/remembered';
import { OrderDialog } from '../../export/OrderDialog';
import { UploadList } from '../../ingest/UploadList';
import { isDone, uploadQueue } from '../../ingest/uploadQueue';
import { StudyDialog } from '../StudyDialog';
import { Acts, mayDo, type Act } from './Acts';
import { columnsOf } from './columns';
import { DeleteDialog } from './DeleteDialog';
import { countOf, DEFAULT_SORT, KIND_TITLES, ONE_OF, type Entry, type Kind } from './entries';
import classes from './explorer.module.css';
import { filtersOf } from './filters';
import { Items } from './Items';
import { MoveDialog } from './MoveDialog';
import { kindOf, kindsAt, placeOf, scopeOf } from './place';
import { NewSeriesDialog, RenameDialog } from './SmallDialog';
import { upload, UploadDialog } from './UploadDialog';
import { usePages } from './usePages';
import { usePlace } from './usePlace';
import { useSelection } from './useSelection';

const NO_FIELDS = 'none';

export function ExplorerPage() {
  const { projectId, homeProjectId, can, memberships } = useSession();
  const search = useSearch({ strict: false });
  const navigate = useNavigate();
  const place = placeOf(search);
  const kind = kindOf(search, place);
  const { data: here, error: lost } = usePlace(place);
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const subject = kind === 'patients' ? 'patient' : 'study';
  const withFields = kind === 'patients' || kind === 'studies';
  const project = here?.projectId ?? projectId ?? homeProjectId;
  const { data: defined = [] } = useQuery({ ...fieldsQuery(project, subject), enabled: withFields });
  const fields = withFields ? defined : [];
  const filters = filtersOf(kind, fields, pathways);
  const known = new Set(filters.map((filter) => filter.id));
  const active = Object.entries(search).filter(([name, value]) => known.has(name) && value);
  const sort = search.sort ?? DEFAULT_SORT[kind];
  const grid = search.view ? search.view !== 'list' : remembered<string>('explorer.view', 'grid') !== 'list';
  const query = {
    ...scopeOf(place),
    ...(place.level === 'root' ? { project_id: projectId } : {}),
    ...Object.fromEntries(active),
    query: search.query,
    sort,
  };
  const where = JSON.stringify([kind, query]);

  const [range, setRange] = useState({ from: 0, to: 0 });
  const onRange = useCallback((from: number, to: number) => setRange({ from, to }), []);
  const pages = usePages(kind, query, range.from, range.to);
  const selection = useSelection(pages, where);
  const chosen = [...selection.chosen.values()];
  const [act, setAct] = useState<Act | 'new' | 'upload' | null>(null);
  const [dropped, setDropped] = useState<File[] | null>(null);
  const [over, setOver] = useState(false);
  const [dense, setDense] = useState(() => remembered('list.dense', false));
  const [shown, setShown] = useState<Record<string, boolean>>(() => remembered(`explorer.${kind}.columns`, {}));
  useEffect(() => setShown(remembered(`explorer.${kind}.columns`, {})), [kind]);
  useEffect(() => {
    // Some browsers answer with a promise, which is no way to end an effect.
    document.getElementById('main')?.scrollTo({ top: 0 });
  }, [where]);

  const columns = columnsOf(kind, fields).filter((column) => !(column.id === 'patient' && place.level !== 'root'));
  const visible = columns.filter((column, index) => index === 0 || (shown[column.id] ?? !column.hidden));
  const sorts = columns.flatMap((column) =>
    column.sort
      ? [
          { value: column.sort, label: sortWords(column.sort, column.header, false) },
          { value: `-${column.sort}`, label: sortWords(column.sort, column.header, true) },
        ]
      : [],
  );

  const go = (patch: Record<string, string | undefined>, replace = false) =>
    void navigate({
      to: '/images',
      search: (before: Record<string, string | undefined>) => ({ ...before, ...patch }),
      replace,
    } as never);
  const up = () => {
    const above = here?.trail.at(-1);
    if (!above) return;
    void navigate({
      to: '/images',
      search: Object.fromEntries(new URLSearchParams(above.to.split('?')[1] ?? '')),
    } as never);
  };

  const uploads = useUploads();
  const mayUpload = can('upload') && place.level !== 'root' && here !== undefined;
  const take = (files: File[]) => {
    if (!here || files.length === 0) return;
    const only = here.study?.pathway ?? (pathways.length === 1 ? pathways[0]?.name : undefined);
    if (only) void upload(files, here, only);
    else {
      setDropped(files);
      setAct('upload');
    }
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    if (mayUpload) void droppedFiles(event.dataTransfer).then(take);
    else if (can('upload'))
      tellSuccess('Open a patient first', 'Then drop the files there, so that they are somebody’s.');
  };

  const title = here?.title ?? (place.level === 'root' ? 'Images' : '…');
  const filtered = active.length > 0 || Boolean(search.query);
  const problem = pages.error ?? lost;
  const creates = NEW_OF[kind];

  return (
    <Page
      title={title}
      trail={here?.trail}
      heading={
        <>
          {place.level === 'patient' ? <code>{title}</code> : title}
          {pages.total !== undefined && (
            <span className={classes.count} aria-label={`${countOf(kind, pages.total)} here`}>
              {countOf(kind, pages.total)}
            </span>
          )}
        </>
      }
      actions={
        <>
          {place.level === 'patient' && (
            <Button component={Go} to={`/patients/${place.id}`} variant="default">
              Patient page
            </Button>
          )}
          {here?.study && (
            <Button component={Go} to={`/studies/${here.study.id}`} variant="default">
              Study page
            </Button>
          )}
          {can('write-records') && creates === place.level && (
            <>
              {kind === 'patients' ? (
                <Button component={Go} to="/patients/new" variant="default" leftSection={<IconPlus size={18} />}>
                  New patient
                </Button>
              ) : (
                <Button variant="default" leftSection={<IconPlus size={18} />} onClick={() => setAct('new')}>
                  New {ONE_OF[kind]}
                </Button>
              )}
            </>
          )}
          {mayUpload && (
            <Button
              leftSection={<IconUpload size={18} />}
              onClick={() => {
                setDropped(null);
                setAct('upload');
              }}
            >
              Upload here
            </Button>
          )}
        </>
      }
    >
      <div className={classes.bar}>
        <SegmentedControl
          aria-label="What is shown"
          value={kind}
          onChange={(show) =>
            go({ show: show === kindsAt(place)[0] ? undefined : show, sort: undefined, ...without(known) })
          }
          data={kindsAt(place).map((one) => ({ value: one, label: KIND_TITLES[one] }))}
        />
        <SearchField
          key={`${place.id} ${kind}`} // what is still being typed belongs to the place that was left
          label={SEARCHED[kind]}
          value={search.query ?? ''}
          onChange={(text) => go({ query: text || undefined }, true)}
        />
        {filters.map((filter) => (
          <FilterField
            key={filter.id}
            filter={filter}
            value={search[filter.id] ?? ''}
            onChange={(value) => go({ [filter.id]: value || undefined })}
          />
        ))}
        <div className={classes.tools}>
          {grid ? (
            <Select
              aria-label="Sorted by"
              w={190}
              data={sorts}
              value={sort}
              onChange={(value) => go({ sort: value ?? undefined })}
            />
          ) : (
            <>
              <ColumnChoice
                columns={columns}
                shown={new Set(visible.map((column) => column.id))}
                onChange={(id, on) => {
                  const next = { ...shown, [id]: on };
                  setShown(next);
                  remember(`explorer.${kind}.columns`, next);
                }}
              />
              <Tooltip label={dense ? 'Wider rows' : 'Denser rows'}>
                <ActionIcon
                  variant="default"
                  size={36}
                  aria-label="Dense rows"
                  aria-pressed={dense}
                  onClick={() => {
                    setDense(!dense);
                    remember('list.dense', !dense);
                  }}
                >
                  <IconDensity />
                </ActionIcon>
              </Tooltip>
            </>
          )}
          <SegmentedControl
            aria-label="How it is shown"
            value={grid ? 'grid' : 'list'}
            onChange={(view) => {
              remember('explorer.view', view);
              go({ view }, true);
            }}
            data={[
              { value: 'grid', label: <ViewName icon={<IconGrid size={16} />} name="Grid" /> },
              { value: 'list', label: <ViewName icon={<IconList size={16} />} name="List" /> },
            ]}
          />
        </div>
      </div>
      {active.length > 0 && (
        <Chips active={active as [string, string][]} filters={filters} onRemove={(id) => go({ [id]: undefined })} />
      )}
      {uploads.length > 0 && <UploadList title="Uploads" uploads={uploads} />}
      {chosen.length > 0 && (
        <Acts kind={kind} chosen={chosen} onAct={setAct} onAll={selection.all} onNone={selection.none} />
      )}
      {problem && (
        <Notice tone="red" title={asProblem(problem).title}>
          <div>{asProblem(problem).detail}</div>
          <Button mt="sm" size="xs" variant="default" onClick={pages.retry}>
            Try again
          </Button>
        </Notice>
      )}
      <div
        className={classes.area}
        onDragOver={(event) => {
          if (!event.dataTransfer.types.includes('Files')) return;
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
        }}
        onDrop={drop}
      >
        {over && (
          <div className={classes.over}>
            {mayUpload ? `Let go to upload into ${title}` : 'Open a patient first; then drop the files there'}
          </div>
        )}
        {pages.total === undefined && !problem && (
          <div className={classes.skeletons} aria-busy="true">
            {Array.from({ length: 12 }, (_, index) => (
              <Skeleton key={index} height={grid ? 220 : 40} />
            ))}
          </div>
        )}
        {pages.total === 0 && (
          <Empty
            kind={kind}
            filtered={filtered}
            mayUpload={mayUpload}
            onUpload={() => setAct('upload')}
            onClear={() => go(without(known, 'query'))}
          />
        )}
        {pages.total !== undefined && pages.total > 0 && (
          <Items
            label={`${KIND_TITLES[kind]} in ${title}`}
            pages={pages}
            total={pages.total}
            selection={selection}
            columns={visible}
            grid={grid}
            dense={dense}
            withPatient={place.level === 'root'}
            withCode={place.level === 'root' && kind === 'images'}
            sort={sort}
            onSort={(next) => go({ sort: next })}
            onRange={onRange}
            keys={{
              rename: () => chosen.length === 1 && mayDo('rename', kind, can) && setAct('rename'),
              remove: () => chosen.length > 0 && mayDo('delete', kind, can) && setAct('delete'),
              up,
            }}
          />
        )}
      </div>
      <Dialogs
        act={act}
        chosen={chosen}
        kind={kind}
        close={() => setAct(null)}
        done={() => {
          selection.none();
          setAct(null);
        }}
        projectId={project ?? memberships[0]?.project_id ?? NO_FIELDS}
      />
      {act === 'upload' && here && (
        <UploadDialog here={here} pathways={pathways} files={dropped} onClose={() => setAct(null)} />
      )}
      {act === 'new' && here && kind === 'studies' && (
        <NewStudyDialog projectId={here.projectId} patientId={here.patient.id} onClose={() => setAct(null)} />
      )}
      {act === 'new' && here?.study && kind === 'series' && (
        <NewSeriesDialog studyId={here.study.id} onClose={() => setAct(null)} />
      )}
    </Page>
  );
}

/** At which level something of a kind is made. */
const NEW_OF: Record<Kind, string> = { patients: 'root', studies: 'patient', series: 'study', images: '' };

const SEARCHED: Record<Kind, string> = {
  patients: 'Search code, field, or any UID',
  studies: 'Search description, code or UID',
  series: 'Search description, modality or UID',
  images: 'Search code, study or UID',
};

function sortWords(sort: string, header: string, descending: boolean): string {
  if (sort === 'created_at') return descending ? 'Newest first' : 'Oldest first';
  return `${header}, ${descending ? 'descending' : 'ascending'}`;
}

const without = (names: Iterable<string>, ...more: string[]) =>
  Object.fromEntries([...names, ...more].map((name) => [name, undefined]));

/** The uploads, with the lists refreshed now and then while they go on. */
function useUploads() {
  const uploads = useSyncExternalStore(uploadQueue.subscribe, uploadQueue.snapshot);
  const client = useQueryClient();
  const stored = uploads.filter((one) => one.state === 'accepted').length;
  const busy = uploads.some((one) => !isDone(one.state));
  const refreshed = useRef({ stored: 0, at: 0 });
  useEffect(() => {
    if (stored <= refreshed.current.stored) {
      refreshed.current.stored = stored;
      return;
    }
    const refresh = () => {
      refreshed.current = { stored, at: Date.now() };
      for (const key of ['patients', 'studies', 'series', 'images']) void client.invalidateQueries({ queryKey: [key] });
    };
    const timer = setTimeout(refresh, busy ? Math.max(0, refreshed.current.at + 3_000 - Date.now()) : 0);
    return () => clearTimeout(timer);
  }, [stored, busy, client]);
  useEffect(() => {
    if (!busy) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [busy]);
  return uploads;
}

function ViewName({ icon, name }: { icon: React.ReactNode; name: string }) {
  return (
    <span className={classes.named}>
      {icon}
      {name}
    </span>
  );
}

type EmptyProps = {
  kind: Kind;
  filtered: boolean;
  mayUpload: boolean;
  onUpload: () => void;
  onClear: () => void;
};

function Empty({ kind, filtered, mayUpload, onUpload, onClear }: EmptyProps) {
  if (filtered) {
    return (
      <EmptyState
        icon={<IconSearch size={32} />}
        title={`No ${KIND_TITLES[kind].toLowerCase()} are found by this`}
        text="Search for a part of a code or description, or for a whole identifier."
        action={
          <Button variant="default" onClick={onClear}>
            Take the search away
          </Button>
        }
      />
    );
  }
  return (
    <EmptyState
      icon={<IconImages size={32} />}
      title={`No ${KIND_TITLES[kind].toLowerCase()} here yet`}
      text={
        mayUpload
          ? 'Drop files, a whole folder or a ZIP here.'
          : 'A technologist registers patients and uploads their images; they then appear here.'
      }
      action={mayUpload && <Button onClick={onUpload}>Upload here</Button>}
    />
  );
}

type DialogsProps = {
  act: string | null;
  chosen: Entry[];
  kind: Kind;
  close: () => void;
  done: () => void;
  projectId: string;
};

function Dialogs({ act, chosen, kind, close, done, projectId }: DialogsProps) {
  const only = chosen[0];
  if (!only) return null;
  switch (act) {
    case 'rename':
      return <RenameDialog key={only.id} entry={only} onClose={close} />;
    case 'move':
      return <MoveDialog entries={chosen} onClose={close} onDone={done} />;
    case 'delete':
      return <DeleteDialog entries={chosen} onClose={close} onDone={done} />;
    case 'export':
      return (
        <OrderDialog
          opened
          onClose={close}
          picked={{
            kind,
            ids: chosen.map((entry) => entry.id),
            words: countOf(kind, chosen.length),
            projectId: only.row.project_id ?? projectId,
          }}
        />
      );
    default:
      return null;
  }
}

function NewStudyDialog({
  projectId,
  patientId,
  onClose,
}: {
  projectId: string;
  patientId: string;
  onClose: () => void;
}) {
  const { data: fields } = useQuery(fieldsQuery(projectId, 'study'));
  if (!fields) return null;
  return (
    <StudyDialog
      title="New study"
      verb="Make study"
      start={{ description: '', fields: {} }}
      fields={fields}
      onClose={onClose}
      save={async (draft) => {
        await records.addStudy({ patient_id: patientId, ...draft });
        tellSuccess('The study is made');
      }}
    />
  );
}
