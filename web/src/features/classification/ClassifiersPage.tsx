// SPDX-License-Identifier: Apache-2.0
import { Skeleton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { classification, type Classifier } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { CopyableCode } from '@/components/CopyableCode';
import { EmptyState } from '@/components/EmptyState';
import { DetailList } from '@/components/DetailList';
import { IconClassifiers } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Columns, Page, Panel, PanelGroup } from '@/components/Page';
import { capital, count, share } from '@/lib/format';
import { RowTable } from '../../components/RowTable';
import classes from './classification.module.css';
import { TextListPanel } from './TextListPanel';

export function ClassifiersPage() {
  const { data, error } = useQuery({
    queryKey: ['classifiers'],
    queryFn: ({ signal }) => classification.classifiers(signal),
    staleTime: 60_000,
  });
  const problem = error ? asProblem(error) : null;
  return (
    <Page title="Classifiers" lead="The classifiers suggest labels. Nothing is reported without a person's verdict.">
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {!data && !problem && <Skeleton height={400} />}
      {data?.length === 0 && (
        <EmptyState
          icon={<IconClassifiers size={32} />}
          title="No classifier is installed"
          text="Ask an administrator to add one to the models folder."
        />
      )}
      {data?.map((entry) => (
        <PanelGroup key={entry.digest} subject={`${entry.title} ${entry.version}`}>
          <ClassifierSummary classifier={entry} />
        </PanelGroup>
      ))}
    </Page>
  );
}

function ClassifierSummary({ classifier }: { classifier: Classifier }) {
  return (
    <Columns
      left={
        <>
          <Panel
            title={classifier.title}
            side={
              <Link to="/classifiers/$digest" params={{ digest: classifier.digest }}>
                Model card
              </Link>
            }
          >
            <p className={classes.use}>{classifier.intended_use}</p>
          </Panel>
          <TextListPanel title="Must not be used for" lines={classifier.not_for} />
          <Figures classifier={classifier} />
          <OtherKindsPanel classifier={classifier} />
          <TextListPanel title="Limitations" lines={classifier.limitations} />
        </>
      }
      right={
        <>
          <Panel title="Details">
            <DetailList
              details={[
                ['Name', <code key="name">{classifier.name}</code>],
                ['Version', classifier.version],
                ['Architecture', classifier.architecture],
                ['License', classifier.licence],
                ['Labels', classifier.labels.map((label) => classifier.display_names[label] ?? label).join(', ')],
                ['In use on', classifier.in_use_on.join(', ') || 'no pathway'],
                classifier.shadow_on.length > 0 && ['In shadow mode on', classifier.shadow_on.join(', ')],
                ['Digest', <CopyableCode key="digest" value={classifier.digest} label="the digest" maxLength={16} />],
              ]}
            />
          </Panel>
          <Panel title="By label">
            <RowTable
              name="Recall and precision by label"
              headers={['Label', 'Recall', 'Precision', 'n']}
              rows={classifier.per_label.map((entry) => [
                classifier.display_names[entry.label] ?? entry.label,
                share(entry.recall),
                share(entry.precision),
                count(entry.n),
              ])}
            />
          </Panel>
          <Panel title="Data">
            {classifier.data.map((entry) => (
              <div key={entry.name} className={classes.source}>
                <strong>{entry.name}</strong>
                <span>
                  {capital(entry.use)}. {entry.licence}.
                </span>
                <span className={classes.muted}>{entry.attribution}</span>
              </div>
            ))}
          </Panel>
        </>
      }
    />
  );
}

/** Measured shares with their 95 % interval and the number of images behind them. */
function Figures({ classifier }: { classifier: Classifier }) {
  const figures = Object.entries(classifier.figures);
  if (figures.length === 0) return null;
  return (
    <Panel title="Figures">
      <RowTable
        name="Figures"
        headers={['Figure', 'Value', '95 % interval', 'n']}
        rows={figures.map(([name, figure]) => [
          capital(name),
          share(figure.value),
          `${share(figure.low)} to ${share(figure.high)}`,
          count(figure.n),
        ])}
      />
    </Panel>
  );
}

/** What comes of images that the classifier was not made for. */
function OtherKindsPanel({ classifier }: { classifier: Classifier }) {
  if (classifier.strangers.length === 0) return null;
  return (
    <Panel title="Images of other kinds">
      <p className={classes.muted}>The share that is labeled Uncertain, as intended.</p>
      <RowTable
        name="Images of other kinds"
        headers={['Kind', 'Uncertain', 'In training data', 'n']}
        rows={classifier.strangers.map((entry) => [
          capital(entry.name),
          share(entry.uncertain),
          entry.seen_in_training ? 'Yes' : 'No',
          count(entry.n),
        ])}
      />
    </Panel>
  );
}
