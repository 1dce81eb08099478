// SPDX-License-Identifier: Apache-2.0
// Findings: each value once, with the image in which it stands, and what is to become of it.
import { Anchor, Button, Checkbox, Modal, Pagination, SegmentedControl, Textarea } from '@mantine/core';
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { Fragment, useState, type SubmitEvent } from 'react';
import { exports } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Export, ExportFinding } from '@/api/types';
import { AppLink } from '@/components/AppLink';
import { Notice } from '@/components/Notice';
import { Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, plural } from '@/lib/format';
import classes from './export.module.css';

const PAGE_SIZE = 20;
const SINGLE_ONLY = ['known identity', 'cannot be read', 'bit plane', 'curve'];

export function Findings({ row }: { row: Export }) {
  const { can } = useSession();
  const [chosen, setOpen] = useState<boolean | null>(null);
  const open = chosen ?? row.open_findings > 0;
  const [page, setPage] = useState(1);
  const [asked, setAsked] = useState<{ finding: ExportFinding; act: 'clear' | 'exclude' } | null>(null);
  const state = open ? 'open' : undefined;
  const { data } = useQuery({
    queryKey: ['exports', 'findings', row.id, state, page, row.open_findings],
    queryFn: ({ signal }) => exports.findings(row.id, { state, page, page_size: PAGE_SIZE }, signal),
    placeholderData: keepPreviousData,
  });
  const pages = Math.max(1, Math.ceil((data?.total ?? 0) / PAGE_SIZE));
  return (
    <Panel
      title="Findings"
      side={
        <SegmentedControl
          aria-label="Findings to list"
          size="xs"
          data={[
            { value: 'open', label: 'Open' },
            { value: 'all', label: 'All' },
          ]}
          value={open ? 'open' : 'all'}
          onChange={(value) => {
            setOpen(value === 'open');
            setPage(1);
          }}
        />
      }
    >
      {data?.items.length === 0 && <p className={classes.note}>No open findings.</p>}
      <ul className={classes.findings}>
        {data?.items.map((finding) => (
          <Finding
            key={`${finding.id} ${finding.state}`}
            exportId={row.id}
            finding={finding}
            blocked={row.state === 'blocked'}
            mayClear={can('export.clear')}
            seesIdentities={can('identity.read')}
            ask={(act) => setAsked({ finding, act })}
          />
        ))}
      </ul>
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
      {asked && (
        <DecisionDialog
          key={`${asked.finding.id} ${asked.act}`}
          row={row}
          finding={asked.finding}
          act={asked.act}
          onClose={() => {
            setAsked(null);
            setPage(1);
          }}
        />
      )}
    </Panel>
  );
}

type FindingProps = {
  exportId: string;
  finding: ExportFinding;
  blocked: boolean;
  mayClear: boolean;
  seesIdentities: boolean;
  ask: (act: 'clear' | 'exclude') => void;
};

