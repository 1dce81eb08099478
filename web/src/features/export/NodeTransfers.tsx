// SPDX-License-Identifier: Apache-2.0
import { Button, Progress, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { exports } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import type { Export } from '@/api/types';
import { Notice } from '@/components/Notice';
import { Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { count } from '@/lib/format';
import classes from './export.module.css';

/** A finished export of DICOM files can be sent on to a node; what was sent, and how far each time is. */
export function NodeTransfers({ row }: { row: Export }) {
  const key = ['exports', 'sendings', row.id];
  const { data = [] } = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => exports.sendings(row.id, signal),
    refetchInterval: (query) => (query.state.data?.some((transfer) => transfer.finished_at === null) ? 1_000 : false),
  });
  const [node, setNode] = useState('');
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const client = useQueryClient();

  const send = async () => {
    setProblem(null);
    setBusy(true);
    try {
      await exports.send(row.id, node.trim());
      await client.invalidateQueries({ queryKey: key });
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Panel title="Send to a DICOM node">
      <div style={{ display: 'grid', gap: 12 }}>
        <p className={classes.note}>Sends the scanned objects of this export to a DICOM node of the project.</p>
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: 8, alignItems: 'end' }}>
          <TextInput
            label="AE title"
            placeholder="ARCHIVE"
            maxLength={16}
            w={200}
            value={node}
            onChange={(event) => setNode(event.currentTarget.value)}
          />
          <Button loading={busy} disabled={!node.trim()} onClick={() => void send()}>
            Send
          </Button>
        </div>
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {data.map((transfer) => (
          <div key={transfer.created_at + transfer.node} role="status">
            <p>
              <code>{transfer.node}</code>: {count(transfer.done)} of {count(transfer.total)} objects
              {transfer.state === 'waiting' ? ', waiting' : ''},{' '}
              <TimeAgo at={transfer.finished_at ?? transfer.created_at} />
            </p>
            {transfer.finished_at === null && (
              <Progress
                value={transfer.total ? (100 * transfer.done) / transfer.total : 0}
                aria-label={`Sent to ${transfer.node}`}
              />
            )}
            {transfer.failure && (
              <Notice tone={transfer.state === 'failed' ? 'red' : undefined} title="Not all objects were accepted">
                {transfer.failure}
              </Notice>
            )}
          </div>
        ))}
      </div>
    </Panel>
  );
}
