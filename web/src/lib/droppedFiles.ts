// SPDX-License-Identifier: Apache-2.0
// Files of a drop, folders opened to any depth.

function entriesOf(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

async function walk(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) return [await fileOf(entry as FileSystemFileEntry)];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: File[][] = [];
  // A reader hands out at most about a hundred entries at a time; an empty answer is the end.
  for (let batch = await entriesOf(reader); batch.length > 0; batch = await entriesOf(reader)) {
    files.push(...(await Promise.all(batch.map(walk))));
  }
  return files.flat();
}

const HIDDEN = /^(\.|Thumbs\.db$|desktop\.ini$)/i;

export const isHiddenName = (name: string) => HIDDEN.test(name);

export function withoutHidden(files: File[]): File[] {
  return files.filter((file) => !isHiddenName(file.name));
}

export async function droppedFiles(transfer: DataTransfer): Promise<File[]> {
  // All must be taken before the first await: the list is emptied when the event is over.
  const taken = [...transfer.items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const folders = taken.flatMap(({ entry }) => (entry?.isDirectory ? [entry] : []));
  const files = taken.flatMap(({ entry, file }) => (file && !entry?.isDirectory ? [file] : []));
  const nested = await Promise.all(folders.map(walk));
  return withoutHidden([...files, ...nested.flat()]);
}
