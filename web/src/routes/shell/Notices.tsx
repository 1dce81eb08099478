// SPDX-License-Identifier: Apache-2.0
import { ActionIcon, Button, Popover } from '@mantine/core';
import { useState, useSyncExternalStore } from 'react';
import { IconBell, IconCircleCheck, IconWarning } from '@/components/icons';
import { noticeLog } from '@/components/noticeLog';
import { TimeAgo } from '@/components/TimeAgo';
import classes from './TopBar.module.css';

/** The notices of this sitting; one that went by too fast is still here. */
export function Notices() {
  const notices = useSyncExternalStore(noticeLog.subscribe, noticeLog.snapshot);
  const [open, setOpen] = useState(false);
  const [lastReadId, setLastReadId] = useState(0);
  const latest = notices[0]?.id ?? 0;
  const unread = open ? 0 : notices.filter((entry) => entry.id > lastReadId).length;

  const toggle = (opened: boolean) => {
    setOpen(opened);
    setLastReadId(latest);
  };

  return (
    <Popover opened={open} onChange={toggle} position="bottom-end" width={340} trapFocus>
      <Popover.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          size="lg"
          className={classes.bell}
          aria-label={unread > 0 ? `Notices, ${unread} new` : 'Notices'}
          onClick={() => toggle(!open)}
        >
          <IconBell />
          {unread > 0 && <span className={classes.dot} />}
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown aria-label="Notices">
        {notices.length === 0 ? (
          <p className={classes.none}>No notices in this session.</p>
        ) : (
          <>
            <ul className={classes.notices}>
              {notices.map((entry) => (
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
