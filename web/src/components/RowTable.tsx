// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import { useLandmarkName } from './Page';
import classes from './RowTable.module.css';

export function RowTable({ name, headers, rows }: { name: string; headers: string[]; rows: ReactNode[][] }) {
  const landmark = useLandmarkName(`Table: ${name}`);
  return (
    <div className={classes.frame} tabIndex={0} role="region" aria-label={landmark}>
      <table className={classes.table}>
        <thead>
          <tr>
            {headers.map((cell) => (
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
                <td key={headers[index + 1]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
