// SPDX-License-Identifier: Apache-2.0
// Decoded pictures, fetched ahead, so that the next one is drawn and not waited for.

export type CachedBitmap = Pick<ImageBitmap, 'width' | 'height' | 'close'>;
export type FetchBitmap<P extends CachedBitmap> = (url: string, signal: AbortSignal) => Promise<P>;

type Entry<P> = { promise: Promise<P>; stop: AbortController; picture: P | null };

/** The server said why there is no picture; its words are for the reader. */
export class RenditionError extends Error {}

async function errorText(response: Response): Promise<string> {
  const body = (await response.json().catch(() => null)) as { detail?: unknown } | null;
  return typeof body?.detail === 'string' && body.detail ? body.detail : `No picture came (${response.status}).`;
}

async function fetchBitmap(url: string, signal: AbortSignal): Promise<ImageBitmap> {
  const response = await fetch(url, { credentials: 'same-origin', signal });
  if (!response.ok) throw new RenditionError(await errorText(response));
  return createImageBitmap(await response.blob());
}

export class BitmapCache<P extends CachedBitmap = ImageBitmap> {
  readonly #entries = new Map<string, Entry<P>>();
  readonly #fetch: FetchBitmap<P>;
  readonly #limit: number;

  constructor(limit = 24, fetchPicture?: FetchBitmap<P>) {
    this.#limit = limit;
    this.#fetch = fetchPicture ?? (fetchBitmap as unknown as FetchBitmap<P>);
  }

  /** The picture if it is decoded already. */
  ready(url: string): P | null {
    return this.#entries.get(url)?.picture ?? null;
  }

  load(url: string): Promise<P> {
    const known = this.#entries.get(url);
    if (known) {
      // Moved to the end: the order of the map is the order of last use.
      this.#entries.delete(url);
      this.#entries.set(url, known);
      return known.promise;
    }
    const stop = new AbortController();
    const entry: Entry<P> = {
      stop,
      picture: null,
      promise: this.#fetch(url, stop.signal).then(
        (picture) => {
          if (stop.signal.aborted) {
            picture.close();
            throw new DOMException('Stopped', 'AbortError');
          }
          entry.picture = picture;
          return picture;
        },
        (error: unknown) => {
          if (this.#entries.get(url) === entry) this.#entries.delete(url);
          throw error;
        },
      ),
    };
    this.#entries.set(url, entry);
    return entry.promise;
  }

  /** Fetches what will be wanted soon and lets go of what is over the limit, the wanted ones last. */
  prefer(urls: readonly string[]): void {
    for (const url of urls) this.load(url).catch(() => undefined);
    const preferred = new Set(urls);
    for (const url of [...this.#entries.keys()]) {
      if (this.#entries.size <= this.#limit) break;
      if (!preferred.has(url)) this.#drop(url);
    }
  }

  clear(): void {
    for (const url of [...this.#entries.keys()]) this.#drop(url);
  }

  #drop(url: string): void {
    const entry = this.#entries.get(url);
    if (!entry) return;
    this.#entries.delete(url);
    entry.stop.abort();
    entry.picture?.close();
    entry.promise.catch(() => undefined);
  }
}
