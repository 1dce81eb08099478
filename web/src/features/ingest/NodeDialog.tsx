// SPDX-License-Identifier: Apache-2.0
import { Button, Checkbox, Modal, NumberInput, TextInput } from '@mantine/core';
import { useState, type SubmitEvent } from 'react';
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import type { DicomNode } from '@/api/types';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { useFieldErrors } from '@/lib/fieldErrors';
import classes from './nodes.module.css';

type Props = {
  node: DicomNode | null;
  projectId: string;
  /** By which title nodes usually call this installation. */
  ownTitle: string;
  onClose: () => void;
  onSaved: () => Promise<unknown>;
};

export function NodeDialog({ node, projectId, ownTitle, onClose, onSaved }: Props) {
  const [title, setTitle] = useState(node?.ae_title ?? '');
  const [called, setCalled] = useState(node?.called_ae ?? ownTitle);
  const [host, setHost] = useState(node?.host ?? '');
  const [port, setPort] = useState<number | string>(node?.port || 104);
  const [flags, setFlags] = useState({
    may_store: node?.may_store ?? true,
    may_query: node?.may_query ?? false,
    may_read_worklist: node?.may_read_worklist ?? false,
    only_from_host: node?.only_from_host ?? true,
    tls: node?.tls ?? false,
  });
  const [errors, setErrors] = useFieldErrors({ ae_title: title, called_ae: called, host, port });
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);

  const flag = (name: keyof typeof flags) => ({
    checked: flags[name],
    onChange: (event: { currentTarget: HTMLInputElement }) => {
      const { checked } = event.currentTarget;
      setFlags((before) => ({ ...before, [name]: checked }));
    },
  });

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const problems: Record<string, string> = {};
    if (!title.trim()) problems.ae_title = 'Enter the AE title of the node.';
    if (!called.trim()) problems.called_ae = 'Enter the AE title of Medhub that the node calls.';
    if (flags.only_from_host && !host.trim())
      problems.host = 'Enter the host from which it connects, or allow any address below.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length > 0) return;
    setBusy(true);
    const facts = {
      ...flags,
      ae_title: title.trim(),
      called_ae: called.trim(),
      host: host.trim(),
      port: host.trim() ? Number(port) || 0 : 0,
    };
    try {
      if (node) await ingest.changeNode(node.id, facts);
      else await ingest.addNode({ ...facts, project_id: projectId });
      await onSaved();
      notifySuccess(`The node ${facts.ae_title} is saved`);
      onClose();
    } catch (error) {
      const refused = asProblem(error);
      setProblem(refused);
      setErrors(Object.fromEntries(refused.errors.map((entry) => [entry.field, entry.message])));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Modal opened onClose={onClose} title={node ? `Change ${node.ae_title}` : 'New DICOM node'}>
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        <TextInput
          label="AE title"
          description="AE title of the node, up to 16 characters."
          required
          maxLength={16}
          value={title}
          error={errors.ae_title}
          onChange={(event) => setTitle(event.currentTarget.value)}
          data-autofocus
          autoComplete="off"
        />
        <TextInput
          label="Called AE title"
          description="The AE title of Medhub that the node calls. It selects the project."
          required
          maxLength={16}
          value={called}
          error={errors.called_ae}
          onChange={(event) => setCalled(event.currentTarget.value)}
          autoComplete="off"
        />
        <div className={classes.where}>
          <TextInput
            label="Host"
            required={flags.only_from_host}
            description="The address from which it connects and to which Medhub sends."
            value={host}
            error={errors.host}
            onChange={(event) => setHost(event.currentTarget.value)}
            autoComplete="off"
          />
          <NumberInput
            label="Port"
            description="Often 104 or 11112."
            min={1}
            max={65535}
            allowDecimal={false}
            disabled={!host.trim()}
            value={port}
            error={errors.port}
            onChange={setPort}
          />
        </div>
        <Checkbox label="May send objects to this project" {...flag('may_store')} />
        <Checkbox label="May query this project and retrieve from it" {...flag('may_query')} />
        <Checkbox
          label="May read the worklist"
          description="Scheduled studies, with the names, numbers and birth dates of their patients."
          {...flag('may_read_worklist')}
        />
        <Checkbox
          label="May connect from its host only"
          description="Otherwise anybody in the network who knows the AE titles can connect."
          {...flag('only_from_host')}
        />
        <Checkbox label="Uses TLS" {...flag('tls')} />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={`${classes.buttons} ${classes.end}`}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={busy}>
            Save node
          </Button>
        </div>
      </form>
    </Modal>
  );
}
