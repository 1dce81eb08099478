// SPDX-License-Identifier: Apache-2.0
// Decoded pictures, fetched ahead, so that the next one is drawn and not waited for.

export type Picture = Pick<ImageBitmap, 'width' | 'height' | 'close'>;
export type Fetch<P extends Picture> = (url: string, signal: AbortSignal) => Promise<P>;

type Entry<P> = { promise: Promise<P>; stop: AbortController; picture: P | null };

/** The server said why there is no picture; its words are for the reader. */
export class PictureRefused extends Error {}

async function wordsOf(response: Response): Promise<string> {
  const said = (await response.json().catch(() => null)) as { detail?: unknown } | null;
  return typeof said?.detail === 'string' && said.detail ? said.detail : `No picture came (${response.status}).`;
}

async function fetchBitmap(url: string, signal: AbortSignal): Promise<ImageBitmap> {
  const response = await fetch(url, { credentials: 'same-origin', signal });
  if (!response.ok) throw new PictureRefused(await wordsOf(response));
  return createImageBitmap(await response.blob());
}

export class BitmapCache<P extends Picture = ImageBitmap> {
  readonly #entries = new Map<string, Entry<P>>();
  readonly #fetch: Fetch<P>;
  readonly #limit: number;

  constructor(limit = 24, fetchPicture?: Fetch<P>) {
    this.#limit = limit;
    this.#fetch = fetchPicture ?? (fetchBitmap as unknown as Fetch<P>);
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
    const wanted = new Set(urls);
    for (const url of [...this.#entries.keys()]) {
      if (this.#entries.size <= this.#limit) break;
      if (!wanted.has(url)) this.#drop(url);
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
