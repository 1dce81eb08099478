// SPDX-License-Identifier: Apache-2.0
// Files on their way to the server: a few requests at once, a few small files in each, tried again when the network
// fails. It knows no page, so that an upload goes on while its reader looks elsewhere, and holds ten thousand files
// without a copy of all at every step.
import { ingest } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import type { Outcome } from '@/api/types';

export type UploadState = 'queued' | 'sending' | Outcome | 'failed';

/** A file that is opened when its turn comes; one inside an archive is unpacked no earlier. */
export type UploadSource = { name: string; size: number; open: () => Promise<File> };

/** The patient of the files, and a study or series if one is selected; or only the project, if
    the files say themselves whose they are. */
export type UploadTarget = {
  patientId: string;
  pathway: string;
  studyId?: string;
  seriesId?: string;
  projectId?: string;
};

export type Upload = UploadTarget & {
  id: number;
  file: { name: string; size: number };
  state: UploadState;
  /** 0 to 1 of the bytes sent. */
  progress: number;
  reason: string;
  imageId: string | null;
  attempt: number;
  /** Failed because the server could not be reached: nothing is known of the file until it is sent again. */
  unsent: boolean;
};

export type SendFiles = typeof ingest.upload;

const MAX_PARALLEL = 3;
const ATTEMPTS = 4;
const MAX_BATCH_FILES = 20;
const MAX_BATCH_BYTES = 8_000_000;
const NOTIFY_MS = 120;

export function isDone(state: UploadState): boolean {
  return state !== 'queued' && state !== 'sending';
}

/** Files that still have to be sent: those on their way, and those for which the server could not be reached. */
export function isOutstanding(upload: Upload): boolean {
  return !isDone(upload.state) || upload.unsent;
}

export function sourceOf(file: File): UploadSource {
  return { name: file.name, size: file.size, open: () => Promise.resolve(file) };
}

const isTransient = (problem: Problem) => problem.status === 0 || problem.status === 429 || problem.status >= 500;

/** No server answered, neither the own one nor one behind a proxy. */
const isUnreachable = (problem: Problem) => problem.isNetwork || problem.status === 502 || problem.status === 504;

const UNSENT = 'Not sent: the server cannot be reached. Retry when it answers again.';

const sentence = (problem: Problem) => [problem.title, problem.detail].filter(Boolean).join('. ').replaceAll('..', '.');

type Entry = { upload: Upload; source: UploadSource; target: UploadTarget; alone: boolean };

