// SPDX-License-Identifier: Apache-2.0
import { notifications } from '@mantine/notifications';
import { asProblem } from '@/api/problem';
import { IconCircleCheck, IconWarning } from './icons';

export function tellSuccess(title: string, message = ''): void {
  notifications.show({
    title,
    message,
    color: 'green.9',
    icon: <IconCircleCheck size={18} />,
    closeButtonProps: { 'aria-label': 'Dismiss' },
  });
}

/** A refusal in the server's own words, kept until it is read. */
export function tellProblem(error: unknown, what?: string): void {
  const problem = asProblem(error);
  const lines = [problem.detail, ...problem.errors.map((entry) => entry.message)].filter(Boolean);
  notifications.show({
    title: what ?? problem.title,
    message: (what ? [problem.title, ...lines] : lines).filter((line, i, all) => all.indexOf(line) === i).join('. ').replaceAll('..', '.'),
    color: 'red.9',
    icon: <IconWarning size={18} />,
    autoClose: 12_000,
    closeButtonProps: { 'aria-label': 'Dismiss' },
    role: 'alert',
  });
}
