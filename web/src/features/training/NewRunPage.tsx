// SPDX-License-Identifier: Apache-2.0
import { Button, Checkbox, Select, Textarea, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState, type SubmitEvent } from 'react';
import { training } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import { Notice } from '@/components/Notice';
import { Page, Panel } from '@/components/Page';
import { plural } from '@/lib/format';
import { useFieldErrors } from '@/lib/fieldErrors';
import classes from './training.module.css';

const OWN = '';

export function NewRunPage() {
  const { projectId } = useSession();
  const search = useSearch({ from: '/shell/training/new' });
  const navigate = useNavigate();
  const { data: datasets } = useQuery({
    queryKey: ['datasets', 'choice', projectId],
    queryFn: ({ signal }) => training.datasets({ project_id: projectId, page_size: 200 }, signal),
  });
  const { data: recipes } = useQuery({
    queryKey: ['recipes'],
    queryFn: ({ signal }) => training.recipes(signal),
    staleTime: Infinity,
  });
  const [name, setName] = useState('');
  const [datasetId, setDatasetId] = useState<string | null>(search.dataset ?? null);
  const [recipe, setRecipe] = useState<string | null>(null);
  const [text, setText] = useState<string | null>(null);
  const [init, setInit] = useState('');
  const [overrule, setOverrule] = useState(false);
  const [reason, setReason] = useState('');
  const [problem, setProblem] = useState<Problem | null>(null);
  const [errors, setErrors] = useFieldErrors({
    name,
    dataset_id: datasetId,
    recipe: text ?? recipe,
    init,
    overrule_leakage: reason,
  });
  const [busy, setBusy] = useState(false);
  const needsStart = text === null && Boolean(recipes?.find((candidate) => candidate.name === recipe)?.needs_start);
  const chosen = datasets?.items.find((version) => version.id === datasetId);

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const problems: Record<string, string> = {};
    if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(name))
      problems.name = 'Use lower-case letters, digits and hyphens, for example our-smears.';
    if (!datasetId) problems.dataset_id = 'Select a data set.';
    if (recipe === null) problems.recipe = 'Select a recipe.';
    if (needsStart && !init.trim()) problems.init = 'Enter the initial weights, or "none".';
    if (overrule && !reason.trim()) problems.overrule_leakage = 'Enter a reason; the model card shows it.';
    setErrors(problems);
    setProblem(null);
    if (Object.keys(problems).length === 0 && datasetId && recipe !== null) {
      setBusy(true);
      try {
        const run = await training.start({
          name,
          dataset_id: datasetId,
          recipe: text ?? recipe,
          init: init.trim() || null,
          overrule_leakage: overrule ? reason.trim() : null,
        });
        await navigate({ to: '/training/runs/$runId', params: { runId: run.id } });
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
    <Page
      width="text"
      title="Start training"
      trail={[{ to: '/training', title: 'Trainings' }]}
      lead="Training runs in the background; you can close this page. The new classifier is not used until two people have promoted it."
    >
      <Panel>
        <form onSubmit={(event) => void submit(event)} noValidate className={classes.form}>
          <Select
            label="Data set"
            required
            placeholder={datasets && datasets.items.length === 0 ? 'No data sets yet' : 'Select a version'}
            data={(datasets?.items ?? []).map((version) => ({
              value: version.id,
              label: `${version.name} v${version.version} (${plural(version.images, 'image')})`,
            }))}
            value={datasetId}
            error={errors.dataset_id}
            onChange={setDatasetId}
            searchable
          />
          {datasets?.items.length === 0 && (
            <p className={classes.note}>
              <Link to="/training/datasets/new">Create a data set</Link> first.
            </p>
          )}
          {chosen && chosen.gaps.length > 0 && (
            <Notice title="This version has gaps">
              <ul className={classes.list}>
                {chosen.gaps.map((gap) => (
                  <li key={gap}>{gap}</li>
                ))}
              </ul>
            </Notice>
          )}
          <TextInput
            label="Name of the classifier"
            description="Lower-case letters, digits and hyphens. Each version has its own digest."
            required
            value={name}
            error={errors.name}
            onChange={(event) => setName(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
          />
          <Select
            label="Recipe"
            description="Network, image size, augmentation and schedule."
            required
            placeholder="Select a recipe"
            data={[
              ...(recipes ?? []).map((option) => ({ value: option.name, label: `${option.title} (${option.name})` })),
              { value: OWN, label: 'Custom recipe (TOML)' },
            ]}
            value={recipe}
            error={errors.recipe}
            onChange={(value) => {
              setText(value === OWN ? (recipes?.find((candidate) => candidate.name === recipe)?.text ?? '') : null);
              setRecipe(value);
            }}
          />
          {text !== null && (
            <Textarea
              label="Recipe as TOML"
              className={classes.recipe}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
              autosize
              minRows={10}
              maxRows={24}
              spellCheck={false}
            />
          )}
          <TextInput
            label="Initial weights"
            required={needsStart}
            description={`${needsStart ? 'This recipe needs weights that are not included in Medhub: enter their name.' : 'Leave empty to use the weights of the recipe.'} timm:NAME for published weights, the name of a file in the folder weights below the data folder, or none.`}
            value={init}
            error={errors.init}
            onChange={(event) => setInit(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
          />
          <Checkbox
            label="Continue even if training and test images overlap"
            description="Otherwise the training stops. The model card shows the reason."
            checked={overrule}
            onChange={(event) => setOverrule(event.currentTarget.checked)}
          />
          {overrule && (
            <Textarea
              label="Reason"
              required
              value={reason}
              error={errors.overrule_leakage}
              onChange={(event) => setReason(event.currentTarget.value)}
              minRows={2}
              autosize
            />
          )}
          {problem && (
            <Notice tone="red" title={problem.title}>
              {problem.detail}
            </Notice>
          )}
          <div className={classes.buttons}>
            <Button type="submit" loading={busy}>
              Start training
            </Button>
            <Button component={Link} to="/training" variant="default">
              Cancel
            </Button>
          </div>
        </form>
      </Panel>
    </Page>
  );
}
