// SPDX-License-Identifier: Apache-2.0
import { Fragment, type ReactNode } from 'react';
import classes from './small.module.css';

export type Fact = [name: string, value: ReactNode];

export function Facts({ facts }: { facts: (Fact | null | false)[] }) {
  return (
    <dl className={`${classes.facts} mh-facts`}>
      {facts.map(
        (fact) =>
          fact && (
            <Fragment key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1] === null || fact[1] === undefined || fact[1] === '' ? 'not given' : fact[1]}</dd>
            </Fragment>
          ),
      )}
    </dl>
  );
}
