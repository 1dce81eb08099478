// SPDX-License-Identifier: Apache-2.0
// The queue stops at the end of a case: the reader signs, or opens the next case deliberately.
import { Button } from '@mantine/core';
import type { Case, ImageRow } from '@/api/types';
import { IconSign } from '@/components/icons';
import { plural } from '@/lib/format';
import classes from './reading.module.css';

type Props = {
  case_: Case | undefined;
  signed: boolean;
  /** The first image of the next case that has images to read. */
  next: ImageRow | null;
  onSign: () => void;
  onNext: () => void;
};

export function CaseEnd({ case_, signed, next, onSign, onNext }: Props) {
  const waiting = case_?.waiting ?? 0;
  const signs = !signed && waiting === 0 && (case_?.allowed.sign ?? false);
  return (
    <div className={classes.caseEnd} role="status">
      <strong>
        {signed ? 'This case is signed.' : signs ? 'All images read. Sign?' : 'All images read.'}
        {!signed && waiting > 0 && ` ${plural(waiting, 'image')} of this case still waiting for the classifier.`}
      </strong>
      <div className={classes.caseEndButtons}>
        {signs && (
          <Button size="sm" leftSection={<IconSign size={16} />} onClick={onSign}>
            Sign
          </Button>
        )}
        {next && (
          <Button size="sm" variant="default" onClick={onNext}>
            Next case: {next.patient_code}
          </Button>
        )}
      </div>
    </div>
  );
}
