// SPDX-License-Identifier: Apache-2.0
// One way to the server: cookie session, CSRF token on what changes things, problems as errors.
import createClient from 'openapi-fetch';
import { networkProblem, problemOf } from './problem';
import type { paths } from './schema';

let csrfToken = '';
let signedOut: () => void = () => {};

export function setCsrfToken(token: string): void {
  csrfToken = token;
}

/** Called when the server says 401 to anything but the sign-in itself. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export const server = createClient<paths>({ credentials: 'same-origin', headers: { Accept: 'application/json' } });

server.use({
  onRequest({ request }) {
    if (request.method !== 'GET' && csrfToken) request.headers.set('X-CSRF-Token', csrfToken);
    return request;
  },
});

/** A query as it stands in an address, without its empty values. */
export function queryText(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') parameters.set(name, String(value));
  }
  return parameters.toString();
}

/** The body of an answer; a refusal or a missing answer becomes a problem. */
export async function unwrap<T>(
  call: Promise<{ data?: T; error?: unknown; response: Response }>,
  quiet = false,
): Promise<T> {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw networkProblem();
  }
  const { data, error, response } = answer;
  if (response.ok) return data as T;
  if (response.status === 401 && !quiet) signedOut();
  throw problemOf(response.status, error, response.headers.get('Retry-After'));
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Sends files with progress, which fetch cannot tell. */
export function sendFiles<T>(
  path: string,
  form: FormData,
  onProgress: (fraction: number) => void,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', path);
    request.responseType = 'text';
    request.setRequestHeader('Accept', 'application/json');
    if (csrfToken) request.setRequestHeader('X-CSRF-Token', csrfToken);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable && event.total > 0) onProgress(event.loaded / event.total);
    };
    request.onerror = () => reject(networkProblem());
    request.onabort = () => reject(new DOMException('Stopped', 'AbortError'));
    request.onload = () => {
      const body = parseJSON(request.responseText);
      if (request.status >= 200 && request.status < 300 && body !== null) {
        resolve(body as T);
        return;
      }
      if (request.status === 401) signedOut();
      reject(problemOf(request.status, body, request.getResponseHeader('Retry-After')));
    };
    signal?.addEventListener('abort', () => request.abort(), { once: true });
    request.send(form);
  });
}
