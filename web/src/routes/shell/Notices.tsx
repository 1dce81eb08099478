// SPDX-License-Identifier: Apache-2.0
import { ActionIcon, Button, Popover } from '@mantine/core';
import { useEffect, useState, useSyncExternalStore } from 'react';
import { IconBell, IconCircleCheck, IconWarning } from '@/components/icons';
import { noticeLog } from '@/components/noticeLog';
import { TimeAgo } from '@/components/TimeAgo';
import classes from './TopBar.module.css';

/** The notices of this sitting; one that went by too fast is still here. */
export function Notices() {
  const told = useSyncExternalStore(noticeLog.subscribe, noticeLog.snapshot);
  const [open, setOpen] = useState(false);
  const [seen, setSeen] = useState(0);
  const latest = told[0]?.id ?? 0;
  const unseen = told.filter((entry) => entry.id > seen).length;

  useEffect(() => {
    if (open) setSeen(latest);
  }, [open, latest]);

  return (
    <Popover opened={open} onChange={setOpen} position="bottom-end" width={340} trapFocus>
      <Popover.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          size="lg"
          className={classes.bell}
          aria-label={unseen > 0 ? `Notices, ${unseen} new` : 'Notices'}
          onClick={() => setOpen(!open)}
        >
          <IconBell />
          {unseen > 0 && <span className={classes.dot} />}
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown aria-label="Notices">
        {told.length === 0 ? (
          <p className={classes.none}>No notices in this sitting.</p>
        ) : (
          <>
            <ul className={classes.notices}>
              {told.map((entry) => (
                <li key={entry.id} data-problem={entry.problem || undefined}>
                  {entry.problem ? <IconWarning size={18} /> : <IconCircleCheck size={18} />}
                  <div>
                    <div className={classes.name}>{entry.title}</div>
                    {entry.message && <div>{entry.message}</div>}
                    <div className={classes.role}>
                      <TimeAgo at={entry.at} />
                    </div>
                  </div>
                </li>
              ))}
            </ul>
            <Button size="compact-sm" variant="default" onClick={noticeLog.clear}>
              Clear notices
            </Button>
          </>
        )}
      </Popover.Dropdown>
    </Popover>
  );
}
