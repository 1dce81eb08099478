// SPDX-License-Identifier: Apache-2.0
import { notifications } from '@mantine/notifications';
import { asProblem } from '@/api/problem';
import { IconCircleCheck, IconWarning } from './icons';
import { noticeLog } from './noticeLog';

export function notifySuccess(title: string, message = ''): void {
  noticeLog.add(title, message, false);
  notifications.show({
    title,
    message,
    color: 'green.9',
    icon: <IconCircleCheck size={18} />,
    closeButtonProps: { 'aria-label': 'Dismiss' },
  });
}

/** A refusal in the server's own words, kept until it is read. */
export function notifyProblem(error: unknown, what?: string): void {
  const problem = asProblem(error);
  const lines = [what ? problem.title : '', problem.detail, ...problem.errors.map((entry) => entry.message)].filter(
    Boolean,
  );
  const message = [...new Set(lines)].map((line) => (/[.!?]$/.test(line) ? line : `${line}.`)).join(' ');
  const title = what ?? problem.title;
  noticeLog.add(title, message, true);
  notifications.show({
    title,
    message,
    color: 'red.9',
    icon: <IconWarning size={18} />,
    autoClose: 12_000,
    closeButtonProps: { 'aria-label': 'Dismiss' },
    role: 'alert',
  });
}
