// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useSuspenseQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { records } from '@/api/calls';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { Page, Panel } from '@/components/Page';
import { dateTimeWithZone } from '@/lib/format';
import { ErasureState } from './ErasuresPage';
import { countDetails } from './erasureCounts';
import classes from './records.module.css';

type TrainedClassifier = { classifier: string; digest: string; learned_from_images: number };
type DataSetUse = { name: string; version: number; part: string; images: number };

/** What went with a person, and what had been made of it; made to be printed. */
export function ErasurePage() {
  const { erasureId } = useParams({ from: '/shell/erasures/$erasureId' });
  const { data: erasure } = useSuspenseQuery({
    queryKey: ['erasures', 'one', erasureId],
    queryFn: ({ signal }) => records.erasure(erasureId, signal),
    refetchInterval: (query) => (query.state.data?.completed_at ? false : 2_000),
  });
  const { data_sets, classifiers, ...counts } = erasure.contents;
  const trainedClassifiers = (classifiers ?? []) as TrainedClassifier[];
  const dataSetUses = (data_sets ?? []) as DataSetUse[];
  return (
    <Page
      title={`Erasure of ${erasure.patient_code}`}
      heading={
        <>
          Erasure of <code>{erasure.patient_code}</code>
        </>
      }
      trail={[{ to: '/erasures', title: 'Erasure certificates' }]}
      width="text"
      actions={
        <Button variant="default" onClick={() => window.print()}>
          Print
        </Button>
      }
    >
      <Panel title="Certificate">
        <DetailList
          details={[
            ['Number', <CopyableCode key="id" value={erasure.id} label="the number" maxLength={32} />],
            ['State', <ErasureState key="state" erasure={erasure} />],
            ['Erased', dateTimeWithZone(erasure.erased_at)],
            ['By', erasure.erased_by],
            erasure.requested_by ? ['Requested by', erasure.requested_by] : null,
            erasure.reason ? ['Reason', erasure.reason] : null,
            erasure.completed_at ? ['Completed', dateTimeWithZone(erasure.completed_at)] : null,
          ]}
        />
        <p className={classes.muted} style={{ marginBlockStart: 12 }}>
          The key of the patient is destroyed. Data encrypted with it cannot be decrypted any more, in any copy outside
          the database. A database backup from before the erasure still contains the key until that backup is destroyed.
        </p>
      </Panel>
      <Panel title="Destroyed data">
        <DetailList details={countDetails(counts)} />
      </Panel>
      <Panel title="Use in training">
        {dataSetUses.length === 0 && <p className={classes.muted}>No image of the patient was in a data set.</p>}
        {dataSetUses.length > 0 && (
          <ul>
            {dataSetUses.map((use) => (
              <li key={`${use.name} ${use.version} ${use.part}`}>
                {use.images} {use.images === 1 ? 'image' : 'images'} in the part “{use.part}” of the data set {use.name}
                , version {use.version}
              </li>
            ))}
          </ul>
        )}
        {dataSetUses.length > 0 && trainedClassifiers.length === 0 && (
          <p className={classes.muted}>No classifier was trained with them here.</p>
        )}
        {trainedClassifiers.length > 0 && (
          <>
            <p className={classes.muted}>
              A trained classifier is not changed by the erasure. To remove the influence of the images, train a new
              classifier without the patient and promote it.
            </p>
            <ul>
              {trainedClassifiers.map((classifier) => (
                <li key={classifier.digest}>
                  {classifier.classifier}, trained with {classifier.learned_from_images}{' '}
                  {classifier.learned_from_images === 1 ? 'image' : 'images'}:{' '}
                  <CopyableCode value={classifier.digest} label="the digest" maxLength={16} />
                </li>
              ))}
            </ul>
          </>
        )}
      </Panel>
    </Page>
  );
}
