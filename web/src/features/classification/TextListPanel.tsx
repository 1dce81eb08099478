// SPDX-License-Identifier: Apache-2.0
import { Panel } from '@/components/Page';
import classes from './classification.module.css';

export function TextListPanel({ title, lines }: { title: string; lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <Panel title={title}>
      <ul className={classes.list}>
        {lines.map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
    </Panel>
  );
}
