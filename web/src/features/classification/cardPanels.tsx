// SPDX-License-Identifier: Apache-2.0
// The panels of a model card: what was measured, by label, by source, and where the classifier abstains.
import type { ModelCard } from '@/api/calls';
import { DetailList } from '@/components/DetailList';
import { LineChart } from '@/components/LineChart';
import { Panel } from '@/components/Page';
import { RowTable } from '@/components/RowTable';
import { capital, count, share } from '@/lib/format';
import classes from './classification.module.css';

/** A value with its lower and upper bound. */
type Interval = readonly number[] | null | undefined;

function formatInterval(interval: Interval): string {
  const [value, low, high] = interval ?? [];
  if (value === undefined || low === undefined || high === undefined) return '–';
  return `${share(value)} (${share(low)} to ${share(high)})`;
}

function formatValue(interval: Interval, format: (value: number) => string): string {
  const value = interval?.[0];
  return value === undefined ? '–' : format(value);
}

export function FiguresPanel({ card }: { card: ModelCard }) {
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

type LabelFigure = ModelCard['per_label'][number];

/** Older cards have fewer columns; a column that nothing stands in is left out. */
const LABEL_COLUMNS: [title: string, cell: (row: LabelFigure) => string, known: (row: LabelFigure) => boolean][] = [
  ['Label', (row) => row.label, () => true],
  ['Recall', (row) => share(row.recall), () => true],
  ['Precision', (row) => share(row.precision), () => true],
  ['Specificity', (row) => formatValue(row.specificity, share), (row) => Boolean(row.specificity)],
  ['F1', (row) => formatValue(row.f1, share), (row) => Boolean(row.f1)],
  ['AUROC', (row) => formatValue(row.auroc, (value) => value.toFixed(3)), (row) => Boolean(row.auroc)],
  ['n', (row) => count(row.n), () => true],
];

type NamedProps = { card: ModelCard; names: Readonly<Record<string, string>> };

export function LabelFiguresPanel({ card, names }: NamedProps) {
  if (card.per_label.length === 0) return null;
  const columns = LABEL_COLUMNS.filter(([, , known]) => card.per_label.some(known));
  return (
    <Panel title="By label">
      <RowTable
        name="Figures by label"
        headers={columns.map(([title]) => title)}
        rows={card.per_label.map((row) =>
          columns.map(([, cell]) => cell({ ...row, label: names[row.label] ?? row.label })),
        )}
      />
    </Panel>
  );
}

/** True labels as rows, predicted ones as columns; the darker a cell the larger its share of the row. */
export function ConfusionPanel({ card, names }: NamedProps) {
  if (card.confusion.length === 0) return null;
  return (
    <Panel title="Confusion matrix">
      <p className={classes.muted}>Rows: true label. Columns: predicted label. Test images.</p>
      <div className={classes.frame} tabIndex={0} role="region" aria-label="Table: confusion matrix">
        <table className={classes.confusion}>
          <thead>
            <tr>
              <td />
              {card.labels.map((label) => (
                <th key={label} scope="col">
                  <span>{names[label] ?? label}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {card.confusion.map((row, at) => {
              const total = row.reduce((sum, value) => sum + value, 0) || 1;
              return (
                <tr key={card.labels[at]}>
                  <th scope="row">{names[card.labels[at] ?? ''] ?? card.labels[at]}</th>
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

export function AccuracyCurve({ card }: { card: ModelCard }) {
  const points = [...card.curve].sort((a, b) => a.answered - b.answered);
  const all = points.at(-1);
  const most = points.findLast((point) => point.answered <= 0.9);
  if (!all || points.length < 2) return null;
  const lowest = Math.min(...points.map((point) => point.accuracy));
  return (
    <LineChart
      title="Accuracy by share of labeled images"
      n={`${points.length} points, test images`}
      summary={
        most
          ? `${share(all.accuracy)} for all images; ${share(most.accuracy)} for the ${share(most.answered)} with the highest confidence.`
          : `${share(all.accuracy)} for all images.`
      }
      steps={points.map((point) => share(point.answered))}
      stepTitle="Share labeled"
      unit="Accuracy"
      lines={[{ name: 'Accuracy', values: points.map((point) => point.accuracy) }]}
      range={[Math.max(0, lowest - 0.05), 1]}
      format={share}
    />
  );
}

export function SourcesPanel({ card }: { card: ModelCard }) {
  if (card.sources.length < 2) return null;
  return (
    <Panel title="By source">
      <RowTable
        name="Accuracy by source"
        headers={['Source', 'Accuracy (95 % interval)', 'n']}
        rows={card.sources.map((source) => [source.source, formatInterval(source.accuracy), count(source.n)])}
      />
    </Panel>
  );
}

export function OtherKindsPanel({ card }: { card: ModelCard }) {
  if (card.strangers.length === 0) return null;
  return (
    <Panel title="Images of other kinds">
      <p className={classes.muted}>The share that is labeled Uncertain, as intended.</p>
      <RowTable
        name="Images of other kinds"
        headers={['Kind', 'Uncertain', 'n']}
        rows={card.strangers.map((entry) => [capital(entry.name), share(entry.uncertain), count(entry.n)])}
      />
    </Panel>
  );
}

export function UncertaintyPanel({ card }: { card: ModelCard }) {
  if (!card.calibration && !card.abstention) return null;
  return (
    <Panel title="Uncertainty">
      <DetailList
        details={[
          card.calibration && [
            'Calibration error',
            `${card.calibration.error_after.toFixed(3)} (before: ${card.calibration.error_before.toFixed(3)})`,
          ],
          card.abstention && [
            'Learned threshold',
            `Confidence ${card.abstention.threshold.toFixed(2)}: it labels ${share(card.abstention.answered)} of the images. In ${share(card.abstention.confidence)} of further sets of ${count(card.abstention.n)} similar images, at most ${share(card.abstention.target_error)} of the labels are wrong`,
          ],
        ]}
      />
    </Panel>
  );
}
