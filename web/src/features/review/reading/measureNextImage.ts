// SPDX-License-Identifier: Apache-2.0
// How long the reader waits for the next image: from the key to the end of the frame in which it is drawn.
// A benchmark reads the entries named "next-image" of the performance timeline.

export function measureNextImage() {
  let pending: { id: string; since: number } | null = null;
  return {
    start: (id: string, since: number): void => {
      pending = { id, since };
      performance.mark('next-image-key', { startTime: since, detail: { id } });
    },
    drawn: (id: string): void => {
      if (pending?.id !== id) return;
      const { since } = pending;
      pending = null;
      requestAnimationFrame(() => {
        // A message is delivered after the frame has been painted.
        const channel = new MessageChannel();
        channel.port1.onmessage = () => {
          channel.port1.close();
          performance.mark('next-image-drawn', { detail: { id } });
          performance.measure('next-image', { start: since, end: performance.now(), detail: { id } });
        };
        channel.port2.postMessage(null);
      });
    },
  };
}
