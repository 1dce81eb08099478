// SPDX-License-Identifier: Apache-2.0

/** Whether the server answers at all. */
export function isReachable(): Promise<boolean> {
  return fetch('/api/health').then(
    (response) => response.ok,
    () => false,
  );
}

/** Loads the page anew if the server answers; with the network down the page that is here is better than none. */
export async function reloadIfReachable(): Promise<void> {
  if (await isReachable()) window.location.reload();
}
