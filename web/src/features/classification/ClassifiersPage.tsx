// SPDX-License-Identifier: Apache-2.0
import { Alert, Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { classification } from '@/api/calls';
import { asProblem } from '@/api/problem';
import type { Classifier } from '@/api/types';
import { Code } from '@/components/Code';
import { EmptyState } from '@/components/EmptyState';
import { Facts, type Fact } from '@/components/Facts';
import { IconClassifiers, IconWarning } from '@/components/icons';
import { Markdown } from '@/components/Markdown';
import { Columns, Page, Panel } from '@/components/Page';
import { capital, words } from '@/lib/format';

export function ClassifiersPage() {
  const { data, error } = useQuery({
    queryKey: ['classifiers'],
    queryFn: ({ signal }) => classification.classifiers(signal),
    staleTime: 60_000,
  });
  const problem = error ? asProblem(error) : null;
  return (
    <Page title="Classifiers" lead="What reads the images first. A classifier has no authority: nothing is reported without a person's verdict.">
      {problem && (
        <Alert color="red.9" icon={<IconWarning />} title={problem.title} role="alert">
          {problem.detail}
        </Alert>
      )}
      {!data && !problem && <Skeleton height={400} />}
      {data?.length === 0 && (
        <EmptyState icon={<IconClassifiers size={32} />} title="No classifier is installed" text="Ask an administrator to add one to the models folder." />
      )}
      {data?.map((entry) => <Card key={`${entry.name}-${entry.version}`} classifier={entry} />)}
    </Page>
  );
}

function figureText(value: unknown): string {
  if (typeof value === 'number') return String(Math.round(value * 10_000) / 10_000);
  if (Array.isArray(value)) return value.map(figureText).join(' to ');
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .map(([name, inner]) => `${words(name)} ${figureText(inner)}`)
      .join(', ');
  }
  return String(value);
}

function Card({ classifier }: { classifier: Classifier }) {
  const figures = Object.entries(classifier.figures).map(([name, value]): Fact => [capital(words(name)), figureText(value)]);
  return (
    <Columns
      left={
        <Panel title={`${classifier.name} ${classifier.version}`}>
          <Markdown text={classifier.card} />
        </Panel>
      }
      right={
        <>
          <Panel title="Use">
            <Facts
              facts={[
                ['Meant for', classifier.intended_use],
                ['Not for', classifier.not_for],
              ]}
            />
          </Panel>
          <Panel title="Facts">
            <Facts
              facts={[
                ['Architecture', classifier.architecture],
                ['Labels', classifier.labels.join(', ')],
                ['License', classifier.licence],
                ['Digest', <Code key="digest" value={classifier.digest} what="the digest" shown={16} />],
              ]}
            />
          </Panel>
          {figures.length > 0 && (
            <Panel title="Figures">
              <Facts facts={figures} />
            </Panel>
          )}
        </>
      }
    />
  );
}
