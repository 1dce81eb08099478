// SPDX-License-Identifier: Apache-2.0
import { Button, Skeleton } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ingest } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { DicomNode } from '@/api/types';
import { Badge } from '@/components/Badge';
import { EmptyState } from '@/components/EmptyState';
import { DetailList } from '@/components/DetailList';
import { IconCircleCheck, IconCircleCross, IconDevice, IconPencil, IconPlus, IconTrash } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { Page, Panel } from '@/components/Page';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import { NodeDialog } from './NodeDialog';
import classes from './nodes.module.css';

type Editing = { node: DicomNode | null };

export function NodesPage() {
  const { projectId, homeProjectId } = useSession();
  const wanted = projectId ?? homeProjectId;
  const client = useQueryClient();
  const [editing, setEditing] = useState<Editing | null>(null);
  const [removing, setRemoving] = useState<DicomNode | null>(null);
  const listener = useQuery({ queryKey: ['nodes', 'listener'], queryFn: ({ signal }) => ingest.listener(signal) });
  const nodes = useQuery({
    queryKey: ['nodes', wanted],
    queryFn: ({ signal }) => ingest.nodes({ project_id: wanted, page_size: 200 }, signal),
  });
  const changed = () => client.invalidateQueries({ queryKey: ['nodes'] });
  const problem = nodes.error ? asProblem(nodes.error) : null;
  const here = listener.data;

  return (
    <Page
      title="DICOM nodes"
      trail={[{ to: '/settings', title: 'Settings' }]}
      lead="Modalities, archives and workstations that may send to this project or query it. Other nodes are rejected."
    >
      <Panel title="Settings for the node">
        {!here && <Skeleton height={40} />}
        {here && (
          <DetailList
            details={[
              ['AE title of Medhub', <span className="mh-code">{here.ae_title}</span>],
              [
                'Address',
                here.port === null
                  ? 'This server accepts no DICOM connections. Set MEDHUB_DICOM_PORT or run medhub dicom.'
                  : `${here.host}, port ${here.port}${here.tls ? ', TLS only' : ''}`,
              ],
            ]}
          />
        )}
      </Panel>
      <Panel
        title="Nodes"
        side={
          <Button
            size="compact-sm"
            variant="default"
            leftSection={<IconPlus size={16} />}
            onClick={() => setEditing({ node: null })}
          >
            Add a node
          </Button>
        }
      >
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {!nodes.data && !problem && <Skeleton height={60} />}
        {nodes.data?.items.length === 0 && (
          <EmptyState
            icon={<IconDevice size={28} />}
            title="No nodes yet"
            text="Add the modality or archive that sends to this project. You need its AE title and its address."
          />
        )}
        {nodes.data && nodes.data.items.length > 0 && (
          <ul className={classes.nodes}>
            {nodes.data.items.map((node) => (
              <NodeItem
                key={node.id}
                node={node}
                onEdit={() => setEditing({ node })}
                onRemove={() => setRemoving(node)}
              />
            ))}
          </ul>
        )}
      </Panel>
      {editing && wanted && (
        <NodeDialog
          key={editing.node?.id ?? 'new'}
          node={editing.node}
          projectId={wanted}
          ownTitle={here?.ae_title ?? ''}
          onClose={() => setEditing(null)}
          onSaved={changed}
        />
      )}
      {removing && (
        <ConfirmDialog
          opened
          onClose={() => setRemoving(null)}
          title={`Remove the node ${removing.ae_title}`}
          code={removing.ae_title}
          codeName="AE title"
          confirmLabel="Remove node"
          consequence="The node can no longer send or query. Received images are kept."
          onConfirm={async () => {
            await ingest.removeNode(removing.id);
            await changed();
            notifySuccess(`The node ${removing.ae_title} is removed`);
          }}
        />
      )}
    </Page>
  );
}

type ItemProps = { node: DicomNode; onEdit: () => void; onRemove: () => void };
type Answer = { answers: boolean; words: string };

function NodeItem({ node, onEdit, onRemove }: ItemProps) {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [busy, setBusy] = useState(false);

  const test = async () => {
    setBusy(true);
    setAnswer(null);
    try {
      const echo = await ingest.echoNode(node.id);
      setAnswer({ answers: echo.answers, words: echo.reason ?? `Connection successful, ${echo.milliseconds} ms.` });
    } catch (error) {
      setAnswer({ answers: false, words: asProblem(error).detail });
    } finally {
      setBusy(false);
    }
  };

  return (
    <li>
      <div className={classes.about}>
        <strong className="mh-code">{node.ae_title}</strong>
        <span className={classes.badges}>
          {node.may_store && <Badge tone="green">sends</Badge>}
          {node.may_query && <Badge tone="blue">queries</Badge>}
          {node.may_read_worklist && <Badge tone="amber">worklist</Badge>}
          {!node.may_store && !node.may_query && !node.may_read_worklist && <Badge tone="gray">receives only</Badge>}
          {node.tls && <Badge tone="gray">TLS</Badge>}
          {!node.only_from_host && <Badge tone="amber">any address</Badge>}
        </span>
        <span className={classes.note}>
          Calls <span className="mh-code">{node.called_ae}</span>
          {node.only_from_host ? ` from ${node.host} only` : ' from any address'};{' '}
          {node.host ? `address ${node.host}, port ${node.port}` : 'no address'}.
        </span>
      </div>
      <span className={classes.buttons}>
        {node.host && (
          <Button
            size="compact-sm"
            variant="default"
            loading={busy}
            onClick={() => void test()}
            aria-label={`Test the connection to ${node.ae_title}`}
          >
            Test connection
          </Button>
        )}
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconPencil size={14} />}
          onClick={onEdit}
          aria-label={`Change ${node.ae_title}`}
        >
          Change
        </Button>
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconTrash size={14} />}
          onClick={onRemove}
          aria-label={`Remove ${node.ae_title}`}
        >
          Remove
        </Button>
      </span>
      <p className={classes.answer} role="status" data-failed={(answer && !answer.answers) || undefined}>
        {answer && (answer.answers ? <IconCircleCheck size={16} /> : <IconCircleCross size={16} />)}
        {answer?.words}
      </p>
    </li>
  );
}
