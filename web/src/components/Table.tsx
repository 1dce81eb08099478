// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import classes from './small.module.css';

/** A plain table of facts that scrolls by itself where it is wider than the page. */
export function Table({ name, heads, rows }: { name: string; heads: string[]; rows: ReactNode[][] }) {
  return (
    <div className={classes.table} tabIndex={0} role="region" aria-label={name}>
      <table>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, place) => (
                <td key={place}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
