// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, Select } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { classification, training } from '@/api/calls';
import { pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { PathwayClassifiers } from '@/api/types';
import { CopyableCode } from '@/components/CopyableCode';
import { IconUndo } from '@/components/icons';
import { notifyProblem, notifySuccess } from '@/components/notify';
import { Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import classes from './training.module.css';

import { useRefresh } from './useRefresh';

export function CurrentClassifiers({ state }: { state: PathwayClassifiers }) {
  const { can } = useSession();
  const refresh = useRefresh();
  const [rolling, roll] = useDisclosure(false);
  const [ending, end] = useDisclosure(false);
  return (
    <div className={classes.readers}>
      <Panel
        title="In use"
        side={
          can('promotion.decide') &&
          state.can_roll_back && (
            <Button variant="default" size="compact-sm" leftSection={<IconUndo size={16} />} onClick={roll.open}>
              Roll back
            </Button>
          )
        }
      >
        <ClassifierFacts
          name={state.in_use.classifier}
          digest={state.in_use.digest}
          words={
            state.in_use.since ? (
              <>
                Since <TimeAgo at={state.in_use.since} />; activated by {state.in_use.by}.
              </>
            ) : (
              'The default classifier of the pathway.'
            )
          }
        />
      </Panel>
      <Panel
        title="Shadow mode"
        side={
          state.shadow && (
            <Button variant="default" size="compact-sm" onClick={end.open}>
              Stop shadow mode
            </Button>
          )
        }
      >
        {state.shadow ? (
          <ClassifierFacts
            name={state.shadow.classifier}
            digest={state.shadow.digest}
            words={
              <>
                Classifies all new images since <TimeAgo at={state.shadow.since} />. Its predictions are not shown to
                reviewers.
              </>
            }
          />
        ) : (
          <StartShadow state={state} />
        )}
      </Panel>
      <ConfirmDialog
        opened={rolling}
        onClose={roll.close}
        title="Roll back"
        code={state.pathway}
        codeName="pathway"
        confirmLabel="Roll back"
        consequence={`New images of ${state.title} are classified by the previous classifier instead of ${state.in_use.classifier}. Existing predictions are kept.`}
        onConfirm={async () => {
          const after = await training.rollBack(state);
          await refresh();
          notifySuccess(`${after.in_use.classifier} is in use again`);
        }}
      />
      <Modal opened={ending} onClose={end.close} title="Stop shadow mode">
        <div className={classes.form}>
          <p className={classes.text}>{state.shadow?.classifier} classifies no new images. Its predictions are kept.</p>
          <div className={`${classes.buttons} ${classes.end}`}>
            <Button variant="default" onClick={end.close}>
              Cancel
            </Button>
            <Button
              onClick={() =>
                void training
                  .endShadow(state)
                  .then(refresh)
                  .catch((error: unknown) => notifyProblem(error))
                  .finally(end.close)
              }
            >
              Stop shadow mode
            </Button>
          </div>
        </div>
      </Modal>
    </div>
  );
}

function ClassifierFacts({ name, digest, words }: { name: string; digest: string; words: ReactNode }) {
  return (
    <div className={classes.reader}>
      <Link to="/classifiers/$digest" params={{ digest }} className={classes.name}>
        {name}
      </Link>
      <CopyableCode value={digest} label="the digest" maxLength={16} />
      <p className={classes.note}>{words}</p>
    </div>
  );
}

function StartShadow({ state }: { state: PathwayClassifiers }) {
  const refresh = useRefresh();
  const { data: classifiers } = useQuery({
    queryKey: ['classifiers'],
    queryFn: ({ signal }) => classification.classifiers(signal),
    staleTime: 60_000,
  });
  const [digest, setDigest] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const { data: pathways } = useQuery(pathwaysQuery);
  const pathway = pathways?.find((entry) => entry.name === state.pathway);
  // As the server requires: labels that the pathway knows, and each label that it counts.
  const fits = (labels: string[]) =>
    pathway === undefined ||
    (labels.every((label) => pathway.labels.includes(label)) &&
      pathway.labels.every((label) => pathway.not_counted.includes(label) || labels.includes(label)));
  const others = (classifiers ?? []).filter(
    (classifier) => classifier.digest !== state.in_use.digest && fits(classifier.labels),
  );
  const start = async () => {
    if (!digest) return;
    setBusy(true);
    try {
      const after = await training.startShadow(state, digest);
      await refresh();
      notifySuccess(`${after.shadow?.classifier ?? 'The classifier'} runs in shadow mode`);
    } catch (error) {
      notifyProblem(error, 'Shadow mode was not started');
    } finally {
      setBusy(false);
    }
  };
  if (classifiers && others.length === 0) {
    return (
      <p className={classes.note}>
        There is no other classifier with the labels of this pathway. <Link to="/training/new">Train one</Link>; it can
        then run here in shadow mode.
      </p>
    );
  }
  return (
    <div className={classes.reader}>
      <Select
        label="Classifier"
        placeholder="Select a classifier"
        data={others.map((classifier) => ({
          value: classifier.digest,
          label: `${classifier.name} ${classifier.version} (${classifier.digest.slice(0, 8)})`,
        }))}
        value={digest}
        onChange={setDigest}
      />
      <div className={classes.buttons}>
        <Button disabled={!digest} loading={busy} onClick={() => void start()}>
          Start shadow mode
        </Button>
      </div>
    </div>
  );
}
