// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useSuspenseQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { records } from '@/api/calls';
import { Code } from '@/components/Code';
import { Facts } from '@/components/Facts';
import { Page, Panel } from '@/components/Page';
import { dateTimeWithZone } from '@/lib/format';
import { ErasureState } from './ErasuresPage';
import classes from './records.module.css';

const WORDS: Record<string, string> = {
  keys: 'Key of the vault',
  identities: 'Identity in the vault',
  studies: 'Studies',
  images: 'Images',
  files: 'Files, renditions among them',
  arrivals: 'Entries of arrivals',
  quarantined_files: 'Files in quarantine',
  receipts: 'Receipts of files',
  manifests: 'Manifests of de-identification',
  predictions: 'Predictions',
  evidence_maps: 'Evidence maps',
  shadow_predictions: 'Predictions in the shadow',
  cases: 'Cases',
  verdicts: 'Verdicts',
  reports: 'Reports',
  exports: 'Exports',
};

type Learned = { classifier: string; digest: string; learned_from_images: number };
type Held = { name: string; version: number; part: string; images: number };

/** What went with a person, and what had been made of it; made to be printed. */
export function ErasurePage() {
  const { erasureId } = useParams({ strict: false }) as { erasureId: string };
  const { data: erasure } = useSuspenseQuery({
    queryKey: ['erasures', 'one', erasureId],
    queryFn: ({ signal }) => records.erasure(erasureId, signal),
    refetchInterval: (query) => (query.state.data?.completed_at ? false : 2_000),
  });
  const { data_sets, classifiers, ...counts } = erasure.contents;
  const learned = (classifiers ?? []) as Learned[];
  const held = (data_sets ?? []) as Held[];
  return (
    <Page
      title={`Erasure of ${erasure.patient_code}`}
      heading={
        <>
          Erasure of <code>{erasure.patient_code}</code>
        </>
      }
      trail={[{ to: '/erasures', title: 'Certificates of erasure' }]}
      width="text"
      actions={
        <Button variant="default" onClick={() => window.print()}>
          Print
        </Button>
      }
    >
      <Panel title="Certificate">
        <Facts
          facts={[
            ['Number', <Code key="id" value={erasure.id} what="the number" shown={32} />],
            ['State', <ErasureState key="state" erasure={erasure} />],
            ['Erased', dateTimeWithZone(erasure.erased_at)],
            ['By', erasure.erased_by],
            erasure.completed_at ? ['Nothing found any more', dateTimeWithZone(erasure.completed_at)] : null,
          ]}
        />
        <p className={classes.muted} style={{ marginBlockStart: 12 }}>
          The key of the person is destroyed: what was sealed under it, in any copy that lies outside of the database,
          opens with nothing any more. A backup of the database from before this moment still holds the key, until that
          backup is destroyed too.
        </p>
      </Panel>
      <Panel title="What went">
        <Facts
          facts={Object.entries(counts)
            .filter(([, value]) => typeof value === 'number' && value > 0)
            .map(([name, value]) => [WORDS[name] ?? name, String(value)])}
        />
      </Panel>
      <Panel title="Who had learned from the person">
        {held.length === 0 && <p className={classes.muted}>No image of the person was in any data set.</p>}
        {held.length > 0 && (
          <ul>
            {held.map((one) => (
              <li key={`${one.name} ${one.version} ${one.part}`}>
                {one.images} {one.images === 1 ? 'image' : 'images'} in the part “{one.part}” of the data set {one.name}
                , version {one.version}
              </li>
            ))}
          </ul>
        )}
        {held.length > 0 && learned.length === 0 && (
          <p className={classes.muted}>No classifier was trained on them here.</p>
        )}
        {learned.length > 0 && (
          <>
            <p className={classes.muted}>
              A classifier keeps what it learned. To be free of it, train one anew without the person and take it into
              use.
            </p>
            <ul>
              {learned.map((one) => (
                <li key={one.digest}>
                  {one.classifier}, learned from {one.learned_from_images}{' '}
                  {one.learned_from_images === 1 ? 'image' : 'images'}:{' '}
                  <Code value={one.digest} what="the digest" shown={16} />
                </li>
              ))}
            </ul>
          </>
        )}
      </Panel>
    </Page>
  );
}
