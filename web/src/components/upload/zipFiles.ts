// SPDX-License-Identifier: Apache-2.0
// Files as they are chosen or dropped, with those inside ZIP archives in place of the archives. An archive is read here
// and not on the server, so that each file in it has its own answer and can be sent again by itself; it is unpacked file
// by file, when each is sent.
import { Problem } from '@/api/problem';
import { isHiddenName } from '@/lib/droppedFiles';
import { sourceOf, type UploadSource } from './uploadQueue';

const MAX_ENTRIES = 200_000;
// What unfolds to more is no image; the server takes less.
const MAX_ENTRY_BYTES = 4_000_000_000;

export const isZip = (file: { name: string; type?: string }) =>
  /\.zip$/i.test(file.name) || file.type === 'application/zip';

const failedSource = (name: string, detail: string): UploadSource => ({
  name,
  size: 0,
  open: () => Promise.reject(new Problem({ status: 422, title: 'This archive cannot be opened', detail })),
});

const decode = (bytes: Uint8Array, encoding: string) => {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
};

/** A name whose encoding the archive does not state; undefined leaves it to the reader, which follows the format. */
export function decodeName(bytes: Uint8Array, encoding: string): string | undefined {
  if (encoding.toLowerCase() !== 'cp437') return undefined;
  // Programs on Windows write the encoding of the system. Japanese comes first: Chinese text read as Japanese has
  // half-width katakana, which names seldom have, while Japanese text read as Chinese looks usual.
  const usual = (text: string | undefined) =>
    text !== undefined && /^[\p{ASCII}\u3000-\u30ff\u4e00-\u9fff（）]+$/u.test(text);
  return decode(bytes, 'utf-8') ?? ['shift_jis', 'gb18030'].map((name) => decode(bytes, name)).find(usual);
}

const baseName = (path: string) => path.split(/[\\/]/).at(-1) ?? path;

async function readZip(archive: File): Promise<UploadSource[]> {
  const zip = await import('@zip.js/zip.js/lib/zip-core-native.js');
  zip.configure({ useWebWorkers: false });
  const reader = new zip.ZipReader(new zip.BlobReader(archive), { decodeText: decodeName });
  const sources: UploadSource[] = [];
  for await (const entry of reader.getEntriesGenerator()) {
    if (entry.directory || isHiddenName(baseName(entry.filename)) || entry.filename.startsWith('__MACOSX/')) continue;
    if (sources.length >= MAX_ENTRIES)
      return [failedSource(archive.name, 'It contains too many files. Split it into several archives.')];
    const name = baseName(entry.filename);
    if (entry.encrypted) {
      sources.push(
        failedSource(name, 'It is protected by a password. Extract it on your computer and upload the files.'),
      );
    } else if (entry.uncompressedSize > MAX_ENTRY_BYTES) {
      sources.push(failedSource(name, 'Its extracted size is too large for an image. It was not sent.'));
    } else {
      sources.push({
        name,
        size: entry.uncompressedSize,
        open: async () => {
          try {
            return new File([await entry.getData(new zip.BlobWriter())], name);
          } catch {
            throw new Problem({
              status: 422,
              title: 'This file cannot be extracted',
              detail: 'The archive is damaged. Copy or create it again. Nothing was sent.',
            });
          }
        },
      });
    }
  }
  return sources;
}

/** What is to be uploaded of files that somebody chose or dropped. */
export async function openFiles(files: readonly File[]): Promise<UploadSource[]> {
  const sources: UploadSource[] = [];
  for (const file of files) {
    if (!isZip(file)) {
      sources.push(sourceOf(file));
      continue;
    }
    try {
      const inside = await readZip(file);
      sources.push(...(inside.length > 0 ? inside : [failedSource(file.name, 'It contains no files.')]));
    } catch {
      sources.push(failedSource(file.name, 'It is not a ZIP archive, or it is truncated. Create it again.'));
    }
  }
  return sources;
}
