// SPDX-License-Identifier: Apache-2.0
import { Button, Checkbox, Select, Skeleton, Textarea } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Preview, Profiles } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { ProjectSelect } from '@/components/ProjectSelect';
import { Page, Panel } from '@/components/Page';
import { Table } from '@/components/Table';
import { TimeAgo } from '@/components/TimeAgo';
import { DropZone } from '../../components/upload/DropZone';
import { PreviewTables } from './PreviewTables';
import classes from './boxes.module.css';

const OWN = 'own';

/** By what a project de-identifies, and what that does to files. */
export function ProfilePage() {
  const { homeProjectId, can } = useSession();
  const [projectId, setProjectId] = useState(homeProjectId);
  const { data, error } = useQuery({
    queryKey: ['profiles', projectId],
    queryFn: ({ signal }) => ingest.profiles(projectId ?? '', signal),
    enabled: Boolean(projectId),
  });
  const problem = error ? asProblem(error) : null;
  return (
    <Page
      title="De-identification"
      trail={[{ to: '/settings', title: 'Settings' }]}
      lead="The de-identification of incoming images. Each image is cleaned in memory before it is stored. Stored images are not changed."
    >
      <ProjectSelect value={projectId} onChange={setProjectId} />
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {!data && !problem && <Skeleton height={160} />}
      {data && projectId && (
        <>
          <CurrentProfile profiles={data} />
          {can('profile.choose') && <ProfileForm key={`choice-${projectId}`} profiles={data} projectId={projectId} />}
          {can('profile.preview') && (
            <ProfilePreview key={`preview-${projectId}`} profiles={data} projectId={projectId} />
          )}
          {data.history.length > 0 && <ProfileHistory profiles={data} />}
        </>
      )}
    </Page>
  );
}

function CurrentProfile({ profiles }: { profiles: Profiles }) {
  const { current } = profiles;
  return (
    <Panel title="Current profile">
      <DetailList
        details={[
          ['Profile', `${current.title} (${current.name}, version ${current.version})`],
          ['Options of DICOM PS3.15', current.options.length > 0 ? current.options.join(', ') : 'none'],
          ['Digest', <CopyableCode key="digest" value={current.digest} label="the digest" maxLength={16} />],
          ['Patient data in the files', current.keep_identity ? 'added to the encrypted vault' : 'not stored'],
          current.by ? ['Selected by', current.by] : ['Selected by', 'nobody yet (default)'],
          current.chosen_at ? ['Selected', <TimeAgo key="at" at={current.chosen_at} />] : null,
        ]}
      />
    </Panel>
  );
}

/** What is picked of the profiles that ship, or the text of one's own; first the one in force. */
function useProfileChoice({ current, shipped }: Profiles) {
  const [value, setValue] = useState(shipped.some((profile) => profile.text === current.text) ? current.name : OWN);
  const [text, setText] = useState(current.text);
  return { value, setValue, text, setText, profile: value === OWN ? { text } : { name: value } };
}

function ProfilePicker({
  label,
  profiles,
  picked,
}: {
  label: string;
  profiles: Profiles;
  picked: ReturnType<typeof useProfileChoice>;
}) {
  const { value, setValue, text, setText } = picked;
  const shown = profiles.shipped.find((profile) => profile.name === value)?.text;
  return (
    <>
      <Select
        label={label}
        allowDeselect={false}
        data={[
          ...profiles.shipped.map((profile) => ({ value: profile.name, label: `${profile.title} (${profile.name})` })),
          { value: OWN, label: 'Custom profile (TOML)' },
        ]}
        value={value}
        onChange={(next) => setValue(next ?? value)}
      />
      {value === OWN ? (
        <Textarea
          label="Profile"
          description="A TOML file, for example based on a supplied profile."
          autosize
          minRows={8}
          maxRows={24}
          styles={{ input: { fontFamily: 'monospace', fontSize: '0.8125rem' } }}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
      ) : (
        shown && (
          <pre className={classes.text} tabIndex={0} aria-label="Text of the profile">
            {shown}
          </pre>
        )
      )}
    </>
  );
}

function ProfileForm({ profiles, projectId }: { profiles: Profiles; projectId: string }) {
  const picked = useProfileChoice(profiles);
  const [keep, setKeep] = useState(profiles.current.keep_identity);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const client = useQueryClient();

  const choose = async () => {
    setProblem(null);
    setBusy(true);
    try {
      const chosen = await ingest.chooseProfile(projectId, {
        ...picked.profile,
        keep_identity: keep,
      });
      await client.invalidateQueries({ queryKey: ['profiles'] });
      notifySuccess(`Profile in use: ${chosen.name}, version ${chosen.version}`);
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Panel title="Change profile">
      <div className={classes.form}>
        <ProfilePicker label="New profile" profiles={profiles} picked={picked} />
        <Checkbox
          label="Add the patient data of the files to the vault: name, number, date of birth"
          description="Only if this project is entitled to it. It is stored encrypted, and nowhere else."
          checked={keep}
          onChange={(event) => setKeep(event.currentTarget.checked)}
        />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        <div>
          <Button loading={busy} onClick={() => void choose()}>
            Use this profile
          </Button>
        </div>
      </div>
    </Panel>
  );
}

function ProfilePreview({ profiles, projectId }: { profiles: Profiles; projectId: string }) {
  const picked = useProfileChoice(profiles);
  const [preview, setPreview] = useState<Preview | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState<number | null>(null);

  const runPreview = async (files: File[]) => {
    setProblem(null);
    setPreview(null);
    setBusy(files.length);
    try {
      setPreview(await ingest.preview(projectId, files, picked.profile, () => undefined));
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(null);
    }
  };

  return (
    <Panel title="Preview">
      <div className={classes.form}>
        <ProfilePicker label="Profile to try" profiles={profiles} picked={picked} />
        <p className={classes.muted}>These files are not stored. You only see the result.</p>
        <DropZone
          small
          disabled={busy !== null}
          title="Drop files here to preview the result"
          onFiles={(files) => void runPreview(files)}
        />
        <div aria-live="polite">
          {busy !== null && <p className={classes.muted}>Checking {busy === 1 ? '1 file' : `${busy} files`} ...</p>}
        </div>
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {preview && <PreviewTables preview={preview} />}
      </div>
    </Panel>
  );
}

function ProfileHistory({ profiles }: { profiles: Profiles }) {
  return (
    <Panel title="Previous profiles">
      <Table
        name="Previous profiles"
        headers={['Profile', 'Digest', 'By', 'When']}
        rows={profiles.history.map((choice) => [
          `${choice.name} ${choice.version}`,
          <CopyableCode key="digest" value={choice.digest} label="the digest" maxLength={12} />,
          choice.by,
          <TimeAgo key="at" at={choice.chosen_at} />,
        ])}
      />
    </Panel>
  );
}
