// SPDX-License-Identifier: Apache-2.0
import { Button, NumberInput, Progress, Radio, Select, Skeleton, TagsInput, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Archive } from '@/api/types';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { ProjectSelect } from '@/components/ProjectSelect';
import { Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import classes from './boxes.module.css';

/** How a project takes in files that name their patient themselves, and by what it is searched. */
export function ArchivePage() {
  const { homeProjectId, can } = useSession();
  const [projectId, setProjectId] = useState(homeProjectId);
  const { data, error } = useQuery({
    queryKey: ['archive', projectId],
    queryFn: ({ signal }) => ingest.archive(projectId ?? '', signal),
    enabled: Boolean(projectId),
    refetchInterval: (query) => (query.state.data?.index_state === 'running' ? 1_000 : false),
  });
  const problem = error ? asProblem(error) : null;
  return (
    <Page
      title="Archive"
      trail={[{ to: '/settings', title: 'Settings' }]}
      lead="How files with patient data are processed: from scanners, DICOMweb, watched folders and the command line."
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
          <ArchiveForm
            key={`${projectId} ${data.changed_at}`}
            archive={data}
            projectId={projectId}
            editable={can('profile.choose')}
          />
          <IndexPanel archive={data} projectId={projectId} editable={can('profile.choose')} />
        </>
      )}
    </Page>
  );
}

function ArchiveForm({
  archive,
  projectId,
  editable: editable,
}: {
  archive: Archive;
  projectId: string;
  editable: boolean;
}) {
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const [duplicates, setDuplicates] = useState<Archive['duplicates']>(archive.duplicates);
  const [completeAfter, setCompleteAfter] = useState<number | string>(archive.settle_s);
  const [rows, setRows] = useState(Object.entries(archive.pathways ?? {}));
  const [attributes, setAttributes] = useState(archive.attributes ?? []);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const client = useQueryClient();

  const save = async () => {
    setProblem(null);
    setBusy(true);
    try {
      await ingest.changeArchive(projectId, {
        duplicates,
        settle_s: Number(completeAfter) || 0,
        pathways: Object.fromEntries(rows.filter(([modality, name]) => modality.trim() && name)),
        attributes,
      });
      await client.invalidateQueries({ queryKey: ['archive'] });
      notifySuccess('Archive settings saved');
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };

  const change = (index: number, entry: [string, string]) =>
    setRows(rows.map((row, position) => (position === index ? entry : row)));

  return (
    <Panel title="Incoming files">
      <fieldset className={classes.form} disabled={!editable} style={{ border: 0, padding: 0, margin: 0 }}>
        <Radio.Group
          label="A file has the identifier of a stored image but different content"
          value={duplicates}
          onChange={(value) => setDuplicates(value)}
        >
          <div style={{ display: 'grid', gap: 8, marginBlockStart: 8 }}>
            <Radio value="keep" label="Keep the stored image; quarantine the new file" />
            <Radio value="changed" label="Replace the stored image if the cleaned image differs" />
            <Radio value="replace" label="Always replace the stored image" />
          </div>
        </Radio.Group>
        <p className={classes.muted}>Images with a verdict or a signature are never replaced.</p>
        <NumberInput
          label="A study is complete after"
          description="Seconds without a new file. Then thumbnails are created and the study is classified."
          suffix=" s"
          min={0}
          max={86_400}
          maw={280}
          value={completeAfter}
          onChange={setCompleteAfter}
        />
        <div>
          <p style={{ fontWeight: 600 }}>Pathways</p>
          <p className={classes.muted}>
            The pathway of each modality; an asterisk stands for all others. Studies without a pathway are archived
            only.
          </p>
          {rows.map(([modality, name], index) => (
            <div
              key={index}
              style={{ display: 'flex', gap: 8, flexWrap: 'wrap', marginBlockStart: 8, alignItems: 'end' }}
            >
              <TextInput
                label="Modality"
                placeholder="DX"
                w={112}
                value={modality}
                onChange={(event) => change(index, [event.currentTarget.value.toUpperCase(), name])}
              />
              <Select
                label="Pathway"
                data={pathways.map((pathway) => ({ value: pathway.name, label: pathway.title }))}
                value={name || null}
                onChange={(value) => change(index, [modality, value ?? ''])}
                style={{ flex: '1 1 200px', maxInlineSize: 320 }}
              />
              <Button
                variant="default"
                aria-label={`Remove the pathway of ${modality || 'this modality'}`}
                onClick={() => setRows(rows.filter((_, position) => position !== index))}
              >
                Remove
              </Button>
            </div>
          ))}
          {editable && (
            <Button variant="default" mt={8} onClick={() => setRows([...rows, ['', '']])}>
              Add a modality
            </Button>
          )}
        </div>
        <TagsInput
          label="Attributes to search by, in addition to the standard ones"
          description="DICOM keywords, for example KVP or SliceThickness. Stored images are indexed again."
          value={attributes}
          onChange={setAttributes}
          maxTags={64}
          clearable={false}
        />
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {editable && (
          <div>
            <Button loading={busy} onClick={() => void save()}>
              Save
            </Button>
          </div>
        )}
      </fieldset>
    </Panel>
  );
}

function IndexPanel({
  archive,
  projectId,
  editable: editable,
}: {
  archive: Archive;
  projectId: string;
  editable: boolean;
}) {
  const client = useQueryClient();
  const [problem, setProblem] = useState<Problem | null>(null);
  const running = archive.index_state === 'running';
  const share = archive.index_total > 0 ? (100 * archive.index_done) / archive.index_total : 100;
  const again = async () => {
    setProblem(null);
    try {
      await ingest.indexArchive(projectId);
      await client.invalidateQueries({ queryKey: ['archive'] });
    } catch (error) {
      setProblem(asProblem(error));
    }
  };
  return (
    <Panel title="Index">
      <div className={classes.form}>
        {running ? (
          <>
            <p role="status">
              {archive.index_done.toLocaleString()} of {archive.index_total.toLocaleString()} images are indexed.
            </p>
            <Progress value={share} aria-label="Indexed images" />
          </>
        ) : (
          <p className={classes.muted}>All images are indexed by these attributes.</p>
        )}
        {archive.changed_by && (
          <p className={classes.muted}>
            Changed by {archive.changed_by}, <TimeAgo at={archive.changed_at} />
          </p>
        )}
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {editable && (
          <div>
            <Button variant="default" disabled={running} onClick={() => void again()}>
              Index all images again
            </Button>
          </div>
        )}
      </div>
    </Panel>
  );
}