export function createUploadQueue(send: SendFiles, wait: (milliseconds: number) => Promise<void>) {
  let entries: Entry[] = [];
  const waiting: Entry[] = [];
  let snapshot: readonly Upload[] = [];
  let stale = false;
  let nextId = 1;
  let busy = 0;
  let paused = false;
  let notifiedAt = 0;
  let notifyTimer: ReturnType<typeof setTimeout> | null = null;
  const listeners = new Set<() => void>();

  const notify = () => {
    stale = true;
    if (notifyTimer !== null || listeners.size === 0) return;
    notifyTimer = setTimeout(
      () => {
        notifyTimer = null;
        notifiedAt = Date.now();
        listeners.forEach((listener) => listener());
      },
      Math.max(0, notifiedAt + NOTIFY_MS - Date.now()),
    );
  };
  const change = (entry: Entry, patch: Partial<Upload>) => {
    entry.upload = { ...entry.upload, ...patch };
    notify();
  };
  const fail = (entry: Entry, problem: Problem) =>
    isUnreachable(problem)
      ? change(entry, { state: 'failed', progress: 0, reason: UNSENT, unsent: true })
      : change(entry, { state: 'failed', reason: sentence(problem) });

  const open = async (batch: Entry[]): Promise<[Entry, File][]> => {
    const opened: [Entry, File][] = [];
    for (const entry of batch) {
      try {
        opened.push([entry, await entry.source.open()]);
      } catch (error) {
        fail(entry, asProblem(error));
      }
    }
    return opened;
  };

  const shareProgress = (opened: [Entry, File][], fraction: number) => {
    const all = opened.reduce((sum, [, file]) => sum + Math.max(1, file.size), 0);
    let sent = fraction * all;
    for (const [entry, file] of opened) {
      const size = Math.max(1, file.size);
      change(entry, { progress: Math.min(1, Math.max(0, sent / size)) });
      sent -= size;
    }
  };

  const applyAnswer = (opened: [Entry, File][], items: Awaited<ReturnType<SendFiles>>['items']) => {
    opened.forEach(([entry], index) => {
      const item = items[index];
      if (item) change(entry, { state: item.outcome, progress: 1, reason: item.reason ?? '', imageId: item.image_id });
      else change(entry, { state: 'failed', reason: 'The server sent no result for this file. Upload it again.' });
    });
  };

  const sendBatch = async (batch: Entry[]): Promise<void> => {
    const opened = await open(batch);
    const first = opened[0];
    if (!first) return;
    const files = opened.map(([, file]) => file);
    for (let attempt = 1; ; attempt += 1) {
      for (const [entry] of opened) change(entry, { state: 'sending', attempt, progress: 0 });
      try {
        const answer = await send(files, first[0].target, (fraction) => shareProgress(opened, fraction));
        applyAnswer(opened, answer.items);
        return;
      } catch (error) {
        const problem = asProblem(error);
        if (!isTransient(problem) && opened.length > 1) {
          // Which of them the server does not take shows one by one.
          for (const [entry] of opened) {
            entry.alone = true;
            change(entry, { state: 'queued', progress: 0 });
          }
          waiting.unshift(...opened.map(([entry]) => entry));
          return;
        }
        if (!isTransient(problem) || attempt >= ATTEMPTS) {
          for (const [entry] of opened) fail(entry, problem);
          // The others would wait in vain as long; all of them are sent again at a retry.
          if (isUnreachable(problem)) for (const entry of waiting.splice(0)) fail(entry, problem);
          return;
        }
        for (const [entry] of opened) change(entry, { progress: 0, reason: `${problem.title}. Trying again.` });
        await wait((problem.retryAfterSeconds ?? 0.6 * 2 ** attempt) * 1000);
      }
    }
  };

  /** The next files that go in one request: few, small, and into the same place. */
  const takeBatch = (): Entry[] => {
    const first = waiting.shift();
    if (!first) return [];
    const batch = [first];
    const most = first.alone ? 1 : Math.min(MAX_BATCH_FILES, Math.ceil((waiting.length + 1) / MAX_PARALLEL));
    let size = first.source.size;
    for (let next = waiting[0]; next && batch.length < most; next = waiting[0]) {
      size += next.source.size;
      if (next.alone || next.target !== first.target || size > MAX_BATCH_BYTES) break;
      batch.push(next);
      waiting.shift();
    }
    return batch;
  };

  const sendNext = () => {
    while (busy < MAX_PARALLEL && !paused) {
      const batch = takeBatch();
      if (batch.length === 0) return;
      busy += 1;
      for (const entry of batch) change(entry, { state: 'sending', reason: '' });
      void sendBatch(batch).finally(() => {
        busy -= 1;
        sendNext();
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
    snapshot: (): readonly Upload[] => {
      if (stale) {
        snapshot = entries.map((entry) => entry.upload);
        stale = false;
      }
      return snapshot;
    },
    isPaused: () => paused,
    add: (sources: readonly UploadSource[], target: UploadTarget) => {
      const added = sources.map((source): Entry => ({
        source,
        target,
        alone: false,
        upload: {
          id: nextId++,
          file: { name: source.name, size: source.size },
          ...target,
          state: 'queued',
          progress: 0,
          reason: '',
          imageId: null,
          attempt: 0,
          unsent: false,
        },
      }));
      entries = [...entries, ...added];
      waiting.push(...added);
      notify();
      sendNext();
    },
    retry: (id?: number) => {
      for (const entry of entries) {
        if (entry.upload.state !== 'failed' || (id !== undefined && entry.upload.id !== id)) continue;
        change(entry, { state: 'queued', progress: 0, reason: '', unsent: false });
        waiting.push(entry);
      }
      sendNext();
    },
    pause: (on: boolean) => {
      paused = on;
      notify();
      sendNext();
    },
    /** Forget all files, those that wait included: the next person at this computer must not see their names. */
    reset: () => {
      waiting.length = 0;
      entries = [];
      notify();
    },
    clear: () => {
      entries = entries.filter((entry) => !isDone(entry.upload.state));
      notify();
    },
  };
}

/** Bytes sent of all bytes, 0 to 1; a file for which no server answered was not sent. */
export function overallProgress(uploads: readonly Upload[]): number {
  const all = uploads.reduce((sum, upload) => sum + Math.max(1, upload.file.size), 0);
  const sent = uploads.reduce(
    (sum, upload) => sum + Math.max(1, upload.file.size) * (isOutstanding(upload) ? upload.progress : 1),
    0,
  );
  return all === 0 ? 0 : sent / all;
}

export const uploadQueue = createUploadQueue(
  ingest.upload,
  (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
);
