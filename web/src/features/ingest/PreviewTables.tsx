// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import type { Preview } from '@/api/types';
import { Badge } from '@/components/Badge';
import { Table } from '@/components/Table';
import classes from './boxes.module.css';

/** What a profile would do to files: what becomes of each, which texts would remain, what is done to attributes. */
export function PreviewTables({ found }: { found: Preview }) {
  return (
    <>
      <Part
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
      <Part
        title="Texts that would remain: read them"
        heads={['Attribute', 'Text', 'Files']}
        rows={found.remaining_text.map((one) => [one.attribute, one.value, one.files])}
        none="No free text would remain."
      />
      <Part
        title="What would be done to attributes"
        heads={['Attribute', 'Would be', 'By', 'Files']}
        rows={found.actions.map((one) => [one.attribute, one.done, one.rule, one.files])}
        none="Nothing would be done to any attribute."
      />
    </>
  );
}

function Part({ title, heads, rows, none }: { title: string; heads: string[]; rows: ReactNode[][]; none?: string }) {
  return (
    <div>
      <h3 style={{ marginBlock: '4px 8px', fontSize: '1rem' }}>{title}</h3>
      {rows.length === 0 ? <p className={classes.muted}>{none}</p> : <Table name={title} heads={heads} rows={rows} />}
    </div>
  );
}
