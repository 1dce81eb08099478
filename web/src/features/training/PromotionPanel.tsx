// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, Textarea } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { training } from '@/api/calls';
import { useSession } from '@/api/session';
import type { PathwayClassifiers, Promotion } from '@/api/types';
import { Badge } from '@/components/Badge';
import { notifyProblem, notifySuccess } from '@/components/notify';
import { Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { RowTable } from '@/components/RowTable';
import { capital } from '@/lib/format';
import classes from './training.module.css';

import { Checks } from './CriterionChecks';
import { useRefresh } from './useRefresh';

export function PromotionPanel({ state }: { state: PathwayClassifiers }) {
  const refresh = useRefresh();
  const [busy, setBusy] = useState(false);
  const { data } = useQuery({
    queryKey: ['training', 'promotions', state.pathway, state.project_id],
    queryFn: ({ signal }) =>
      training.promotions({ pathway: state.pathway, project_id: state.project_id, page_size: 20 }, signal),
  });
  const waiting = data?.items.find((promotion) => promotion.state === 'waiting');
  const decided = (data?.items ?? []).filter((promotion) => promotion.state !== 'waiting');
  const requestPromotion = async () => {
    if (!state.shadow) return;
    setBusy(true);
    try {
      await training.requestPromotion({
        digest: state.shadow.digest,
        pathway: state.pathway,
        project_id: state.project_id,
      });
      await refresh();
      notifySuccess('Promotion requested', 'Another administrator, whose account is not from you, approves it.');
    } catch (error) {
      notifyProblem(error, 'The promotion was not requested');
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title="Promotion">
      <div className={classes.reader}>
        {waiting ? (
          <PendingPromotion promotion={waiting} />
        ) : state.shadow && state.checks ? (
          <>
            <p className={classes.text}>
              {state.shadow.classifier} compared with {state.in_use.classifier} on the same signed images:
            </p>
            <Checks checks={state.checks} />
            {state.checks.some((check) => !check.met) && (
              <p className={classes.note}>
                You can request the promotion now, but it can be approved only when every limit is met. Images of
                patients in its training data do not count. Each newly signed case is added.
              </p>
            )}
            <div className={classes.buttons}>
              <Button loading={busy} onClick={() => void requestPromotion()}>
                Request promotion
              </Button>
            </div>
          </>
        ) : (
          <p className={classes.note}>
            {state.shadow
              ? 'No limits are set. An administrator sets them before a promotion can be requested.'
              : 'A classifier in shadow mode can be promoted: one person requests it, and a different administrator approves it.'}
          </p>
        )}
        {decided.length > 0 && (
          <RowTable
            name="Decided promotions"
            headers={['Classifier', 'Decision', 'Requested by', 'Decided by', 'When', 'Reason']}
            rows={decided.map((promotion) => [
              <Link key="name" to="/classifiers/$digest" params={{ digest: promotion.digest }}>
                {promotion.classifier}
              </Link>,
              <Badge key="state" tone={promotion.state === 'approved' ? 'green' : 'gray'}>
                {capital(promotion.state)}
              </Badge>,
              promotion.requested_by,
              promotion.decided_by ?? '–',
              <TimeAgo key="when" at={promotion.decided_at} />,
              promotion.reason ?? '–',
            ])}
          />
        )}
      </div>
    </Panel>
  );
}

function PendingPromotion({ promotion }: { promotion: Promotion }) {
  const { can } = useSession();
  const refresh = useRefresh();
  const [deciding, setDeciding] = useState<'approve' | 'reject' | null>(null);
  const approving = deciding === 'approve';
  const [reason, setReason] = useState('');
  const close = () => {
    setDeciding(null);
    setReason('');
  };
  const [busy, setBusy] = useState(false);
  const act = async (what: () => Promise<unknown>, done: string) => {
    setBusy(true);
    try {
      await what();
      await refresh();
      close();
      notifySuccess(done);
    } catch (error) {
      notifyProblem(error, 'The decision was not saved');
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <p className={classes.text}>
        {promotion.requested_by} requested the promotion of <strong>{promotion.classifier}</strong>{' '}
        <TimeAgo at={promotion.requested_at} />. The limits were set by {promotion.limits_fixed_by}{' '}
        <TimeAgo at={promotion.limits_fixed_at} />.
      </p>
      <Checks checks={promotion.checks} />
      {can('promotion.decide') ? (
        <>
          {promotion.mine && (
            <p className={classes.note}>You requested it yourself; another administrator must approve it.</p>
          )}
          {!promotion.keeps_limits && (
            <p className={classes.note}>Not every limit is met, so it cannot be approved now.</p>
          )}
          <div className={classes.buttons}>
            <Button
              loading={busy}
              disabled={promotion.mine || !promotion.keeps_limits}
              onClick={() => setDeciding('approve')}
            >
              Approve promotion
            </Button>
            <Button variant="default" disabled={busy} onClick={() => setDeciding('reject')}>
              Reject
            </Button>
          </div>
        </>
      ) : (
        <p className={classes.note}>An administrator approves or rejects it.</p>
      )}
      <Modal
        opened={deciding !== null}
        onClose={close}
        title={`${approving ? 'Approve' : 'Reject'} ${promotion.classifier}`}
      >
        <form
          className={classes.form}
          onSubmit={(event) => {
            event.preventDefault();
            void (approving
              ? act(() => training.approve(promotion.id, reason.trim()), `${promotion.classifier} is in use now`)
              : act(() => training.reject(promotion.id, reason.trim()), 'Promotion rejected'));
          }}
        >
          {approving && (
            <p className={classes.text}>
              New images are classified by {promotion.classifier} from now on. Its predictions are shown to reviewers.
            </p>
          )}
          <Textarea
            label="Reason"
            required
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            minRows={2}
            autosize
            data-autofocus
          />
          <div className={`${classes.buttons} ${classes.end}`}>
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={busy} disabled={!reason.trim()}>
              {approving ? 'Approve promotion' : 'Reject'}
            </Button>
          </div>
        </form>
      </Modal>
    </>
  );
}
