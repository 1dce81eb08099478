// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, Select, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { accounts } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Role, UserCreated } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { Notice } from '@/components/Notice';
import { ROLE_DESCRIPTIONS, ROLE_OPTIONS } from '@/lib/roles';
import classes from './accounts.module.css';

export function AddPersonDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { projectsWith, homeProjectId } = useSession();
  const client = useQueryClient();
  const mine = projectsWith('user.create');
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const [role, setRole] = useState<Role>('technologist');
  const [projectId, setProjectId] = useState(
    mine.find((entry) => entry.project_id === homeProjectId)?.project_id ?? mine[0]?.project_id ?? '',
  );
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const [added, setAdded] = useState<UserCreated | null>(null);

  const close = () => {
    setName('');
    setEmail('');
    setErrors({});
    setProblem(null);
    setAdded(null);
    onClose();
  };

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const problems: Record<string, string> = {};
    if (!name.trim()) problems.name = 'Enter the name.';
    if (!/^\S+@\S+$/.test(email.trim())) problems.email = 'Enter an e-mail address, such as name@example.org.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length === 0) {
      setBusy(true);
      try {
        setAdded(await accounts.addUser({ name: name.trim(), email: email.trim(), role, project_id: projectId }));
        await client.invalidateQueries({ queryKey: ['users'] });
        return;
      } catch (error) {
        const refused = asProblem(error);
        setProblem(refused);
        setErrors(Object.fromEntries(refused.errors.map((entry) => [entry.field, entry.message])));
      } finally {
        setBusy(false);
      }
    }
    requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
  };

  return (
    <Modal
      opened={opened}
      onClose={close}
      title={added ? `${added.name} is added` : 'Add person'}
      closeOnClickOutside={!added}
    >
      {added ? (
        <div className={classes.form}>
          {added.generated_password ? (
            <>
              <p className={classes.text}>
                This password was generated for {added.email}. It is shown only once. Hand it over in person and ask the
                person to change it after the first sign-in.
              </p>
              <div className={classes.secret} data-testid="generated-password">
                <CopyableCode value={added.generated_password} label="the password" />
              </div>
            </>
          ) : (
            <p className={classes.text}>{added.email} can sign in now.</p>
          )}
          <div className={classes.buttons}>
            <Button onClick={close}>Done</Button>
          </div>
        </div>
      ) : (
        <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
          <TextInput
            label="Name"
            required
            value={name}
            error={errors.name}
            onChange={(event) => setName(event.currentTarget.value)}
            data-autofocus
            autoComplete="off"
          />
          <TextInput
            label="E-mail"
            type="email"
            required
            value={email}
            error={errors.email}
            onChange={(event) => setEmail(event.currentTarget.value)}
            autoComplete="off"
          />
          {mine.length > 1 && (
            <Select
              label="Project"
              data={mine.map((entry) => ({ value: entry.project_id, label: entry.project }))}
              value={projectId}
              onChange={(value) => setProjectId(value ?? projectId)}
            />
          )}
          <Select
            label="Role"
            description={ROLE_DESCRIPTIONS[role]}
            data={[...ROLE_OPTIONS]}
            value={role}
            onChange={(value) => setRole(value ?? role)}
          />
          {problem && (
            <Notice tone="red" title={problem.title}>
              {problem.detail}
            </Notice>
          )}
          <div className={classes.buttons}>
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              Add person
            </Button>
          </div>
        </form>
      )}
    </Modal>
  );
}
