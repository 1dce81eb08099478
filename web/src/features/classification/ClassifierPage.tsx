// SPDX-License-Identifier: Apache-2.0
import { Select } from '@mantine/core';
import { useQuery, useSuspenseQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { classification } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { useSession } from '@/api/session';
import { Badge } from '@/components/Badge';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { LineChart } from '@/components/LineChart';
import { Notice } from '@/components/Notice';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, count, share } from '@/lib/format';
import { RowTable } from '../../components/RowTable';
import classes from './classification.module.css';

// The card as card.toml holds it; see science/inference/card.py.
type Ranged = [value: number, low: number, high: number];
type Card = {
  name: string;
  version: string;
  title: string;
  architecture: string;
  licence: string;
  labels: string[];
  intended_use: string;
  not_for: string[];
  limitations: string[];
  shortcuts: string[];
  research_demonstration: boolean;
  trained_with: string;
  temperature: number;
  start: { name: string; source: string; licence: string } | null;
  figures: { name: string; value: number; low: number; high: number; n: number; interval: string }[];
  measures: { name: string; value: number; n: number }[];
  per_label: {
    label: string;
    n: number;
    recall: number;
    precision: number;
    specificity?: Ranged | null;
    f1?: Ranged | null;
    auroc?: Ranged | null;
  }[];
  sources: { source: string; n: number; accuracy: Ranged }[];
  strangers: { name: string; n: number; uncertain: number; auroc?: number | null }[];
  curve: { answered: number; accuracy: number }[];
  confusion: number[][];
  calibration: { error_before: number; error_after: number; n: number } | null;
  abstention: {
    threshold: number;
    target_error: number;
    confidence: number;
    answered: number;
    error: number;
    n: number;
  } | null;
  data: { name: string; use: string; licence: string; attribution: string; images: number }[];
  run: {
    code: string;
    data_sha256: string;
    recipe_sha256: string;
    seed: number;
    epochs: number;
    device: string;
    environment: string;
    overruled: string;
  } | null;
};

export function ClassifierPage() {
  const { digest } = useParams({ from: '/shell/classifiers/$digest' });
  const { can } = useSession();
  const { data } = useSuspenseQuery({
    queryKey: ['classifiers', 'one', digest],
    queryFn: ({ signal }) => classification.classifier(digest, signal),
  });
  const card = data.card as Card;
  return (
    <Page
      title={card.title}
      heading={
        <>
          {card.title} {data.in_use_on.length > 0 && <Badge tone="green">In use</Badge>}
          {data.shadow_on.length > 0 && <Badge tone="blue">In the shadow</Badge>}
        </>
      }
      trail={[{ to: '/classifiers', title: 'Classifiers' }]}
      lead={card.intended_use}
    >
      <Columns
        left={
          <>
            {card.research_demonstration && (
              <Notice title="Research demonstration">
                Its training data may not be used for anything else; neither may it.
              </Notice>
            )}
            {card.run?.overruled && (
              <Notice title="A leak between learning and measuring was accepted">{card.run.overruled}</Notice>
            )}
            <Lines title="Must not be used for" lines={card.not_for} />
            <Figures card={card} />
            <ByLabel card={card} />
            <Confusion card={card} />
            <Curve card={card} />
            <Sources card={card} />
            <OtherKindsPanel card={card} />
            <Lines title="Limitations" lines={card.limitations} />
            <Lines title="Known shortcuts" lines={card.shortcuts} />
            {can('train') && <Compare digest={digest} name={card.name} />}
          </>
        }
        right={
          <>
            <Panel title="Facts">
              <DetailList
                details={[
                  ['Name', <code key="name">{card.name}</code>],
                  ['Version', card.version],
                  ['Network', card.architecture],
                  ['License', card.licence],
                  ['Labels', card.labels.join(', ')],
                  ['Started from', card.start?.name ?? 'nothing'],
                  ['In use on', data.in_use_on.join(', ') || 'no pathway'],
                  data.shadow_on.length > 0 && ['In the shadow on', data.shadow_on.join(', ')],
                  ['Digest', <CopyableCode key="digest" value={digest} label="the digest" maxLength={16} />],
                  data.run_id !== null && [
                    'Made by',
                    <Link key="run" to="/training/runs/$runId" params={{ runId: data.run_id }}>
                      a training here
                    </Link>,
                  ],
                ]}
              />
            </Panel>
            <Certainty card={card} />
            {data.appointments.length > 0 && (
              <Panel title="Where it read">
                <ul className={classes.list}>
                  {data.appointments.map((appointment) => (
                    <li key={`${appointment.since}${appointment.part}`}>
                      {capital(appointment.part)} on {appointment.pathway} from <TimeAgo at={appointment.since} />
                      {appointment.until ? (
                        <>
                          {' '}
                          until <TimeAgo at={appointment.until} />
                        </>
                      ) : (
                        ''
                      )}
                      , by {appointment.by}
                    </li>
                  ))}
                </ul>
              </Panel>
            )}
            {card.data.length > 0 && (
              <Panel title="Data">
                {card.data.map((entry) => (
                  <div key={entry.name} className={classes.source}>
                    <strong>{entry.name}</strong>
                    <span>
                      {capital(entry.use)}. {count(entry.images)} images. {entry.licence}.
                    </span>
                    <span className={classes.muted}>{entry.attribution}</span>
                  </div>
                ))}
              </Panel>
            )}
            <Panel title="How it was made">
              <DetailList
                details={[
                  ['With', card.trained_with],
                  card.run !== null && ['Epochs', count(card.run.epochs)],
                  card.run !== null && ['Seed', String(card.run.seed)],
                  card.run !== null && ['Device', card.run.device],
                  card.run !== null && ['Environment', card.run.environment],
                  card.run !== null && [
                    'Data',
                    <CopyableCode
                      key="data"
                      value={card.run.data_sha256}
                      label="the digest of the data"
                      maxLength={12}
                    />,
                  ],
                  card.run !== null && [
                    'Recipe',
                    <CopyableCode
                      key="recipe"
                      value={card.run.recipe_sha256}
                      label="the digest of the recipe"
                      maxLength={12}
                    />,
                  ],
                ]}
              />
            </Panel>
          </>
        }
      />
    </Page>
  );
}

