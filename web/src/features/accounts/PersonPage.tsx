// SPDX-License-Identifier: Apache-2.0
import { Button, Select, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState, type SubmitEvent } from 'react';
import { accounts } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Role, User } from '@/api/types';
import { Badge } from '@/components/Badge';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { IconTrash } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { notifyProblem, notifySuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import { ROLE_OPTIONS, roleTitle } from '@/lib/roles';
import classes from './accounts.module.css';

export function PersonPage() {
  const { userId } = useParams({ from: '/shell/people/$userId' });
  const { data: user } = useSuspenseQuery({
    queryKey: ['users', 'one', userId],
    queryFn: ({ signal }) => accounts.user(userId, signal),
  });
  const { me } = useSession();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [deleting, remove] = useDisclosure(false);
  const [busy, setBusy] = useState(false);
  const myself = user.id === me.user.id;
  const changed = () => client.invalidateQueries({ queryKey: ['users'] });

  const setActive = async (active: boolean) => {
    setBusy(true);
    try {
      await accounts.changeUser(user.id, { active });
      await changed();
      notifySuccess(
        active ? `${user.name} can sign in again` : `${user.name} is deactivated`,
        active ? '' : 'Open sessions have ended.',
      );
    } catch (error) {
      notifyProblem(error, `The account of ${user.name} is unchanged`);
    } finally {
      setBusy(false);
    }
  };

  return (
    <Page
      title={user.name}
      heading={
        <>
          {user.name} <Badge tone={user.active ? 'green' : 'gray'}>{user.active ? 'Active' : 'Deactivated'}</Badge>
        </>
      }
      trail={[{ to: '/people', title: 'People' }]}
      actions={
        !myself && (
          <>
            <Button variant="default" loading={busy} onClick={() => void setActive(!user.active)}>
              {user.active ? 'Deactivate' : 'Activate'}
            </Button>
            <Button variant="default" leftSection={<IconTrash size={18} />} onClick={remove.open}>
              Delete person
            </Button>
          </>
        )
      }
    >
      <Columns
        left={
          <>
            {myself && (
              <Notice title="This is your account">
                Another administrator must change your role or deactivate or delete your account. Your password is under{' '}
                <Link to="/settings">Settings</Link>.
              </Notice>
            )}
            <Roles user={user} locked={myself} />
            <Details key={user.email + user.name} user={user} />
          </>
        }
        right={
          <Panel title="Details">
            <DetailList
              details={[
                ['E-mail', user.email],
                ['Added', <TimeAgo key="added" at={user.created_at} />],
                ['Last seen', <TimeAgo key="seen" at={user.last_seen_at} />],
                [
                  'Activity',
                  <AppLink key="acts" to={`/audit?query=${user.email}`}>
                    Show in audit log
                  </AppLink>,
                ],
              ]}
            />
          </Panel>
        }
      />
      <ConfirmDialog
        opened={deleting}
        onClose={remove.close}
        title={`Delete ${user.name}`}
        code={user.email}
        codeName="e-mail"
        confirmLabel="Delete person"
        consequence={`${user.name} can no longer sign in, and the account is deleted. The audit log and signed reports keep the name.`}
        onConfirm={async () => {
          await accounts.deleteUser(user.id);
          await navigate({ to: '/people' });
          client.removeQueries({ queryKey: ['users', 'one', user.id] });
          await changed();
          notifySuccess(`${user.name} is deleted`);
        }}
      />
    </Page>
  );
}

type RoleRow = { project_id: string; project: string; role: Role | '' };

function Roles({ user, locked }: { user: User; locked: boolean }) {
  const { projectsWith } = useSession();
  const client = useQueryClient();
  const mine = projectsWith('user.change');
  const rows: RoleRow[] = [
    ...user.memberships,
    ...mine
      .filter((entry) => !user.memberships.some((membership) => membership.project_id === entry.project_id))
      .map(({ project_id, project }): RoleRow => ({ project_id, project, role: '' })),
  ];

  const change = async (entry: RoleRow, role: Role | '') => {
    try {
      if (role === '') await accounts.removeRole(user.id, entry.project_id);
      else await accounts.setRole(user.id, entry.project_id, role);
      await client.invalidateQueries({ queryKey: ['users'] });
      notifySuccess(
        role
          ? `${user.name} is ${roleTitle(role).toLowerCase()} in ${entry.project}`
          : `${user.name} left ${entry.project}`,
      );
    } catch (error) {
      notifyProblem(error, `The role of ${user.name} is unchanged`);
    }
  };

  return (
    <Panel title="Role by project">
      <ul className={classes.roles}>
        {rows.map((entry) => (
          <li key={entry.project_id}>
            <span className={classes.project}>{entry.project}</span>
            <Select
              aria-label={`Role in ${entry.project}`}
              disabled={locked || !mine.some((membership) => membership.project_id === entry.project_id)}
              data={[{ value: '', label: 'No role' }, ...ROLE_OPTIONS]}
              value={entry.role}
              onChange={(value) => void change(entry, value ?? '')}
            />
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Details({ user }: { user: User }) {
  const client = useQueryClient();
  const [name, setName] = useState(user.name);
  const [email, setEmail] = useState(user.email);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const same = name.trim() === user.name && email.trim() === user.email;

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await accounts.changeUser(user.id, { name: name.trim(), email: email.trim() });
      await client.invalidateQueries({ queryKey: ['users'] });
      notifySuccess('Changes are saved');
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };

  const errorOf = (field: string) => problem?.errors.find((entry) => entry.field === field)?.message;
  return (
    <Panel title="Name and e-mail">
      <form onSubmit={(event) => void submit(event)} className={classes.form} noValidate>
        <TextInput
          label="Name"
          value={name}
          error={errorOf('name')}
          onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="off"
        />
        <TextInput
          label="E-mail"
          type="email"
          value={email}
          error={errorOf('email')}
          onChange={(event) => setEmail(event.currentTarget.value)}
          autoComplete="off"
        />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={`${classes.buttons} ${classes.start}`}>
          <Button type="submit" loading={busy} disabled={same}>
            Save changes
          </Button>
        </div>
      </form>
    </Panel>
  );
}
