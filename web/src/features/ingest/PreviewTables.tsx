// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import type { Preview } from '@/api/types';
import { Badge } from '@/components/Badge';
import { Table } from '@/components/Table';
import classes from './boxes.module.css';

/** What a profile would do to files: what becomes of each, which texts would remain, what is done to attributes. */
export function PreviewTables({ preview: preview }: { preview: Preview }) {
  return (
    <>
      <Part
        title={`Results with ${preview.profile} ${preview.version}`}
        heads={['File', 'Outcome', 'Text in the image']}
        rows={preview.files.map((file) => [
          file.filename,
          <span key="outcome">
            <Badge tone={file.outcome === 'cleaned' ? 'green' : 'amber'}>
              {file.outcome === 'cleaned' ? 'Accepted' : 'Quarantined'}
            </Badge>{' '}
            {file.reason}
          </span>,
          file.boxes.length === 0 ? 'none' : `${file.boxes.length} blackened`,
        ])}
      />
      <Part
        title="Remaining texts: review them"
        heads={['Attribute', 'Text', 'Files']}
        rows={preview.remaining_text.map((row) => [row.attribute, row.value, row.files])}
        none="No free text remains."
      />
      <Part
        title="Changed attributes"
        heads={['Attribute', 'Action', 'Rule', 'Files']}
        rows={preview.actions.map((row) => [row.attribute, row.done, row.rule, row.files])}
        none="No attribute is changed."
      />
    </>
  );
}

function Part({ title, heads, rows, none }: { title: string; heads: string[]; rows: ReactNode[][]; none?: string }) {
  return (
    <div>
      <h3 style={{ marginBlock: '4px 8px', fontSize: '1rem' }}>{title}</h3>
      {rows.length === 0 ? <p className={classes.muted}>{none}</p> : <Table name={title} headers={heads} rows={rows} />}
    </div>
  );
}
