// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import classes from './shared.module.css';

/** A plain table of facts that scrolls by itself where it is wider than the page. */
export function Table({ name, headers, rows }: { name: string; headers: string[]; rows: ReactNode[][] }) {
  return (
    <div className={classes.table} tabIndex={0} role="region" aria-label={name}>
      <table>
        <thead>
          <tr>
            {headers.map((header) => (
              <th key={header} scope="col">
                {header}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
