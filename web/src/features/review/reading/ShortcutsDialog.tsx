// SPDX-License-Identifier: Apache-2.0
import { Modal } from '@mantine/core';
import { SHORTCUTS } from './shortcuts';
import classes from './reading.module.css';

export function ShortcutsDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keyboard shortcuts">
      <table className={classes.keys}>
        <tbody>
          {SHORTCUTS.map(([names, act]) => (
            <tr key={names}>
              <th scope="row">
                {names.split(/\s{2,}/).map((name) => (
                  <kbd key={name} className={classes.key}>
                    {name}
                  </kbd>
                ))}
              </th>
              <td>{act}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Modal>
  );
}
