// SPDX-License-Identifier: Apache-2.0
// Files on their way to the server: one request a file, a few at once, tried again when the network fails.
// It knows no page, so that an upload goes on while its reader looks elsewhere.
import { ingest } from '@/api/calls';
import { asProblem } from '@/api/problem';
import type { Outcome } from '@/api/types';

export type UploadState = 'queued' | 'sending' | Outcome | 'failed';

export type Upload = {
  id: number;
  file: File;
  patientId: string;
  pathway: string;
  state: UploadState;
  /** 0 to 1 of the bytes sent. */
  progress: number;
  reason: string;
  imageId: string | null;
  attempt: number;
};

export type Send = typeof ingest.upload;

const AT_ONCE = 3;
const ATTEMPTS = 4;

export function isDone(state: UploadState): boolean {
  return state !== 'queued' && state !== 'sending';
}

export function makeUploadQueue(send: Send, wait: (milliseconds: number) => Promise<void>) {
  let uploads: readonly Upload[] = [];
  let nextId = 1;
  let busy = 0;
  const listeners = new Set<() => void>();

  const tell = () => listeners.forEach((listener) => listener());
  const change = (id: number, patch: Partial<Upload>) => {
    uploads = uploads.map((upload) => (upload.id === id ? { ...upload, ...patch } : upload));
    tell();
  };

  const sendOne = async (upload: Upload): Promise<void> => {
    for (let attempt = 1; ; attempt += 1) {
      change(upload.id, { state: 'sending', attempt, progress: 0 });
      try {
        const answer = await send(upload.file, upload, (progress) => change(upload.id, { progress }));
        const item = answer.items[0];
        if (!item) {
          change(upload.id, {
            state: 'failed',
            reason: 'The server gave no answer for this file. Upload it once more.',
          });
          return;
        }
        change(upload.id, { state: item.outcome, progress: 1, reason: item.reason ?? '', imageId: item.image_id });
        return;
      } catch (error) {
        const problem = asProblem(error);
        const passing = problem.status === 0 || problem.status === 429 || problem.status >= 500;
        if (!passing || attempt >= ATTEMPTS) {
          change(upload.id, {
            state: 'failed',
            reason: [problem.title, problem.detail].filter(Boolean).join('. ').replaceAll('..', '.'),
          });
          return;
        }
        change(upload.id, { progress: 0, reason: `${problem.title}. Trying again.` });
        await wait((problem.retryAfterSeconds ?? 0.6 * 2 ** attempt) * 1000);
      }
    }
  };

  const work = () => {
    while (busy < AT_ONCE) {
      const upload = uploads.find((entry) => entry.state === 'queued');
      if (!upload) return;
      busy += 1;
      change(upload.id, { state: 'sending', reason: '' });
      void sendOne(upload).finally(() => {
        busy -= 1;
        work();
      });
    }
  };

  return {
    subscribe: (listener: () => void) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
    snapshot: () => uploads,
    add: (files: File[], facts: { patientId: string; pathway: string }) => {
      uploads = [
        ...uploads,
        ...files.map((file): Upload => ({
          id: nextId++,
          file,
          ...facts,
          state: 'queued',
          progress: 0,
          reason: '',
          imageId: null,
          attempt: 0,
        })),
      ];
      tell();
      work();
    },
    retry: (id?: number) => {
      uploads = uploads.map((upload) =>
        upload.state === 'failed' && (id === undefined || upload.id === id)
          ? { ...upload, state: 'queued', reason: '' }
          : upload,
      );
      tell();
      work();
    },
    clear: () => {
      uploads = uploads.filter((upload) => !isDone(upload.state));
      tell();
    },
  };
}

/** Bytes sent of all bytes, 0 to 1. */
export function overallProgress(uploads: readonly Upload[]): number {
  const all = uploads.reduce((sum, upload) => sum + Math.max(1, upload.file.size), 0);
  const sent = uploads.reduce(
    (sum, upload) => sum + Math.max(1, upload.file.size) * (isDone(upload.state) ? 1 : upload.progress),
    0,
  );
  return all === 0 ? 0 : sent / all;
}

export const uploadQueue = makeUploadQueue(
  ingest.upload,
  (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
);
