// SPDX-License-Identifier: Apache-2.0
import { Button, Skeleton, Textarea } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { records } from '@/api/calls';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import { DetailList } from '@/components/DetailList';
import { Notice } from '@/components/Notice';
import { notifyProblem, notifySuccess } from '@/components/notify';
import { dateTime, plural } from '@/lib/format';
import { countDetails } from './erasureCounts';
import classes from './records.module.css';

type Props = { patientId: string; code: string; opened: boolean; onClose: () => void };

/** Shows all that an erasure destroys, and asks for the reason; the second of two people sees the first one's reason. */
export function EraseDialog({ patientId, code, opened, onClose }: Props) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [reason, setReason] = useState('');
  const previewKey = ['patients', 'erasure', patientId];
  const { data: preview } = useQuery({
    queryKey: previewKey,
    queryFn: ({ signal }) => records.erasurePreview(patientId, signal),
    enabled: opened,
    refetchOnMount: 'always',
  });
  const request = preview?.request ?? null;
  const asks = preview?.needs_second_person === true && request === null;

  const withdraw = async () => {
    try {
      await records.withdrawErasure(patientId);
      notifySuccess('Request withdrawn', `Patient ${code} stays.`);
    } catch (error) {
      notifyProblem(error, 'The request was not withdrawn');
    }
    await client.invalidateQueries({ queryKey: previewKey });
  };

  const erase = async () => {
    const answer = await records.erasePatient(patientId, request?.reason ?? reason);
    setReason('');
    if (!('certificate_id' in answer)) {
      await client.invalidateQueries({ queryKey: previewKey });
      notifySuccess('Erasure requested', 'A second administrator of the project must erase the patient.');
      return;
    }
    client.removeQueries({ queryKey: ['patients', 'one', patientId] });
    await navigate({ to: '/erasures/$erasureId', params: { erasureId: answer.certificate_id } });
    await client.invalidateQueries();
    notifySuccess(`Patient ${answer.code} is erased`, `${plural(answer.images, 'image')} destroyed.`);
  };

  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title={`Erase patient ${code}`}
      codeName="code"
      code={code}
      confirmLabel={asks ? 'Request erasure' : 'Erase patient'}
      disabled={!preview || request?.mine === true || (request === null && !reason.trim())}
      onConfirm={erase}
      consequence={
        <Consequence
          code={code}
          preview={preview}
          reason={reason}
          setReason={setReason}
          withdraw={() => void withdraw()}
        />
      }
    />
  );
}

// What a person may want to keep; the rest are records that Medhub made of it.
const FIRST = ['reports', 'cases', 'verdicts', 'images', 'studies', 'exports', 'quarantined_files', 'identities'];

function Contents({ contents }: { contents: Preview['contents'] }) {
  const rest = Object.fromEntries(Object.entries(contents).filter(([name]) => !FIRST.includes(name)));
  return (
    <>
      <DetailList details={countDetails(Object.fromEntries(FIRST.map((name) => [name, contents[name]])))} />
      <details>
        <summary>Technical records</summary>
        <DetailList details={countDetails(rest)} />
      </details>
    </>
  );
}

type Preview = Awaited<ReturnType<typeof records.erasurePreview>>;
type ConsequenceProps = {
  code: string;
  preview: Preview | undefined;
  reason: string;
  setReason: (reason: string) => void;
  withdraw: () => void;
};

function Consequence({ code, preview, reason, setReason, withdraw }: ConsequenceProps) {
  const request = preview?.request ?? null;
  return (
    <div style={{ display: 'grid', gap: 14 }}>
      <div>This destroys the following data of {code}. It cannot be undone.</div>
      {preview ? <Contents contents={preview.contents} /> : <Skeleton height={140} />}
      {preview && Number(preview.contents.reports ?? 0) > 0 && (
        <Notice title="Signed reports are destroyed too">
          Keep printed or sent copies if the law requires it: they cannot be checked against this server any more.
        </Notice>
      )}
      {request ? (
        <Notice title={request.mine ? 'You requested this erasure' : `Requested by ${request.requested_by}`}>
          {dateTime(request.requested_at)}: {request.reason}
          {request.mine && <div>Another administrator of the project must erase the patient.</div>}
          <div style={{ marginBlockStart: 8 }}>
            <Button size="compact-sm" variant="default" onClick={withdraw}>
              {request.mine ? 'Withdraw request' : 'Reject request'}
            </Button>
          </div>
        </Notice>
      ) : (
        <Textarea
          label="Reason"
          data-autofocus
          description="It stays in the certificate: do not name the patient in it."
          withAsterisk
          autosize
          minRows={2}
          maxLength={2000}
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
      )}
      {preview?.needs_second_person && !request && (
        <p className={classes.muted}>
          This project erases patients by two people: you request it, a second administrator erases.
        </p>
      )}
    </div>
  );
}
