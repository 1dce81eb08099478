// SPDX-License-Identifier: Apache-2.0
import { ActionIcon, CopyButton, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from './icons';
import classes from './shared.module.css';

/** A code or digest, monospaced, with a button that copies all of it. */
export function CopyableCode({ value, label, maxLength }: { value: string; label: string; maxLength?: number }) {
  const short = maxLength && value.length > maxLength ? `${value.slice(0, maxLength)}…` : value;
  return (
    <span className={classes.code}>
      <code title={short === value ? undefined : value}>{short}</code>
      <CopyButton value={value} timeout={1500}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'Copied' : `Copy ${label}`}>
            <ActionIcon
              variant="subtle"
              color="gray"
              size="sm"
              onClick={copy}
              aria-label={copied ? 'Copied' : `Copy ${label}`}
            >
              {copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </span>
  );
}
