// SPDX-License-Identifier: Apache-2.0
import type { Preview } from '@/api/types';
import { Badge } from '@/components/Badge';
import classes from './boxes.module.css';

/** What a profile would do to files: what becomes of each, which texts would remain, what is done to attributes. */
export function PreviewTables({ found }: { found: Preview }) {
  return (
    <>
      <Table
        title={`What would become of them, by ${found.profile} ${found.version}`}
        heads={['File', 'Outcome', 'Writing']}
        rows={found.files.map((file) => [
          file.filename,
          <span key="outcome">
            <Badge tone={file.outcome === 'cleaned' ? 'green' : 'amber'}>
              {file.outcome === 'cleaned' ? 'Taken in' : 'Waits in quarantine'}
            </Badge>{' '}
            {file.reason}
          </span>,
          file.boxes.length === 0 ? 'none' : `${file.boxes.length} made black`,
        ])}
      />
      <Table
        title="Texts that would remain: read them"
        heads={['Attribute', 'Text', 'Files']}
        rows={found.remaining_text.map((one) => [one.attribute, one.value, one.files])}
        none="No free text would remain."
      />
      <Table
        title="What would be done to attributes"
        heads={['Attribute', 'Would be', 'By', 'Files']}
        rows={found.actions.map((one) => [one.attribute, one.done, one.rule, one.files])}
        none="Nothing would be done to any attribute."
      />
    </>
  );
}

export function Table({
  title,
  heads,
  rows,
  none,
}: {
  title: string;
  heads: string[];
  rows: React.ReactNode[][];
  none?: string;
}) {
  return (
    <div>
      <h3 style={{ marginBlock: '4px 8px', fontSize: '1rem' }}>{title}</h3>
      {rows.length === 0 ? (
        <p className={classes.muted}>{none}</p>
      ) : (
        <div className={classes.table} tabIndex={0} role="region" aria-label={title}>
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
      )}
    </div>
  );
}
