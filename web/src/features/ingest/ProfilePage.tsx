// SPDX-License-Identifier: Apache-2.0
import { Button, Checkbox, Select, Skeleton, Textarea } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Preview, Profiles } from '@/api/types';
import { Code } from '@/components/Code';
import { Facts } from '@/components/Facts';
import { Notice } from '@/components/Notice';
import { tellSuccess } from '@/components/notify';
import { ProjectChoice } from '@/components/ProjectChoice';
import { Page, Panel } from '@/components/Page';
import { Table } from '@/components/Table';
import { TimeAgo } from '@/components/TimeAgo';
import { DropZone } from './DropZone';
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
      lead="What is kept of each image that arrives. It is cleaned in memory by this profile before anything is written; what is here already stays as it is."
    >
      <ProjectChoice value={projectId} onChange={setProjectId} />
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {!data && !problem && <Skeleton height={160} />}
      {data && projectId && (
        <>
          <Holding profiles={data} />
          {can('choose-profile') && <Choice key={`choice-${projectId}`} profiles={data} projectId={projectId} />}
          {can('preview-profile') && <Previewing key={`preview-${projectId}`} profiles={data} projectId={projectId} />}
          {data.history.length > 0 && <Before profiles={data} />}
        </>
      )}
    </Page>
  );
}

function Holding({ profiles }: { profiles: Profiles }) {
  const { current } = profiles;
  return (
    <Panel title="In force">
      <Facts
        facts={[
          ['Profile', `${current.title} (${current.name}, version ${current.version})`],
          ['Options of DICOM PS3.15', current.options.length > 0 ? current.options.join(', ') : 'none'],
          ['Digest', <Code key="digest" value={current.digest} what="the digest" shown={16} />],
          [
            'What files say of the person',
            current.keep_identity ? 'is added to the encrypted vault' : 'is not kept anywhere',
          ],
          current.by ? ['Chosen by', current.by] : ['Chosen by', 'nobody yet: it is the one to start with'],
          current.chosen_at ? ['Chosen', <TimeAgo key="at" at={current.chosen_at} />] : null,
        ]}
      />
    </Panel>
  );
}

/** What is picked of the profiles that ship, or the text of one's own; first the one in force. */
function usePicked({ current, shipped }: Profiles) {
  const [value, setValue] = useState(shipped.some((one) => one.text === current.text) ? current.name : OWN);
  const [text, setText] = useState(current.text);
  return { value, setValue, text, setText, profile: value === OWN ? { text } : { name: value } };
}

function Picker({
  label,
  profiles,
  picked,
}: {
  label: string;
  profiles: Profiles;
  picked: ReturnType<typeof usePicked>;
}) {
  const { value, setValue, text, setText } = picked;
  const shown = profiles.shipped.find((one) => one.name === value)?.text;
  return (
    <>
      <Select
        label={label}
        allowDeselect={false}
        data={[
          ...profiles.shipped.map((one) => ({ value: one.name, label: `${one.title} (${one.name})` })),
          { value: OWN, label: 'Our own profile, as TOML' },
        ]}
        value={value}
        onChange={(next) => setValue(next ?? value)}
      />
      {value === OWN ? (
        <Textarea
          label="Profile"
          description="A TOML file; start from the text of one that ships."
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

function Choice({ profiles, projectId }: { profiles: Profiles; projectId: string }) {
  const picked = usePicked(profiles);
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
      tellSuccess(`From now on: ${chosen.name}, version ${chosen.version}`);
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Panel title="Choose another">
      <div className={classes.form}>
        <Picker label="Profile to choose" profiles={profiles} picked={picked} />
        <Checkbox
          label="Add to the vault what files say of the person: name, number, date of birth"
          description="Only where this project is entitled to know it. It lies encrypted, and nowhere else."
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
            De-identify by this from now on
          </Button>
        </div>
      </div>
    </Panel>
  );
}

function Previewing({ profiles, projectId }: { profiles: Profiles; projectId: string }) {
  const picked = usePicked(profiles);
  const [found, setFound] = useState<Preview | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState<number | null>(null);

  const look = async (files: File[]) => {
    setProblem(null);
    setFound(null);
    setBusy(files.length);
    try {
      setFound(await ingest.preview(projectId, files, picked.profile, () => undefined));
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(null);
    }
  };

  return (
    <Panel title="Preview">
      <div className={classes.form}>
        <Picker label="Profile to try" profiles={profiles} picked={picked} />
        <p className={classes.muted}>Nothing of these files is written: you only see what would be done to them.</p>
        <DropZone
          small
          disabled={busy !== null}
          title="Drop files here to see what the profile would do"
          onFiles={(files) => void look(files)}
        />
        <div aria-live="polite">
          {busy !== null && (
            <p className={classes.muted}>Looking through {busy === 1 ? '1 file' : `${busy} files`} ...</p>
          )}
        </div>
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {found && <PreviewTables found={found} />}
      </div>
    </Panel>
  );
}

function Before({ profiles }: { profiles: Profiles }) {
  return (
    <Panel title="Chosen before">
      <Table
        name="Chosen before"
        heads={['Profile', 'Digest', 'By', 'When']}
        rows={profiles.history.map((one) => [
          `${one.name} ${one.version}`,
          <Code key="digest" value={one.digest} what="the digest" shown={12} />,
          one.by,
          <TimeAgo key="at" at={one.chosen_at} />,
        ])}
      />
    </Panel>
  );
}
