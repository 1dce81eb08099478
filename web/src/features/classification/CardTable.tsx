// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import classes from './ClassifiersPage.module.css';

export function CardTable({ name, head, rows }: { name: string; head: string[]; rows: ReactNode[][] }) {
  return (
    <div className={classes.frame} tabIndex={0} role="region" aria-label={`Table: ${name}`}>
      <table className={classes.table}>
        <thead>
          <tr>
            {head.map((cell) => (
              <th key={cell} scope="col">
                {cell}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([first, ...rest], row) => (
            <tr key={row}>
              <th scope="row">{first}</th>
              {rest.map((cell, index) => (
                <td key={head[index + 1]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
