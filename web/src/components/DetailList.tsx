// SPDX-License-Identifier: Apache-2.0
import { Fragment, type ReactNode } from 'react';
import classes from './shared.module.css';

export type Detail = [name: string, value: ReactNode];

export function DetailList({ details }: { details: (Detail | null | undefined | false)[] }) {
  return (
    <dl className={`${classes.facts} mh-facts`}>
      {details.map(
        (detail) =>
          detail && (
            <Fragment key={detail[0]}>
              <dt>{detail[0]}</dt>
              <dd>{detail[1] === null || detail[1] === undefined || detail[1] === '' ? 'not specified' : detail[1]}</dd>
            </Fragment>
          ),
      )}
    </dl>
  );
}
