// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, Select } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState, type ReactNode } from 'react';
import { classification, training } from '@/api/calls';
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
                Since <TimeAgo at={state.in_use.since} />, appointed by {state.in_use.by}.
              </>
            ) : (
              'The one that the pathway names.'
            )
          }
        />
      </Panel>
      <Panel
        title="In the shadow"
        side={
          state.shadow && (
            <Button variant="default" size="compact-sm" onClick={end.open}>
              End reading
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
                Reads all that comes in since <TimeAgo at={state.shadow.since} />; nobody who reads images sees what it
                says.
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
        consequence={`${state.in_use.classifier} reads no more images of ${state.title}; the classifier before it reads them from now on. What ${state.in_use.classifier} said stays, under its digest.`}
        onConfirm={async () => {
          const after = await training.rollBack(state.pathway);
          await refresh();
          notifySuccess(`${after.in_use.classifier} reads again`);
        }}
      />
      <Modal opened={ending} onClose={end.close} title="End reading in the shadow">
        <div className={classes.form}>
          <p className={classes.text}>{state.shadow?.classifier} reads no new images. What it said so far stays.</p>
          <div className={`${classes.buttons} ${classes.end}`}>
            <Button variant="default" onClick={end.close}>
              Keep it
            </Button>
            <Button
              onClick={() =>
                void training
                  .endShadow(state.pathway)
                  .then(refresh)
                  .catch((error: unknown) => notifyProblem(error))
                  .finally(end.close)
              }
            >
              End reading
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
  const others = (classifiers ?? []).filter((classifier) => classifier.digest !== state.in_use.digest);
  const start = async () => {
    if (!digest) return;
    setBusy(true);
    try {
      const after = await training.startShadow(state.pathway, digest);
      await refresh();
      notifySuccess(`${after.shadow?.classifier ?? 'It'} reads in the shadow`);
    } catch (error) {
      notifyProblem(error, 'No classifier reads in the shadow');
    } finally {
      setBusy(false);
    }
  };
  if (classifiers && others.length === 0) {
    return (
      <p className={classes.note}>
        There is no other classifier. <Link to="/training/new">Train one</Link>; then it can read here beside the one in
        use, without being shown.
      </p>
    );
  }
  return (
    <div className={classes.reader}>
      <Select
        label="Classifier"
        placeholder="Choose one"
        data={others.map((classifier) => ({
          value: classifier.digest,
          label: `${classifier.name} ${classifier.version} (${classifier.digest.slice(0, 8)})`,
        }))}
        value={digest}
        onChange={setDigest}
      />
      <div className={classes.buttons}>
        <Button disabled={!digest} loading={busy} onClick={() => void start()}>
          Begin reading in the shadow
        </Button>
      </div>
    </div>
  );
}
