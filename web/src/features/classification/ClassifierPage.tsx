// SPDX-License-Identifier: Apache-2.0
import { useSuspenseQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { classification } from '@/api/calls';
import { useSession } from '@/api/session';
import { Badge } from '@/components/Badge';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { Notice } from '@/components/Notice';
import { Columns, Page, Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { capital, count } from '@/lib/format';
import {
  AccuracyCurve,
  ConfusionPanel,
  FiguresPanel,
  LabelFiguresPanel,
  OtherKindsPanel,
  SourcesPanel,
  UncertaintyPanel,
} from './cardPanels';
import classes from './classification.module.css';
import { ComparisonPanel } from './ComparisonPanel';
import { TextListPanel } from './TextListPanel';

export function ClassifierPage() {
  const { digest } = useParams({ from: '/shell/classifiers/$digest' });
  const { can } = useSession();
  const { data } = useSuspenseQuery({
    queryKey: ['classifiers', 'one', digest],
    queryFn: ({ signal }) => classification.classifier(digest, signal),
  });
  const { card, display_names: names } = data;
  return (
    <Page
      title={card.title}
      heading={
        <>
          {card.title} {data.in_use_on.length > 0 && <Badge tone="green">In use</Badge>}
          {data.shadow_on.length > 0 && <Badge tone="blue">Shadow mode</Badge>}
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
                Its training data is licensed for research only, and so is the classifier.
              </Notice>
            )}
            {card.run?.overruled && (
              <Notice title="Overlap of training and test images was accepted">{card.run.overruled}</Notice>
            )}
            <TextListPanel title="Must not be used for" lines={card.not_for} />
            <FiguresPanel card={card} />
            <LabelFiguresPanel card={card} names={names} />
            <ConfusionPanel card={card} names={names} />
            <AccuracyCurve card={card} />
            <SourcesPanel card={card} />
            <OtherKindsPanel card={card} />
            <TextListPanel title="Limitations" lines={card.limitations} />
            <TextListPanel title="Known shortcuts" lines={card.shortcuts} />
            {can('training.run') && <ComparisonPanel digest={digest} name={card.name} />}
          </>
        }
        right={
          <>
            <Panel title="Details">
              <DetailList
                details={[
                  ['Name', <code key="name">{card.name}</code>],
                  ['Version', card.version],
                  ['Network', card.architecture],
                  ['License', card.licence],
                  ['Labels', card.labels.map((label) => names[label] ?? label).join(', ')],
                  ['Initial weights', card.start?.name ?? 'none'],
                  ['In use on', data.in_use_on.join(', ') || 'no pathway'],
                  data.shadow_on.length > 0 && ['In shadow mode on', data.shadow_on.join(', ')],
                  ['Digest', <CopyableCode key="digest" value={digest} label="the digest" maxLength={16} />],
                  data.run_id !== null && [
                    'Made by',
                    <Link key="run" to="/training/runs/$runId" params={{ runId: data.run_id }}>
                      a training in this hub
                    </Link>,
                  ],
                ]}
              />
            </Panel>
            <UncertaintyPanel card={card} />
            {data.appointments.length > 0 && (
              <Panel title="Use in pathways">
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
            <Panel title="Training">
              <DetailList
                details={[
                  ['Software', card.trained_with],
                  card.run && ['Epochs', count(card.run.epochs)],
                  card.run && ['Seed', String(card.run.seed)],
                  card.run && ['Device', card.run.device],
                  card.run && ['Environment', card.run.environment],
                  card.run && [
                    'Data',
                    <CopyableCode
                      key="data"
                      value={card.run.data_sha256}
                      label="the digest of the data"
                      maxLength={12}
                    />,
                  ],
                  card.run && [
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
