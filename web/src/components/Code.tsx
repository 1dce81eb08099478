// SPDX-License-Identifier: Apache-2.0
import { ActionIcon, CopyButton, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from './icons';
import classes from './small.module.css';

/** A code or digest, monospaced, with a button that copies all of it. */
export function Code({ value, what, shown }: { value: string; what: string; shown?: number }) {
  const short = shown && value.length > shown ? `${value.slice(0, shown)}…` : value;
  return (
    <span className={classes.code}>
      <code title={short === value ? undefined : value}>{short}</code>
      <CopyButton value={value} timeout={1500}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'Copied' : `Copy ${what}`}>
            <ActionIcon
              variant="subtle"
              color="gray"
              size="sm"
              onClick={copy}
              aria-label={copied ? 'Copied' : `Copy ${what}`}
            >
              {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </span>
  );
}
