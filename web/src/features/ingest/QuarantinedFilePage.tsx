// SPDX-License-Identifier: Apache-2.0
import { Button, Slider, Textarea } from '@mantine/core';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import type { Box } from '@/api/types';
import { Badge } from '@/components/Badge';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { IconCheck, IconRefresh, IconTrash } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { bytes, capital } from '@/lib/format';
import { DocumentPages } from '@/components/DocumentPages';
import { RedactionEditor } from './RedactionEditor';
import { PatientClaimPanel } from './PatientClaimPanel';
import classes from './boxes.module.css';

const ROUTE_NAMES: Record<string, string> = {
  upload: 'upload',
  folder: 'upload with patients from the files',
  stow: 'DICOMweb (STOW-RS)',
  dimse: 'DICOM (C-STORE)',
  watch: 'a watched folder',
  command: 'the command line',
};

/** A file that waits for a person: what is in doubt, what will be black, and what becomes of it. */
export function QuarantinedFilePage() {
  const { arrivalId } = useParams({ from: '/shell/quarantine/$arrivalId' });
  const { data: file } = useSuspenseQuery({
    queryKey: ['arrivals', 'one', arrivalId],
    queryFn: ({ signal }) => ingest.arrival(arrivalId, signal),
    staleTime: Infinity,
  });
  const [boxes, setBoxes] = useState<Box[]>(file.boxes as Box[]);
  const [frame, setFrame] = useState(1);
  const [note, setNote] = useState('');
  const [missing, setMissing] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState<'release' | 'again' | 'discard' | null>(null);
  const navigate = useNavigate();
  const client = useQueryClient();
  const unassigned = file.patient_id === null;
  const document = file.shown_as === 'document';
  const shown = file.waiting && file.rows > 0 && !document;
  // What a person alone can decide on, although there is no picture of it.
  const decidable = file.waiting && file.code === 'writing' && file.shown_as !== null && !shown;

  const act = async (which: 'release' | 'again' | 'discard') => {
    if (which !== 'again' && !note.trim()) {
      setMissing(which === 'release' ? 'Enter what you checked.' : 'Enter why the file is discarded.');
      return;
    }
    setMissing(null);
    setProblem(null);
    setBusy(which);
    try {
      if (which === 'discard') await ingest.discard(file.id, note);
      else await ingest.release(file.id, { boxes: which === 'release' ? boxes : null, note });
      notifySuccess(which === 'discard' ? 'File deleted' : 'Image accepted');
      await client.invalidateQueries();
      await navigate({ to: '/quarantine' });
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(null);
    }
  };

  return (
    <Page
      title={unassigned ? 'File without a patient' : `File for ${file.patient_code}`}
      heading={
        unassigned ? undefined : (
          <>
            File for <code>{file.patient_code}</code>
          </>
        )
      }
      trail={[{ to: '/quarantine', title: 'Quarantine' }]}
      lead={file.reason ?? undefined}
    >
      <Columns
        left={
          file.waiting && unassigned ? (
            <PatientClaimPanel file={file} />
          ) : (
            <Panel title={document ? 'Received document' : 'Received image'}>
              {shown ? (
                <>
                  <p className={classes.muted} style={{ marginBlockEnd: 12 }}>
                    The areas in yellow boxes are blackened in the stored image. Draw boxes over text that names a
                    person; remove boxes that cover none.
                  </p>
                  <RedactionEditor
                    url={ingest.frameUrl(file.id, frame)}
                    frame={frame}
                    columns={file.columns}
                    rows={file.rows}
                    boxes={boxes}
                    onChange={setBoxes}
                  />
                  {file.frames > 1 && (
                    <div style={{ marginBlockStart: 16 }}>
                      <p className={classes.muted}>
                        Frame {frame} of {file.frames}. Each box applies to one frame.
                      </p>
                      <Slider min={1} max={file.frames} value={frame} onChange={setFrame} thumbLabel="Frame" />
                    </div>
                  )}
                </>
              ) : file.waiting && document && (file.frames > 0 || file.texts.length > 0) ? (
                <>
                  <p className={classes.muted} style={{ marginBlockEnd: 12 }}>
                    Read every page. Parts of a document cannot be blackened: it is accepted as shown, without notes and
                    attachments, or it is not accepted.
                  </p>
                  <DocumentPages
                    pages={file.frames}
                    texts={file.texts}
                    urlOf={(page) => ingest.frameUrl(file.id, page + 1)}
                  />
                </>
              ) : decidable ? (
                <p className={classes.muted}>
                  Its content cannot be displayed here. Release it only if you know that it contains no name and that
                  nobody can be recognized in it.
                </p>
              ) : (
                <p className={classes.muted}>
                  {file.waiting
                    ? 'This file cannot be displayed as an image.'
                    : 'The content of this file is no longer stored.'}
                </p>
              )}
            </Panel>
          )
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  ['State', <State key="state" outcome={file.outcome} waiting={file.waiting} />],
                  file.rows > 0 && !document && ['Pixels', `${file.columns} × ${file.rows}`],
                  file.frames > 1 && [document ? 'Pages' : 'Frames', file.frames],
                  ['Size', bytes(file.size_bytes)],
                  ['Received', <TimeAgo key="at" at={file.created_at} />],
                  ['From', file.peer ? `${file.peer} (${file.by})` : file.by],
                  ['Source', ROUTE_NAMES[file.route] ?? file.route],
                  file.waiting && file.expires_at ? ['Deleted', <TimeAgo key="until" at={file.expires_at} />] : null,
                  file.resolved_by ? ['Resolved by', file.resolved_by] : null,
                  file.resolved_at ? ['Resolved', <TimeAgo key="resolved" at={file.resolved_at} />] : null,
                  file.note ? ['Note', file.note] : null,
                ]}
              />
              {file.image_id && (
                <div className={classes.actions}>
                  <Button component={AppLink} to={`/images/${file.image_id}`} variant="default">
                    Open the image
                  </Button>
                </div>
              )}
            </Panel>
            {file.waiting && !unassigned && (
              <Panel title="Decision">
                <div className={classes.form}>
                  <Textarea
                    label="Note"
                    description="What you checked, or why the file is discarded. Stored with your name."
                    autosize
                    minRows={2}
                    value={note}
                    error={missing}
                    onChange={(event) => {
                      setNote(event.currentTarget.value);
                      setMissing(null);
                    }}
                  />
                  {problem && (
                    <Notice tone="red" title={problem.title}>
                      {problem.detail}
                    </Notice>
                  )}
                  <div className={classes.actions} style={{ marginBlockStart: 0 }}>
                    {(shown || decidable) && (
                      <Button
                        leftSection={<IconCheck size={18} />}
                        loading={busy === 'release'}
                        disabled={busy !== null}
                        onClick={() => void act('release')}
                      >
                        {shown
                          ? `Release with ${boxes.length === 1 ? '1 box' : `${boxes.length} boxes`}`
                          : 'Release as it is'}
                      </Button>
                    )}
                    <Button
                      variant="default"
                      leftSection={<IconRefresh size={18} />}
                      loading={busy === 'again'}
                      disabled={busy !== null}
                      onClick={() => void act('again')}
                    >
                      Process again
                    </Button>
                    <Button
                      variant="default"
                      leftSection={<IconTrash size={18} />}
                      loading={busy === 'discard'}
                      disabled={busy !== null}
                      onClick={() => void act('discard')}
                    >
                      Discard
                    </Button>
                  </div>
                </div>
              </Panel>
            )}
          </>
        }
      />
    </Page>
  );
}

function State({ outcome, waiting }: { outcome: string; waiting: boolean }) {
  if (waiting) return <Badge tone="amber">Waiting</Badge>;
  if (outcome === 'quarantined') return <Badge tone="gray">Deleted after expiry</Badge>;
  return <Badge tone={outcome === 'accepted' ? 'green' : 'gray'}>{capital(outcome)}</Badge>;
}
