// SPDX-License-Identifier: Apache-2.0
import { Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { classification } from '@/api/calls';
import { asProblem } from '@/api/problem';
import type { Classifier } from '@/api/types';
import { Code } from '@/components/Code';
import { EmptyState } from '@/components/EmptyState';
import { Facts } from '@/components/Facts';
import { IconClassifiers } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Columns, Page, Panel } from '@/components/Page';
import { capital, words } from '@/lib/format';
import classes from './ClassifiersPage.module.css';

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
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {!data && !problem && <Skeleton height={400} />}
      {data?.length === 0 && (
        <EmptyState icon={<IconClassifiers size={32} />} title="No classifier is installed" text="Ask an administrator to add one to the models folder." />
      )}
      {data?.map((entry) => <Card key={`${entry.name}-${entry.version}`} classifier={entry} />)}
    </Page>
  );
}

function Card({ classifier }: { classifier: Classifier }) {
  return (
    <Columns
      left={
        <>
          <Panel title={`${classifier.name} ${classifier.version}`}>
            <p className={classes.use}>{classifier.intended_use}</p>
          </Panel>
          <Panel title="Must not be used for">
            <ul className={classes.list}>
              {classifier.not_for.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          </Panel>
          <Figures classifier={classifier} />
        </>
      }
      right={
        <>
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
        </>
      }
    />
  );
}

type Figure = { value?: unknown; low?: unknown; high?: unknown; n?: unknown };

function numberText(value: unknown): string {
  return typeof value === 'number' ? value.toLocaleString(undefined, { maximumFractionDigits: 4 }) : '–';
}

/** Measured shares with their 95 % interval and the number of images behind them. */
function Figures({ classifier }: { classifier: Classifier }) {
  const figures = Object.entries(classifier.figures) as [string, Figure][];
  if (figures.length === 0) return null;
  return (
    <Panel title="Figures">
      <div className={classes.frame} tabIndex={0} role="region" aria-label="Table of figures">
        <table className={classes.table}>
          <thead>
            <tr>
              <th scope="col">Figure</th>
              <th scope="col">Value</th>
              <th scope="col">95 % interval</th>
              <th scope="col">n</th>
            </tr>
          </thead>
          <tbody>
            {figures.map(([name, figure]) => (
              <tr key={name}>
                <th scope="row">{capital(words(name))}</th>
                <td>{numberText(figure.value)}</td>
                <td>{figure.low === undefined ? '–' : `${numberText(figure.low)} to ${numberText(figure.high)}`}</td>
                <td>{numberText(figure.n)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
