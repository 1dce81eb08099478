// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useRouter, type ErrorComponentProps } from '@tanstack/react-router';
import { asProblem } from '@/api/problem';
import { AppLink } from './AppLink';
import { reloadIfReachable } from '@/api/reload';
import { EmptyState } from './EmptyState';
import { IconWarning } from './icons';

export function PageFailure({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  const problem = asProblem(error);
  return (
    <EmptyState
      icon={<IconWarning size={32} />}
      title={problem.title}
      text={problem.detail}
      heading
      action={
        problem.status === 404 || problem.status === 403 ? (
          <Button onClick={() => router.history.back()}>Go back</Button>
        ) : (
          <Button
            onClick={() => {
              if (problem.isNetwork) {
                void reloadIfReachable();
                return;
              }
              reset();
              void router.invalidate();
            }}
          >
            Try again
          </Button>
        )
      }
    />
  );
}

export function PageMissing() {
  return (
    <EmptyState
      icon={<IconWarning size={32} />}
      title="Page not found"
      text="The address may be wrong, or the object was erased."
      heading
      action={
        <Button component={AppLink} to="/">
          Go to the start page
        </Button>
      }
    />
  );
}
