// SPDX-License-Identifier: Apache-2.0
import { useEffect, useSyncExternalStore } from 'react';
import { isDone, isOutstanding, uploadQueue, type Upload } from './uploadQueue';

/** The uploads of this session; while any file is not sent, the browser asks before it closes the page. */
export function useUploads(): { uploads: readonly Upload[]; busy: boolean; outstanding: number } {
  const uploads = useSyncExternalStore(uploadQueue.subscribe, uploadQueue.snapshot);
  const busy = uploads.some((upload) => !isDone(upload.state));
  const outstanding = uploads.filter(isOutstanding).length;
  const unsent = outstanding > 0;
  useEffect(() => {
    if (!unsent) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [unsent]);
  return { uploads, busy, outstanding };
}
