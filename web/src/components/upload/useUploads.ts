// SPDX-License-Identifier: Apache-2.0
import { useEffect, useSyncExternalStore } from 'react';
import { isDone, uploadQueue, type Upload } from './uploadQueue';

/** The uploads of this session; while any is running, the browser asks before it closes the page. */
export function useUploads(): { uploads: readonly Upload[]; busy: boolean } {
  const uploads = useSyncExternalStore(uploadQueue.subscribe, uploadQueue.snapshot);
  const busy = uploads.some((upload) => !isDone(upload.state));
  useEffect(() => {
    if (!busy) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [busy]);
  return { uploads, busy };
}