function Lines({ title, lines }: { title: string; lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <Panel title={title}>
      <ul className={classes.list}>
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </Panel>
  );
}

const ranged = (value: Ranged | null | undefined) =>
  value ? `${share(value[0])} (${share(value[1])} to ${share(value[2])})` : '–';

function Figures({ card }: { card: Card }) {
  if (card.figures.length === 0) return null;
  const intervals = [...new Set(card.figures.map((figure) => figure.interval))];
  return (
    <Panel title="Figures on test images">
      {intervals.length === 1 && <p className={classes.muted}>Intervals: {intervals[0]}.</p>}
      <RowTable
        name="Figures"
        headers={['Figure', 'Value', '95 % interval', 'n']}
        rows={card.figures.map((figure) => [
          intervals.length > 1 ? `${capital(figure.name)} (${figure.interval})` : capital(figure.name),
          share(figure.value),
          `${share(figure.low)} to ${share(figure.high)}`,
          count(figure.n),
        ])}
      />
    </Panel>
  );
}

type LabelFigure = Card['per_label'][number];

/** Older cards have fewer columns; a column that nothing stands in is left out. */
const LABEL_COLUMNS: [title: string, cell: (row: LabelFigure) => string, known: (row: LabelFigure) => boolean][] = [
  ['Label', (row) => row.label, () => true],
  ['Recall', (row) => share(row.recall), () => true],
  ['Precision', (row) => share(row.precision), () => true],
  ['Specificity', (row) => (row.specificity ? share(row.specificity[0]) : '–'), (row) => Boolean(row.specificity)],
  ['F1', (row) => (row.f1 ? share(row.f1[0]) : '–'), (row) => Boolean(row.f1)],
  ['AUROC', (row) => (row.auroc ? row.auroc[0].toFixed(3) : '–'), (row) => Boolean(row.auroc)],
  ['n', (row) => count(row.n), () => true],
];

function ByLabel({ card }: { card: Card }) {
  if (card.per_label.length === 0) return null;
  const columns = LABEL_COLUMNS.filter(([, , known]) => card.per_label.some(known));
  return (
    <Panel title="By label">
      <RowTable
        name="Figures by label"
        headers={columns.map(([title]) => title)}
        rows={card.per_label.map((row) => columns.map(([, cell]) => cell(row)))}
      />
    </Panel>
  );
}

