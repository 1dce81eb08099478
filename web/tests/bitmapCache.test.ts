// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { BitmapCache, type CachedBitmap } from '@/viewer/bitmapCache';

type Fake = CachedBitmap & { url: string; closed: boolean };

function createCache(limit: number) {
  const urls: string[] = [];
  const bitmaps: Fake[] = [];
  const cache = new BitmapCache<Fake>(limit, (url) => {
    urls.push(url);
    if (url.includes('broken')) return Promise.reject(new Error('404'));
    const picture: Fake = { url, width: 1, height: 1, closed: false, close: () => (picture.closed = true) };
    bitmaps.push(picture);
    return Promise.resolve(picture);
  });
  return { cache, urls: urls, bitmaps: bitmaps };
}

describe('the cache of decoded pictures', () => {
  it('fetches each picture once', async () => {
    const { cache, urls: urls } = createCache(4);
    await Promise.all([cache.load('a'), cache.load('a')]);
    await cache.load('a');
    expect(urls).toEqual(['a']);
    expect(cache.ready('a')?.url).toBe('a');
    expect(cache.ready('b')).toBeNull();
  });

  it('lets go of the oldest that nobody wants, and closes it', async () => {
    const { cache, bitmaps: bitmaps } = createCache(3);
    for (const url of ['a', 'b', 'c']) await cache.load(url);
    await cache.load('a');
    cache.prefer(['d', 'c']);
    await cache.load('d');
    expect(bitmaps.filter((picture) => picture.closed).map((picture) => picture.url)).toEqual(['b']);
    expect(cache.ready('a')).not.toBeNull();
  });

  it('tries again what has failed', async () => {
    const { cache, urls: urls } = createCache(3);
    await expect(cache.load('broken')).rejects.toThrow('404');
    await expect(cache.load('broken')).rejects.toThrow('404');
    expect(urls).toEqual(['broken', 'broken']);
  });

  it('closes a picture that arrives after it was let go', async () => {
    const { cache, bitmaps: bitmaps } = createCache(1);
    const late = cache.load('a');
    cache.clear();
    await expect(late).rejects.toThrow('Stopped');
    expect(bitmaps[0]?.closed).toBe(true);
  });
});
