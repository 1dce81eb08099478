// SPDX-License-Identifier: Apache-2.0
import { Button, PasswordInput, SegmentedControl, useMantineColorScheme } from '@mantine/core';
import { useState, type SubmitEvent } from 'react';
import { accounts } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import { DetailList } from '@/components/DetailList';
import { AppLink } from '@/components/AppLink';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { Page, Panel } from '@/components/Page';
import { ROLE_DESCRIPTIONS, roleTitle } from '@/lib/roles';
import { ErasureRule } from './ErasureRule';
import classes from './accounts.module.css';

export function SettingsPage() {
  const { me, memberships, can } = useSession();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Page title="Settings" width="text">
      <Panel title="Account">
        <DetailList
          details={[
            ['Name', me.user.name],
            ['E-mail', me.user.email],
            ...memberships.map((entry): [string, string] => [
              entry.project,
              `${roleTitle(entry.role)}. ${ROLE_DESCRIPTIONS[entry.role] ?? ''}`,
            ]),
          ]}
        />
      </Panel>
      <Panel title="Theme">
        <SegmentedControl
          aria-label="Theme"
          value={colorScheme}
          onChange={(value) => setColorScheme(value)}
          data={[
            { value: 'auto', label: 'System' },
            { value: 'light', label: 'Light' },
            { value: 'dark', label: 'Dark' },
          ]}
        />
        <p className={classes.muted} style={{ marginBlockStart: 8 }}>
          Images have the same dark background in both themes, so that stain colors look the same.
        </p>
      </Panel>
      {can('field.define') && (
        <Panel title="Fields of patients and studies">
          <p className={classes.muted}>Additional data of patients and studies in this project.</p>
          <div style={{ marginBlockStart: 12 }}>
            <Button component={AppLink} to="/settings/fields" variant="default">
              Define fields
            </Button>
          </div>
        </Panel>
      )}
      {can('profile.preview') && (
        <Panel title="De-identification">
          <p className={classes.muted}>
            The de-identification profile for incoming images, and a preview of its effect on your files.
          </p>
          <div style={{ marginBlockStart: 12 }}>
            <Button component={AppLink} to="/settings/de-identification" variant="default">
              Open profile
            </Button>
          </div>
        </Panel>
      )}
      {can('arrival.resolve') && (
        <Panel title="Archive">
          <p className={classes.muted}>
            How files with patient data are processed, which pathway their studies follow, and which attributes are
            searchable.
          </p>
          <div style={{ marginBlockStart: 12 }}>
            <Button component={AppLink} to="/settings/archive" variant="default">
              Open archive settings
            </Button>
          </div>
        </Panel>
      )}
      {can('peer.change') && (
        <Panel title="DICOM nodes">
          <p className={classes.muted}>
            Modalities and archives that may send to this project or query it, and their addresses.
          </p>
          <div style={{ marginBlockStart: 12 }}>
            <Button component={AppLink} to="/settings/nodes" variant="default">
              Manage nodes
            </Button>
          </div>
        </Panel>
      )}
      {can('patient.erase') && (
        <Panel title="Erasures">
          <p className={classes.muted}>
            For each erased patient: the destroyed data, and the classifiers that were trained with the images.
          </p>
          <div style={{ display: 'grid', gap: 12, marginBlockStart: 12 }}>
            {memberships
              .filter((entry) => entry.role === 'administrator')
              .map((entry) => (
                <ErasureRule
                  key={entry.project_id}
                  projectId={entry.project_id}
                  name={memberships.length > 1 ? entry.project : null}
                />
              ))}
          </div>
          <div style={{ marginBlockStart: 12 }}>
            <Button component={AppLink} to="/erasures" variant="default">
              Open certificates
            </Button>
          </div>
        </Panel>
      )}
      <Password />
    </Page>
  );
}

const LEAST = 12;

function Password() {
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [again, setAgain] = useState('');
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const problems: Record<string, string> = {};
    if (!current) problems.current = 'Enter your current password.';
    if (next.length < LEAST) problems.new = `Use at least ${LEAST} characters; a few words are easy to remember.`;
    else if (next !== again) problems.again = 'The passwords differ.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length === 0) {
      setBusy(true);
      try {
        await accounts.changePassword(current, next);
        setCurrent('');
        setNext('');
        setAgain('');
        notifySuccess('Password changed', 'Your other sessions have ended.');
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

  const eye = { 'aria-label': 'Show the password' };
  return (
    <Panel title="Password" id="password">
      <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
        <PasswordInput
          label="Current password"
          autoComplete="current-password"
          value={current}
          error={errors.current}
          visibilityToggleButtonProps={eye}
          onChange={(event) => setCurrent(event.currentTarget.value)}
        />
        <PasswordInput
          label="New password"
          autoComplete="new-password"
          value={next}
          error={errors.new}
          visibilityToggleButtonProps={eye}
          onChange={(event) => setNext(event.currentTarget.value)}
        />
        <PasswordInput
          label="Repeat new password"
          autoComplete="new-password"
          value={again}
          error={errors.again}
          visibilityToggleButtonProps={eye}
          onChange={(event) => setAgain(event.currentTarget.value)}
        />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div className={`${classes.buttons} ${classes.start}`}>
          <Button type="submit" loading={busy}>
            Change password
          </Button>
        </div>
      </form>
    </Panel>
  );
}
