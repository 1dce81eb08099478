// SPDX-License-Identifier: Apache-2.0
import { Checkbox } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { projects } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';

/** Whether erasing a patient of the project needs two administrators. */
export function ErasureRule({ projectId, name }: { projectId: string; name: string | null }) {
  const client = useQueryClient();
  const [problem, setProblem] = useState<Problem | null>(null);
  const queryKey = ['projects', 'one', projectId];
  const { data: project } = useQuery({ queryKey, queryFn: ({ signal }) => projects.project(projectId, signal) });
  const change = async (byTwo: boolean) => {
    setProblem(null);
    try {
      client.setQueryData(queryKey, await projects.setErasureByTwo(projectId, byTwo));
      notifySuccess(byTwo ? 'Erasures need two administrators now' : 'One administrator can erase now');
    } catch (error) {
      setProblem(asProblem(error));
    }
  };
  return (
    <>
      <Checkbox
        label={
          name ? `${name}: erasing a patient needs two administrators` : 'Erasing a patient needs two administrators'
        }
        description="The first one requests the erasure with a reason, the second one erases."
        checked={project?.erasure_by_two ?? false}
        disabled={!project}
        onChange={(event) => void change(event.currentTarget.checked)}
      />
      {problem && (
        <Notice tone="red" title={problem.title}>
          {problem.detail}
        </Notice>
      )}
    </>
  );
}