/** True labels as rows, predicted ones as columns; the darker a cell the larger its share of the row. */
function Confusion({ card }: { card: Card }) {
  if (card.confusion.length === 0) return null;
  return (
    <Panel title="Which label was taken for which">
      <p className={classes.muted}>Rows: what it was. Columns: what the classifier said. Test images.</p>
      <div className={classes.frame} tabIndex={0} role="region" aria-label="Table: which label was taken for which">
        <table className={classes.confusion}>
          <thead>
            <tr>
              <td />
              {card.labels.map((label) => (
                <th key={label} scope="col">
                  <span>{label}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {card.confusion.map((row, at) => {
              const total = row.reduce((sum, value) => sum + value, 0) || 1;
              return (
                <tr key={card.labels[at]}>
                  <th scope="row">{card.labels[at]}</th>
                  {row.map((value, column) => (
                    <td
                      key={card.labels[column]}
                      data-right={at === column || undefined}
                      style={{ '--part': `${Math.round((60 * value) / total)}%` }}
                    >
                      {value === 0 ? <span className={classes.none}>0</span> : count(value)}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Curve({ card }: { card: Card }) {
  const points = [...card.curve].sort((a, b) => a.answered - b.answered);
  const all = points.at(-1);
  const most = points.findLast((point) => point.answered <= 0.9);
  if (!all || points.length < 2) return null;
  const lowest = Math.min(...points.map((point) => point.accuracy));
  return (
    <LineChart
      title="Accuracy of the surest answers"
      n={`${points.length} points, test images`}
      summary={
        most
          ? `${share(all.accuracy)} of all; ${share(most.accuracy)} of the surest ${share(most.answered)}.`
          : `${share(all.accuracy)} of all.`
      }
      steps={points.map((point) => share(point.answered))}
      stepTitle="Share answered"
      unit="Accuracy"
      lines={[{ name: 'Accuracy', values: points.map((point) => point.accuracy) }]}
      range={[Math.max(0, lowest - 0.05), 1]}
      format={share}
    />
  );
}

function Sources({ card }: { card: Card }) {
  if (card.sources.length < 2) return null;
  return (
    <Panel title="By source">
      <RowTable
        name="Accuracy by source"
        headers={['Source', 'Accuracy (95 % interval)', 'n']}
        rows={card.sources.map((source) => [source.source, ranged(source.accuracy), count(source.n)])}
      />
    </Panel>
  );
}

function OtherKindsPanel({ card }: { card: Card }) {
  if (card.strangers.length === 0) return null;
  return (
    <Panel title="Images of other kinds">
      <p className={classes.muted}>How many of them come out as Uncertain, as they should.</p>
      <RowTable
        name="Images of other kinds"
        headers={['Kind', 'Uncertain', 'n']}
        rows={card.strangers.map((entry) => [capital(entry.name), share(entry.uncertain), count(entry.n)])}
      />
    </Panel>
  );
}

function Certainty({ card }: { card: Card }) {
  if (!card.calibration && !card.abstention) return null;
  return (
    <Panel title="Knowing what it does not know">
      <DetailList
        details={[
          card.calibration !== null && [
            'Calibration error',
            `${card.calibration.error_after.toFixed(3)} (before: ${card.calibration.error_before.toFixed(3)})`,
          ],
          card.abstention !== null && [
            'Learned limit',
            `Confidence ${card.abstention.threshold.toFixed(2)}: it answers ${share(card.abstention.answered)}. Of further sets of ${count(card.abstention.n)} like images, ${share(card.abstention.confidence)} have at most ${share(card.abstention.target_error)} wrong answers`,
          ],
        ]}
      />
    </Panel>
  );
}

function Compare({ digest, name }: { digest: string; name: string }) {
  const [other, setOther] = useState<string | null>(null);
  const { data: classifiers } = useQuery({
    queryKey: ['classifiers'],
    queryFn: ({ signal }) => classification.classifiers(signal),
    staleTime: 60_000,
  });
  const { data, error } = useQuery({
    queryKey: ['classifiers', 'compare', digest, other],
    queryFn: ({ signal }) => classification.compare(digest, other ?? '', signal),
    enabled: other !== null,
  });
  const others = (classifiers ?? []).filter((classifier) => classifier.digest !== digest);
  const chosen = others.find((classifier) => classifier.digest === other);
  if (others.length === 0) return null;
  const problem = error ? asProblem(error) : null;
  return (
    <Panel title="Compare with another classifier">
      <Select
        label="On images with a signed verdict that both have read and neither learned from"
        placeholder="Choose a classifier"
        data={others.map((classifier) => ({
          value: classifier.digest,
          label: `${classifier.name} ${classifier.version} (${classifier.digest.slice(0, 8)})`,
        }))}
        value={other}
        onChange={setOther}
        mb={12}
      />
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
      {data && data.n === 0 && <p className={classes.muted}>There is no such image yet. Let one read in the shadow.</p>}
      {data && data.n > 0 && (
        <>
          <RowTable
            name="Comparison"
            headers={['On the same images', name, chosen?.name === name ? 'the other' : (chosen?.name ?? 'the other')]}
            rows={[
              ['Accuracy', ...(data.accuracy ?? []).map(share)],
              ['Balanced accuracy', ...(data.balanced_accuracy ?? []).map(share)],
              ['Abstains on', ...(data.abstention ?? []).map(share)],
              ['Right alone', count(data.only_first), count(data.only_second)],
            ]}
          />
          <p className={classes.muted}>
            n = {count(data.n)}.{' '}
            {data.p !== null && data.p < 0.05
              ? `The difference is hardly chance (McNemar p = ${data.p < 0.001 ? '<0.001' : data.p.toFixed(3)}).`
              : `The difference may be chance (McNemar p = ${data.p?.toFixed(3) ?? '–'}).`}
          </p>
        </>
      )}
    </Panel>
  );
}
