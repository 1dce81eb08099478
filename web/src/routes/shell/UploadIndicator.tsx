// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { AppLink } from '@/components/AppLink';
import { IconUpload, IconWarning } from '@/components/icons';
import { overallProgress, uploadQueue } from '@/components/upload/uploadQueue';
import { useUploads } from '@/components/upload/useUploads';
import { count, plural } from '@/lib/format';
import classes from './TopBar.module.css';

/** The uploads, on every page: how far they are, and what could not be sent. */
export function UploadIndicator() {
  const { uploads, busy, outstanding } = useUploads();
  if (outstanding === 0) return null;
  const unsent = uploads.filter((upload) => upload.unsent).length;
  const text = busy
    ? `${count(uploads.length - outstanding)} of ${count(uploads.length)} uploaded`
    : `${plural(unsent, 'file')} not sent`;
  const percent = Math.min(99, Math.round(overallProgress(uploads) * 100));
  return (
    <div className={classes.uploads} data-failed={!busy || undefined}>
      <AppLink to="/upload" className={classes.uploadLink} title={busy ? undefined : 'The server cannot be reached'}>
        {busy ? <IconUpload size={18} /> : <IconWarning size={18} />}
        <span className={classes.uploadText} role="status">
          {text}
        </span>
        {busy && (
          <span
            className={classes.uploadBar}
            role="progressbar"
            aria-label="Uploads"
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={percent}
          >
            <span style={{ inlineSize: `${percent}%` }} />
          </span>
        )}
      </AppLink>
      {!busy && (
        <Button size="compact-sm" variant="default" onClick={() => uploadQueue.retry()}>
          Retry
        </Button>
      )}
    </div>
  );
}
