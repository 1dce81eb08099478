// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, TextInput } from '@mantine/core';
import { useState, type SubmitEvent, type ReactNode } from 'react';
import { asProblem } from '@/api/problem';
import { Notice } from './Notice';

type Props = {
  opened: boolean;
  onClose: () => void;
  title: string;
  consequence: ReactNode;
  /** What must be typed, so that no other object is deleted by mistake. */
  code: string;
  codeName: string;
  confirmLabel: string;
  /** While something else than the code is missing. */
  disabled?: boolean;
  onConfirm: () => Promise<unknown>;
};

/** Asks before an action that cannot be undone: names the object and the consequence, and requires its code to be typed. */
export function ConfirmDialog({
  opened,
  onClose,
  title,
  consequence,
  code,
  codeName,
  confirmLabel,
  disabled = false,
  onConfirm,
}: Props) {
  const [typed, setTyped] = useState('');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const right = typed.trim() === code && !disabled;

  const close = () => {
    setTyped('');
    setError(null);
    onClose();
  };

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (!right || busy) return;
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      close();
    } catch (failure) {
      setError(failure);
    } finally {
      setBusy(false);
    }
  };

  const problem = error ? asProblem(error) : null;
  return (
    <Modal opened={opened} onClose={close} title={title}>
      <form onSubmit={(event) => void submit(event)} style={{ display: 'grid', gap: 14 }}>
        <div>{consequence}</div>
        <CodeInput code={code} codeName={codeName} typed={typed} setTyped={setTyped} />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <Buttons label={confirmLabel} ready={right} busy={busy} cancel={close} />
      </form>
    </Modal>
  );
}

function Buttons({ label, ready, busy, cancel }: { label: string; ready: boolean; busy: boolean; cancel: () => void }) {
  return (
    <div style={{ display: 'flex', justifyContent: 'flex-end', gap: 8 }}>
      <Button variant="default" onClick={cancel}>
        Cancel
      </Button>
      <Button type="submit" color="red.9" disabled={!ready} loading={busy}>
        {label}
      </Button>
    </div>
  );
}

type CodeInputProps = { code: string; codeName: string; typed: string; setTyped: (typed: string) => void };

function CodeInput({ code, codeName, typed, setTyped }: CodeInputProps) {
  return (
    <TextInput
      label={
        <>
          Type the {codeName} <code>{code}</code> to confirm
        </>
      }
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value)}
      autoComplete="off"
      data-autofocus
    />
  );
}
