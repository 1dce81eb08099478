// SPDX-License-Identifier: Apache-2.0
// Another person gave a verdict after this page was loaded: both are shown, and the reader decides.
import { Button } from '@mantine/core';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { Notice } from '@/components/Notice';
import classes from './reading.module.css';
import type { Refusal } from './useReadingQueue';

type Props = { image: ImageRow; refusal: Refusal; onKeep: () => void; onReplace: () => void };

export function VerdictConflict({ image, refusal, onKeep, onReplace }: Props) {
  const { labelName } = useSession();
  const { problem, mine } = refusal;
  return (
    <Notice tone="red" title={problem.title}>
      <div>{problem.detail}</div>
      {mine && (
        <>
          <div>
            Yours: {labelName(mine.label)}
            {mine.note && ` (“${mine.note}”)`}. Stored:{' '}
            {image.verdict ? `${labelName(image.verdict.label)}, by ${image.verdict.by}` : 'no verdict'}.
          </div>
          <div className={classes.caseEndButtons}>
            <Button size="xs" variant="default" onClick={onKeep}>
              Keep the stored verdict
            </Button>
            <Button size="xs" onClick={onReplace}>
              Give {labelName(mine.label)}
            </Button>
          </div>
        </>
      )}
    </Notice>
  );
}
