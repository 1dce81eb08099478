// SPDX-License-Identifier: Apache-2.0
// One image on a canvas with its evidence as a layer above: wheel zooms about the cursor, drag pans, double click fits,
// two fingers pinch. It knows no React; whoever owns the canvases tells it what to show.
import { fit, keepInSight, pan, zoomAt, type Point, type Size, type View } from './viewport';

export type Light = { brightness: number; contrast: number };
export const NORMAL_LIGHT: Light = { brightness: 1, contrast: 1 };

type CurrentImage = { key: string; picture: ImageBitmap; size: Size };

export class ImageCanvas {
  readonly #canvas: HTMLCanvasElement;
  readonly #layer: HTMLCanvasElement;
  readonly #stop = new AbortController();
  readonly #observer: ResizeObserver;
  readonly #pointers = new Map<number, Point>();
  #shown: CurrentImage | null = null;
  #evidence: ImageBitmap | null = null;
  #opacity = 0.5;
  #view: View = { scale: 1, x: 0, y: 0 };
  #fitted = true;
  #box: Size = { width: 1, height: 1 };
  #frame = 0;
  /** Called when the view has changed, with CSS pixels per image pixel. */
  onScale: (scale: number) => void = () => {};

  constructor(canvas: HTMLCanvasElement, layer: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#layer = layer;
    const { signal } = this.#stop;
    canvas.addEventListener('wheel', (event) => this.#wheel(event), { passive: false, signal });
    canvas.addEventListener('pointerdown', (event) => this.#down(event), { signal });
    canvas.addEventListener('pointermove', (event) => this.#move(event), { signal });
    canvas.addEventListener('pointerup', (event) => this.#up(event), { signal });
    canvas.addEventListener('pointercancel', (event) => this.#up(event), { signal });
    canvas.addEventListener('dblclick', () => this.fit(), { signal });
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(canvas);
    this.#resize();
  }

  get box(): Size {
    return this.#box;
  }

  get scale(): number {
    return this.#view.scale;
  }

  /** Shows a picture of an image of `size`; the view stays when it is only a finer picture of the same image. */
  show(key: string, picture: ImageBitmap, size: Size): void {
    const same = this.#shown?.key === key;
    this.#shown = { key, picture, size };
    if (!same) {
      this.#evidence = null;
      this.#fitted = true;
      this.#view = fit(size, this.#box);
    }
    this.#draw();
  }

  clear(): void {
    this.#shown = null;
    this.#evidence = null;
    this.#draw();
  }

  showEvidence(picture: ImageBitmap | null): void {
    this.#evidence = picture;
    this.#drawLayer();
  }

  set opacity(value: number) {
    this.#opacity = value;
    this.#layer.style.opacity = String(value);
  }

  get opacity(): number {
    return this.#opacity;
  }

  set light({ brightness, contrast }: Light) {
    this.#canvas.style.filter =
      brightness === 1 && contrast === 1 ? '' : `brightness(${brightness}) contrast(${contrast})`;
  }

  fit(): void {
    if (!this.#shown) return;
    this.#fitted = true;
    this.#change(fit(this.#shown.size, this.#box));
  }

  /** Zooms about the middle. */
  zoom(factor: number): void {
    this.#zoom(factor, { x: this.#box.width / 2, y: this.#box.height / 2 });
  }

  destroy(): void {
    this.#stop.abort();
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  #zoom(factor: number, at: Point): void {
    if (!this.#shown) return;
    this.#fitted = false;
    this.#change(zoomAt(this.#view, factor, at, this.#shown.size, this.#box));
  }

  #change(view: View): void {
    const scaled = view.scale !== this.#view.scale;
    this.#view = view;
    // Many pointer events may come in one frame; one drawing is enough.
    if (this.#frame === 0) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.#draw();
      });
    }
    if (scaled) this.onScale(view.scale);
  }

  #resize(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    if (clientWidth === 0 || clientHeight === 0) return;
    const ratio = window.devicePixelRatio || 1;
    this.#box = { width: clientWidth, height: clientHeight };
    for (const canvas of [this.#canvas, this.#layer]) {
      canvas.width = Math.round(clientWidth * ratio);
      canvas.height = Math.round(clientHeight * ratio);
    }
    if (this.#shown) {
      this.#view = this.#fitted
        ? fit(this.#shown.size, this.#box)
        : keepInSight(this.#view, this.#shown.size, this.#box);
    }
    this.#draw();
    this.onScale(this.#view.scale);
  }

  #draw(): void {
    this.#paint(this.#canvas, this.#shown?.picture ?? null);
    this.#drawLayer();
  }

  #drawLayer(): void {
    this.#paint(this.#layer, this.#shown && this.#evidence);
  }

  #paint(canvas: HTMLCanvasElement, picture: ImageBitmap | null): void {
    const context = canvas.getContext('2d');
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    // A picture that the cache has closed has no width any more: the owner is about to show another.
    if (!picture || picture.width === 0 || !this.#shown) return;
    const ratio = canvas.width / this.#box.width;
    const { scale, x, y } = this.#view;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = 'high';
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.drawImage(picture, x, y, this.#shown.size.width * scale, this.#shown.size.height * scale);
  }

  #at(event: MouseEvent): Point {
    const box = this.#canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #wheel(event: WheelEvent): void {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 16 : event.deltaY;
    this.#zoom(Math.exp(-lines * (event.ctrlKey ? 0.01 : 0.0015)), this.#at(event));
  }

  #down(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#at(event));
    this.#canvas.dataset.dragging = 'true';
  }

  #move(event: PointerEvent): void {
    const before = this.#pointers.get(event.pointerId);
    if (!before || !this.#shown) return;
    const now = this.#at(event);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    if (other) {
      const gap = Math.hypot(before.x - other.x, before.y - other.y);
      if (gap > 0)
        this.#zoom(Math.hypot(now.x - other.x, now.y - other.y) / gap, {
          x: (now.x + other.x) / 2,
          y: (now.y + other.y) / 2,
        });
      return;
    }
    this.#fitted = false;
    this.#change(pan(this.#view, { x: now.x - before.x, y: now.y - before.y }, this.#shown.size, this.#box));
  }

  #up(event: PointerEvent): void {
    this.#pointers.delete(event.pointerId);
    if (this.#pointers.size === 0) delete this.#canvas.dataset.dragging;
  }
}
