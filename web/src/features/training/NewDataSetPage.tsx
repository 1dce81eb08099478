// SPDX-License-Identifier: Apache-2.0
import { Button, FileInput, SegmentedControl, Select, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState, type SubmitEvent } from 'react';
import { training } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { Notice } from '@/components/Notice';
import { Page, Panel } from '@/components/Page';
import { bytes, share } from '@/lib/format';
import { useFieldErrors } from '@/lib/fieldErrors';
import classes from './training.module.css';

export function NewDataSetPage() {
  const { projectsWith, homeProjectId } = useSession();
  const mine = projectsWith('dataset.create');
  const { data: pathways } = useQuery(pathwaysQuery);
  const navigate = useNavigate();
  const client = useQueryClient();
  const [source, setSource] = useState<'verdicts' | 'zip'>('verdicts');
  const [projectId, setProjectId] = useState(
    mine.find((entry) => entry.project_id === homeProjectId)?.project_id ?? mine[0]?.project_id,
  );
  const [pathway, setPathway] = useState<string | null>(null);
  const [name, setName] = useState('');
  const [file, setFile] = useState<File | null>(null);
  const [sent, setSent] = useState<number | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [errors, setErrors] = useFieldErrors({ pathway, name, file });
  const [busy, setBusy] = useState(false);
  const pathwayName = pathway ?? (pathways?.length === 1 ? (pathways[0]?.name ?? null) : null);

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const problems: Record<string, string> = {};
    if (source === 'verdicts' && !pathwayName) problems.pathway = 'Select a pathway.';
    if (source === 'zip' && !file) problems.file = 'Select a ZIP file.';
    if (source === 'zip' && !name.trim()) problems.name = 'Enter a name.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length === 0) {
      setBusy(true);
      try {
        const created =
          source === 'verdicts'
            ? await training.createDataset({
                project_id: projectId,
                pathway: pathwayName ?? '',
                name: name.trim() || null,
              })
            : await training.uploadDataset(file ?? new File([], ''), { projectId, name: name.trim() }, setSent);
        await client.invalidateQueries({ queryKey: ['datasets'] });
        await navigate({ to: '/training/datasets/$datasetId', params: { datasetId: created.id } });
        return;
      } catch (error) {
        const refused = asProblem(error);
        setProblem(refused);
        setErrors(Object.fromEntries(refused.errors.map((entry) => [entry.field, entry.message])));
      } finally {
        setBusy(false);
        setSent(null);
      }
    }
    requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
  };

  return (
    <Page
      width="text"
      title="New version"
      trail={[{ to: '/training/datasets', title: 'Data sets' }]}
      lead="A version never changes. Each patient belongs to one part (training, validation or test), in this and in all later versions."
    >
      <Panel>
        <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
          <SegmentedControl
            aria-label="Origin of the labels"
            data={[
              { value: 'verdicts', label: 'Signed verdicts' },
              { value: 'zip', label: 'A ZIP of images' },
            ]}
            value={source}
            onChange={(value) => {
              setSource(value);
              setErrors({});
              setProblem(null);
            }}
          />
          {mine.length > 1 && (
            <Select
              label="Project"
              data={mine.map((entry) => ({ value: entry.project_id, label: entry.project }))}
              value={projectId ?? null}
              onChange={(value) => setProjectId(value ?? projectId)}
            />
          )}
          {source === 'verdicts' ? (
            <>
              <Select
                label="Pathway"
                required
                data={(pathways ?? []).map((entry) => ({ value: entry.name, label: entry.title }))}
                value={pathwayName}
                error={errors.pathway}
                onChange={setPathway}
              />
              <TextInput
                label="Name"
                description="Leave empty to use the name of the pathway."
                value={name}
                error={errors.name}
                onChange={(event) => setName(event.currentTarget.value)}
                maxLength={100}
                autoComplete="off"
              />
              <p className={classes.note}>
                Includes every image of the signed cases with its verdict. Labels that the pathway does not count and
                cases under correction are excluded; their number is shown.
              </p>
            </>
          ) : (
            <>
              <TextInput
                label="Name"
                required
                value={name}
                error={errors.name}
                onChange={(event) => setName(event.currentTarget.value)}
                maxLength={100}
                autoComplete="off"
              />
              <FileInput
                label="ZIP"
                required
                accept=".zip,application/zip"
                placeholder="Choose a ZIP"
                value={file}
                error={errors.file}
                onChange={setFile}
              />
              <p className={classes.note}>
                A folder for each label, or images with a <code>labels.csv</code> of <code>path,label,group</code>;
                images of one group (a patient) stay together. Only pixels are stored, without file names and metadata.
                Text in the image is not removed: do not upload images that show a name.
              </p>
              {file && busy && (
                <p className={classes.text} role="status">
                  {sent !== null && sent < 1
                    ? `${share(sent)} of ${bytes(file.size)} sent`
                    : 'Upload complete. Each image is now decoded and checked; this takes about a minute for 1,000 images.'}
                </p>
              )}
            </>
          )}
          {problem && (
            <Notice tone="red" title={problem.title}>
              {problem.detail}
            </Notice>
          )}
          <div className={classes.buttons}>
            <Button type="submit" loading={busy}>
              Create version
            </Button>
            <Button component={Link} to="/training/datasets" variant="default">
              Cancel
            </Button>
          </div>
        </form>
      </Panel>
    </Page>
  );
}
