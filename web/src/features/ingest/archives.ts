// SPDX-License-Identifier: Apache-2.0
// Files as they are chosen or dropped, with those inside ZIP archives in place of the archives. An archive is read here
// and not on the server, so that each file in it has its own answer and can be sent again by itself; it is unpacked file
// by file, when each is sent.
import { Problem } from '@/api/problem';
import { isHiddenName } from '@/lib/droppedFiles';
import { sourceOf, type Source } from './uploadQueue';

const MOST_ENTRIES = 200_000;
// What unfolds to more is no image; the server takes less.
const MOST_BYTES = 4_000_000_000;

export const isArchive = (file: { name: string; type?: string }) =>
  /\.zip$/i.test(file.name) || file.type === 'application/zip';

const broken = (name: string, detail: string): Source => ({
  name,
  size: 0,
  open: () => Promise.reject(new Problem({ status: 422, title: 'This archive cannot be opened', detail })),
});

const leaf = (path: string) => path.split(/[\\/]/).at(-1) ?? path;

async function filesInside(archive: File): Promise<Source[]> {
  const zip = await import('@zip.js/zip.js/lib/zip-core-native.js');
  zip.configure({ useWebWorkers: false });
  const reader = new zip.ZipReader(new zip.BlobReader(archive));
  const found: Source[] = [];
  for await (const entry of reader.getEntriesGenerator()) {
    if (entry.directory || isHiddenName(leaf(entry.filename)) || entry.filename.startsWith('__MACOSX/')) continue;
    if (found.length >= MOST_ENTRIES) return [broken(archive.name, 'It holds too many files. Divide it in parts.')];
    const name = leaf(entry.filename);
    if (entry.encrypted) {
      found.push(broken(name, 'It is locked by a password. Unlock it on your machine and upload the files.'));
    } else if (entry.uncompressedSize > MOST_BYTES) {
      found.push(broken(name, 'It unfolds to more than any image has. Nothing of it was sent.'));
    } else {
      found.push({
        name,
        size: entry.uncompressedSize,
        open: async () => {
          try {
            return new File([await entry.getData(new zip.BlobWriter())], name);
          } catch {
            throw new Problem({
              status: 422,
              title: 'This file cannot be taken out of its archive',
              detail: 'The archive is damaged here. Copy or pack it again; nothing was sent.',
            });
          }
        },
      });
    }
  }
  return found;
}

/** What is to be uploaded of files that somebody chose or dropped. */
export async function sourcesOf(files: readonly File[]): Promise<Source[]> {
  const found: Source[] = [];
  for (const file of files) {
    if (!isArchive(file)) {
      found.push(sourceOf(file));
      continue;
    }
    try {
      const inside = await filesInside(file);
      found.push(...(inside.length > 0 ? inside : [broken(file.name, 'There is no file in it.')]));
    } catch {
      found.push(broken(file.name, 'It is no ZIP archive, or it ends too early. Pack it again.'));
    }
  }
  return found;
}
