// SPDX-License-Identifier: Apache-2.0
import { Button, List, Modal, Textarea } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { reports, review } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { caseQuery, pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Case, ReportRow } from '@/api/types';
import { StageBadge } from '@/components/CaseList';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { HistoryList } from '@/components/HistoryList';
import { AppLink } from '@/components/AppLink';
import { IconDownload, IconFlag, IconSign, IconWorklist } from '@/components/icons';
import { ImageGrid } from '@/components/ImageTile';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { age, capital, plural, probability, sex, words } from '@/lib/format';
import { SignDialog } from './SignDialog';
import classes from './SignDialog.module.css';

export function CasePage() {
  const { caseId } = useParams({ from: '/shell/cases/$caseId' });
  const { data } = useSuspenseQuery({
    ...caseQuery(caseId),
    refetchInterval: (query) => {
      const current = query.state.data;
      return current && current.waiting > 0 ? 1_200 : 60_000;
    },
  });
  const report = useReport(data);
  const { can } = useSession();
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const [signing, sign] = useDisclosure(false);
  const [correcting, correct] = useDisclosure(false);
  const title = pathways.find((entry) => entry.name === data.pathway)?.title ?? capital(words(data.pathway));
  const readable = can('verdict.give') && data.allowed.verdict && !data.signed_at;

  return (
    <Page
      title={`Case of ${data.patient_code}`}
      heading={
        <>
          Case of <code>{data.patient_code}</code> <StageBadge row={data} />
        </>
      }
      lead={`${title}${data.version > 1 ? `, version ${data.version}` : ''}`}
      trail={[{ to: '/cases', title: 'Cases' }]}
      actions={
        <>
          {readable && (data.images > data.verified || data.version > 1) && (
            <Button
              component={AppLink}
              to={`/worklist?case_id=${data.id}`}
              variant={data.images > data.verified ? 'filled' : 'default'}
              leftSection={<IconWorklist size={18} />}
            >
              Read images
            </Button>
          )}
          {data.allowed.sign && !data.signed_at && (
            <Button
              variant={data.blockers.length === 0 ? 'filled' : 'default'}
              leftSection={<IconSign size={18} />}
              onClick={sign.open}
            >
              Sign case
            </Button>
          )}
          {report && (
            <Button component="a" href={reports.pdfUrl(data.id)} download leftSection={<IconDownload size={18} />}>
              Download report
            </Button>
          )}
          {data.allowed.correct && (
            <Button variant="default" leftSection={<IconFlag size={18} />} onClick={correct.open}>
              Correct case
            </Button>
          )}
        </>
      }
    >
      {data.superseded_by_id && (
        <Notice title="A later version corrects this case">
          <Link to="/cases/$caseId" params={{ caseId: data.superseded_by_id }}>
            Open version {data.version + 1}
          </Link>
        </Notice>
      )}
      {!data.signed_at && data.blockers.length > 0 && (
        <Notice title="Before this case can be signed">
          <List size="sm">
            {data.blockers.map((blocker) => (
              <List.Item key={blocker}>{blocker}</List.Item>
            ))}
          </List>
        </Notice>
      )}
      <Columns
        left={
          <>
            {data.sign_note && (
              <Panel title="Conclusion">
                <p className={classes.conclusion} dir="auto">
                  {data.sign_note}
                </p>
              </Panel>
            )}
            <Panel title="Images" side={<span>{verifiedWords(data)}</span>}>
              <ImageGrid
                images={data.images_list}
                showPatient={false}
                toOf={readable ? (image) => `/worklist?case_id=${data.id}&image=${image.id}` : undefined}
              />
            </Panel>
          </>
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  [
                    'Patient',
                    <Link key="patient" to="/patients/$patientId" params={{ patientId: data.patient_id }}>
                      <code>{data.patient_code}</code>
                    </Link>,
                  ],
                  ['Sex, age', `${sex(data.patient_sex)}, ${age(data.patient_age)}`],
                  ['Project', data.project],
                  ['Threshold', data.limit === 'learned' ? 'learned by the classifier' : probability(data.threshold)],
                  ['Opened', <TimeAgo key="opened" at={data.opened_at} />],
                  data.signed_at !== null && ['Signed', <TimeAgo key="signed" at={data.signed_at} />],
                  data.signed_by !== null && ['Signed by', data.signed_by],
                  data.supersedes_id !== null && [
                    'Corrects',
                    <Link key="old" to="/cases/$caseId" params={{ caseId: data.supersedes_id }}>
                      version {data.version - 1}
                    </Link>,
                  ],
                  report !== null && ['Report', <TimeAgo key="issued" at={report.issued_at} />],
                  report !== null && [
                    'Report digest',
                    <CopyableCode key="digest" value={report.digest} label="the digest" maxLength={16} />,
                  ],
                ]}
              />
              {data.signed_at && !report && <p role="status">The report is being issued.</p>}
            </Panel>
            <Panel title="History">
              <HistoryList entries={data.history} images={data.images_list} />
            </Panel>
          </>
        }
      />
      <SignDialog
        caseId={data.id}
        opened={signing}
        onClose={sign.close}
        onSigned={(signed) => notifySuccess(`Case of ${signed.patient_code} is signed`, 'The report is being issued.')}
      />
      <CorrectDialog case_={data} opened={correcting} onClose={correct.close} />
    </Page>
  );
}

/** The report of a signed case; it is issued a moment after the signature. */
function useReport(data: Case): ReportRow | null {
  const { data: report } = useQuery({
    queryKey: ['reports', 'of-case', data.id],
    queryFn: async ({ signal }) => {
      const page = await reports.list({ case_id: data.id }, signal);
      return page.items[0] ?? null;
    },
    enabled: data.signed_at !== null,
    refetchInterval: (query) => (query.state.data ? false : 1_000),
  });
  return report ?? null;
}

function verifiedWords(data: Case): string {
  const parts = [`${data.verified} of ${plural(data.images, 'image')} verified`];
  if (data.uncertain > 0) parts.push(`${data.uncertain} uncertain`);
  if (data.waiting > 0) parts.push(`${data.waiting} waiting for the classifier`);
  return parts.join(', ');
}

function CorrectDialog({ case_, opened, onClose }: { case_: Case; opened: boolean; onClose: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [reason, setReason] = useState('');
  const [missing, setMissing] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const problem = error ? asProblem(error) : null;

  const submit = async () => {
    setMissing(reason.trim() === '');
    if (reason.trim() === '') return;
    setBusy(true);
    setError(null);
    try {
      const corrected = await review.correct(case_.id, reason.trim(), case_.etag);
      await client.invalidateQueries({ queryKey: ['cases'] });
      onClose();
      notifySuccess(`Version ${corrected.version} is open`, 'Change the wrong verdicts, then sign it.');
      await navigate({ to: '/cases/$caseId', params: { caseId: corrected.id } });
    } catch (refused) {
      setError(refused);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal opened={opened} onClose={onClose} title={`Correct the case of ${case_.patient_code}`}>
      <div className={classes.body}>
        <p className={classes.facts}>
          The signed version {case_.version} and its report are not changed. A new version opens with the same verdicts,
          refers to the old one, and must be signed.
        </p>
        <Textarea
          label="Reason"
          description="Shown in the history and in the new report."
          required
          withAsterisk
          autosize
          minRows={2}
          data-autofocus
          value={reason}
          error={missing && reason.trim() === '' ? 'Enter what is corrected and why.' : undefined}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button loading={busy} onClick={() => void submit()}>
            Open version {case_.version + 1}
          </Button>
        </div>
      </div>
    </Modal>
  );
}
