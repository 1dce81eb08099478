// SPDX-License-Identifier: Apache-2.0
import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { classification } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { Notice } from '@/components/Notice';
import { Panel } from '@/components/Page';
import { RowTable } from '@/components/RowTable';
import { count, share } from '@/lib/format';
import classes from './classification.module.css';

export function ComparisonPanel({ digest, name }: { digest: string; name: string }) {
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
        label="On signed images that both have classified and neither was trained with"
        placeholder="Select a classifier"
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
      {data && data.n === 0 && <p className={classes.muted}>No such images yet. Run one of them in shadow mode.</p>}
      {data && data.n > 0 && (
        <>
          <RowTable
            name="Comparison"
            headers={['Measure', name, chosen?.name === name ? 'the other' : (chosen?.name ?? 'the other')]}
            rows={[
              ['Accuracy', ...(data.accuracy ?? []).map(share)],
              ['Balanced accuracy', ...(data.balanced_accuracy ?? []).map(share)],
              ['Without a label', ...(data.abstention ?? []).map(share)],
              ['Only this one correct', count(data.only_first), count(data.only_second)],
            ]}
          />
          <p className={classes.muted}>
            n = {count(data.n)}.{' '}
            {data.p !== null && data.p < 0.05
              ? `The difference is significant (McNemar p = ${data.p < 0.001 ? '<0.001' : data.p.toFixed(3)}).`
              : `The difference is not significant (McNemar p = ${data.p?.toFixed(3) ?? '–'}).`}
          </p>
        </>
      )}
    </Panel>
  );
}
