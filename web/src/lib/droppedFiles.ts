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
  const files: File[] = [];
  // A reader hands out at most about a hundred entries at a time; an empty answer is the end.
  for (let batch = await entriesOf(reader); batch.length > 0; batch = await entriesOf(reader)) {
    for (const child of batch) files.push(...(await walk(child)));
  }
  return files;
}

const HIDDEN = /^(\.|Thumbs\.db$|desktop\.ini$)/i;

export function withoutHidden(files: File[]): File[] {
  return files.filter((file) => !HIDDEN.test(file.name));
}

export async function droppedFiles(transfer: DataTransfer): Promise<File[]> {
  // The entries must be taken before the first await: the list is emptied when the event is over.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return withoutHidden([...transfer.files]);
  const nested = await Promise.all(entries.map(walk));
  return withoutHidden(nested.flat());
}
