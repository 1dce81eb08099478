// SPDX-License-Identifier: Apache-2.0
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { useUploads } from '@/components/upload/useUploads';

const REFRESH_MS = 3_000;

/** The uploads; the lists are loaded again every few seconds while files are stored, and once at the end. */
export function useExplorerUploads() {
  const { uploads, busy } = useUploads();
  const client = useQueryClient();
  const stored = uploads.filter((upload) => upload.state === 'accepted').length;
  const refreshed = useRef({ stored: 0, at: 0 });
  useEffect(() => {
    if (stored <= refreshed.current.stored) {
      refreshed.current.stored = stored;
      return;
    }
    const refresh = () => {
      refreshed.current = { stored, at: Date.now() };
      for (const key of ['patients', 'studies', 'series', 'images']) {
        void client.invalidateQueries({ queryKey: [key] });
      }
    };
    const delay = busy ? Math.max(0, refreshed.current.at + REFRESH_MS - Date.now()) : 0;
    const timer = setTimeout(refresh, delay);
    return () => clearTimeout(timer);
  }, [stored, busy, client]);
  return uploads;
}
