// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { decodeName, openFiles } from '@/components/upload/zipFiles';

const bytes = (hexadecimal: string) => Uint8Array.from(hexadecimal.match(/../g) ?? [], (pair) => parseInt(pair, 16));

describe('names in a ZIP that does not state their encoding', () => {
  it.each([
    ['cfb8b0fb2e706e67', '细胞.png'], // GBK
    ['8d4492868b852e706e67', '好中球.png'], // Shift JIS
    ['838a839383708b852e706e67', 'リンパ球.png'],
    ['cac8bceed0d4c1a3cfb8b0fb2e706e67', '嗜碱性粒细胞.png'],
    ['c3a92e706e67', 'é.png'], // UTF-8 without its flag
    ['822e706e67', undefined], // é in CP437: left to the reader
  ])('%s', (raw, name) => {
    expect(decodeName(bytes(raw), 'cp437')).toBe(name);
  });

  it('are left alone where the archive says UTF-8', () => {
    expect(decodeName(bytes('c3a9'), 'utf-8')).toBeUndefined();
  });
});

describe('openFiles', () => {
  it('shows the name of a file in a ZIP of a Chinese system', async () => {
    const name = bytes('cfb8b0fb2e706e67');
    const view = new DataView(new ArrayBuffer(30));
    [0x04034b50, 20].forEach((value, index) =>
      index ? view.setUint16(4, value, true) : view.setUint32(0, value, true),
    );
    view.setUint16(26, name.length, true);
    const entry = new DataView(new ArrayBuffer(46));
    entry.setUint32(0, 0x02014b50, true);
    entry.setUint16(4, 20, true);
    entry.setUint16(6, 20, true);
    entry.setUint16(28, name.length, true);
    const end = new DataView(new ArrayBuffer(22));
    end.setUint32(0, 0x06054b50, true);
    end.setUint16(8, 1, true);
    end.setUint16(10, 1, true);
    end.setUint32(12, 46 + name.length, true);
    end.setUint32(16, 30 + name.length, true);
    const archive = new File([view.buffer, name, entry.buffer, name, end.buffer], 'a.zip');
    const sources = await openFiles([archive]);
    expect(sources.map((source) => source.name)).toEqual(['细胞.png']);
  });
});