function Finding({ exportId, finding, blocked, mayClear, seesIdentities, ask }: FindingProps) {
  const kinds = capital(finding.kinds.join(', '));
  const picture = (
    <img src={exports.findingPictureUrl(exportId, finding.id, 128)} alt={`Image with: ${finding.kinds.join(', ')}`} />
  );
  const title = `${kinds} in ${finding.places.join(', ')}`;
  return (
    <li className={classes.finding} data-state={finding.state}>
      {finding.image_id && seesIdentities ? (
        <Anchor component={AppLink} to={`/images/${finding.image_id}`} className={classes.thumb}>
          {picture}
        </Anchor>
      ) : finding.image_id ? (
        <span className={classes.thumb}>{picture}</span>
      ) : (
        <span className={classes.thumb} aria-hidden="true" />
      )}
      <div className={classes.findingBody}>
        <strong>{kinds}</strong>
        {finding.excerpt !== null ? (
          <q className={classes.value}>{finding.excerpt}</q>
        ) : (
          <span className={classes.note}>
            {finding.state === 'open'
              ? 'The text is visible only to roles that may see identities.'
              : 'The text is no longer stored.'}
          </span>
        )}
        <span className={classes.note}>
          In <Locations locations={finding.places} />
          {finding.images > 0 && <> of {plural(finding.images, 'image')}</>}
          {finding.patient_code && finding.images === 1 && (
            <>
              {' '}
              of <code>{finding.patient_code}</code>
            </>
          )}
          {finding.images === 0 && ', which describes the whole export'}
        </span>
        {finding.state !== 'open' && (
          <span className={classes.decided}>
            {finding.state === 'cleared' ? 'Cleared' : 'Removed'} by {finding.decided_by}
            {finding.decided_at && (
              <>
                {' '}
                <TimeAgo at={finding.decided_at} />
              </>
            )}
            {finding.note && <>: “{finding.note}”</>}
          </span>
        )}
      </div>
      {finding.state === 'open' && blocked && (
        <div className={classes.findingActions}>
          {mayClear && (
            <Button size="sm" variant="default" onClick={() => ask('clear')} aria-label={`Clear: ${title}`}>
              Clear
            </Button>
          )}
          {finding.images > 0 && (
            <Button size="sm" variant="default" onClick={() => ask('exclude')} aria-label={`Remove: ${title}`}>
              Remove {plural(finding.images, 'image')}
            </Button>
          )}
        </div>
      )}
    </li>
  );
}

function Locations({ locations: locations }: { locations: string[] }) {
  return (
    <>
      {locations.map((location, index) => (
        <Fragment key={location}>
          {index > 0 && ', '}
          <code>{location}</code>
        </Fragment>
      ))}
    </>
  );
}

type DecideProps = { row: Export; finding: ExportFinding; act: 'clear' | 'exclude'; onClose: () => void };

function DecisionDialog({ row, finding, act, onClose }: DecideProps) {
  const client = useQueryClient();
  const [note, setNote] = useState('');
  const [alike, setAlike] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const clearing = act === 'clear';

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (clearing && note.trim().length < 3) {
      setError('Enter why this identifies nobody.');
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      if (clearing) await exports.clear(row.id, finding.id, { note: note.trim(), alike: alike ? 'place' : 'value' });
      else await exports.exclude(row.id, finding.id, note.trim() || null);
      await client.invalidateQueries({ queryKey: ['exports'] });
      onClose();
    } catch (failure) {
      setProblem(asProblem(failure));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal
      opened
      onClose={onClose}
      title={clearing ? 'Clear finding' : `Remove ${plural(finding.images, 'image')} from this export`}
    >
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        <p className={classes.text}>
          {capital(finding.kinds.join(', '))} in <Locations locations={finding.places} />
          {finding.excerpt !== null && (
            <>
              : <q className={classes.value}>{finding.excerpt}</q>
            </>
          )}
        </p>
        <Textarea
          label={clearing ? 'Reason: why it identifies nobody' : 'Reason (optional)'}
          description={clearing ? 'The reason is stored with the export.' : undefined}
          required={clearing}
          autosize
          minRows={2}
          maxLength={2000}
          value={note}
          error={error}
          onChange={(event) => {
            setNote(event.currentTarget.value);
            setError(null);
          }}
          data-autofocus
        />
        {clearing && !finding.kinds.some((kind) => SINGLE_ONLY.some((prefix) => kind.startsWith(prefix))) && (
          <Checkbox
            label={`Clear every ${finding.kinds[0]} at this location, whatever the text`}
            checked={alike}
            onChange={(event) => setAlike(event.currentTarget.checked)}
          />
        )}
        {clearing && finding.images > 1 && !alike && (
          <p className={classes.note}>The same text is cleared in {plural(finding.images, 'image')}.</p>
        )}
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} color={clearing ? undefined : 'red.9'}>
            {clearing ? 'Clear finding' : `Remove ${plural(finding.images, 'image')}`}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
