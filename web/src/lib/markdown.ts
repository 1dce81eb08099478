// SPDX-License-Identifier: Apache-2.0

export type Block =
  | { kind: 'heading'; text: string }
  | { kind: 'paragraph'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'list'; ordered: boolean; items: string[] }
  | { kind: 'table'; head: string[]; rows: string[][] };

const ITEM = /^\s*(?:[-*+]|\d+\.)\s+/;

function cells(line: string): string[] {
  return line
    .trim()
    .replaceAll(/^\||\|$/g, '')
    .split('|')
    .map((cell) => cell.trim());
}

/** The blocks of a small Markdown text, in order. */
export function blocksOf(text: string): Block[] {
  const lines = text.replaceAll('\r\n', '\n').split('\n');
  const blocks: Block[] = [];
  let at = 0;
  const line = () => lines[at] ?? '';
  while (at < lines.length) {
    if (line().trim() === '') {
      at += 1;
    } else if (line().startsWith('```')) {
      const code: string[] = [];
      for (at += 1; at < lines.length && !line().startsWith('```'); at += 1) code.push(line());
      at += 1;
      blocks.push({ kind: 'code', text: code.join('\n') });
    } else if (/^#{1,6}\s/.test(line())) {
      blocks.push({ kind: 'heading', text: line().replace(/^#+\s+/, '') });
      at += 1;
    } else if (line().trim().startsWith('|') && /^\s*\|[\s:|-]+\|?\s*$/.test(lines[at + 1] ?? '')) {
      const head = cells(line());
      const rows: string[][] = [];
      for (at += 2; line().trim().startsWith('|'); at += 1) rows.push(cells(line()));
      blocks.push({ kind: 'table', head, rows });
    } else if (ITEM.test(line())) {
      const ordered = /^\s*\d/.test(line());
      const items: string[] = [];
      for (; at < lines.length && line().trim() !== ''; at += 1) {
        if (ITEM.test(line())) items.push(line().replace(ITEM, ''));
        else items.push(`${items.pop() ?? ''} ${line().trim()}`.trim());
      }
      blocks.push({ kind: 'list', ordered, items });
    } else {
      const words: string[] = [];
      for (; at < lines.length && line().trim() !== '' && !/^#{1,6}\s|^```/.test(line()); at += 1) words.push(line().trim());
      blocks.push({ kind: 'paragraph', text: words.join(' ') });
    }
  }
  return blocks;
}
