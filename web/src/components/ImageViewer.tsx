// SPDX-License-Identifier: Apache-2.0
// The viewer as a part of a page: the neutral dark ground, the canvas, its evidence layer, its words while loading.
import { useEffect, useEffectEvent, useImperativeHandle, useLayoutEffect, useRef, useState, type Ref } from 'react';
import { viewing } from '@/api/calls';
import { BitmapCache, RenditionError } from '@/viewer/bitmapCache';
import { ImageCanvas, type Light } from '@/viewer/imageCanvas';
import { displayedSize, fit, renditionFor, type Rendition } from '@/viewer/viewport';
import classes from './ImageViewer.module.css';

export type ViewerImage = { id: string; width: number; height: number; unreadable: boolean; evidence: boolean };
export type ViewerHandle = { fit: () => void; zoom: (factor: number) => void; focus: () => void };

type Props = {
  image: ViewerImage;
  frame?: number;
  /** Fetched ahead, the nearest first. */
  neighbours?: readonly ViewerImage[];
  label: string;
  light: Light;
  evidence: { shown: boolean; opacity: number };
  onDrawn?: (id: string) => void;
  handle?: Ref<ViewerHandle>;
};

const cache = new BitmapCache(24);
const EVIDENCE_SIZE = 512;

/** The rendition that fills the box of the canvas. */
function fittedRendition(canvas: ImageCanvas | null, image: { width: number; height: number }): Rendition {
  const box = canvas?.box ?? { width: 1, height: 1 };
  return renditionFor(image, fit(image, box).scale, window.devicePixelRatio || 1);
}

export function ImageViewer({ image, frame = 0, neighbours = [], label, light, evidence, onDrawn, handle }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const layer = useRef<HTMLCanvasElement>(null);
  const viewer = useRef<ImageCanvas | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [waiting, setWaiting] = useState(false);
  const reportDrawn = useEffectEvent((id: string) => onDrawn?.(id));

  useLayoutEffect(() => {
    if (!canvas.current || !layer.current) return;
    const canvasViewer = new ImageCanvas(canvas.current, layer.current);
    viewer.current = canvasViewer;
    return () => {
      viewer.current = null;
      canvasViewer.destroy();
    };
  }, []);

  useImperativeHandle(handle, () => ({
    fit: () => viewer.current?.fit(),
    zoom: (factor) => viewer.current?.zoom(factor),
    focus: () => canvas.current?.focus({ preventScroll: true }),
  }));

  // The picture: at once when it was fetched ahead, finer when someone looks closer.
  const { id, width, height, unreadable } = image;
  useLayoutEffect(() => {
    const canvasViewer = viewer.current;
    if (!canvasViewer) return;
    setTrouble(null);
    setWaiting(false);
    if (unreadable) {
      canvasViewer.clear();
      reportDrawn(id);
      return;
    }
    let current = true;
    const first = fittedRendition(viewer.current, { width, height });
    let finest: Rendition = first;
    const show = (picture: ImageBitmap) =>
      canvasViewer.show(`${id}/${frame}`, picture, displayedSize({ width, height }, picture));
    const url = viewing.renderedUrl(id, first, frame);
    const ready = cache.ready(url);
    let slow = 0;
    if (ready) {
      show(ready);
      void cache.load(url);
      reportDrawn(id);
    } else {
      slow = window.setTimeout(() => {
        if (!current) return;
        canvasViewer.clear();
        setWaiting(true);
      }, 120);
      cache
        .load(url)
        .then((picture) => {
          if (!current) return;
          window.clearTimeout(slow);
          setWaiting(false);
          show(picture);
          reportDrawn(id);
        })
        .catch((error: unknown) => {
          if (!current) return;
          window.clearTimeout(slow);
          setWaiting(false);
          canvasViewer.clear();
          setTrouble(
            error instanceof RenditionError
              ? error.message
              : 'The image could not be loaded. Check the connection, then press R.',
          );
        });
    }
    let finer = 0;
    canvasViewer.onScale = (scale) => {
      const wanted = renditionFor({ width, height }, scale, window.devicePixelRatio || 1);
      if (wanted <= finest) return;
      window.clearTimeout(finer);
      finer = window.setTimeout(() => {
        finest = wanted;
        cache
          .load(viewing.renderedUrl(id, wanted, frame))
          .then((picture) => current && show(picture))
          .catch(() => undefined);
      }, 140);
    };
    return () => {
      current = false;
      canvasViewer.onScale = () => {};
      window.clearTimeout(slow);
      window.clearTimeout(finer);
    };
    // The id, the frame and the size name the picture.
  }, [id, frame, width, height, unreadable]);

  const prefetch = useEffectEvent(() => {
    const canvas = viewer.current;
    const own = unreadable ? [] : [viewing.renderedUrl(id, fittedRendition(canvas, { width, height }), frame)];
    const others = neighbours.filter((neighbour) => !neighbour.unreadable);
    const maps = evidence.shown ? others.filter((neighbour) => neighbour.evidence) : [];
    cache.prefer([
      ...own,
      ...others.map((neighbour) => viewing.renderedUrl(neighbour.id, fittedRendition(canvas, neighbour))),
      ...maps.map((neighbour) => viewing.evidenceUrl(neighbour.id, EVIDENCE_SIZE)),
    ]);
  });
  // The neighbours are fetched after the image itself.
  const neighbourIds = neighbours.map((neighbour) => neighbour.id).join(' ');
  useEffect(() => {
    const timer = window.setTimeout(() => prefetch(), 0);
    return () => window.clearTimeout(timer);
  }, [id, neighbourIds, evidence.shown]);

  useLayoutEffect(() => {
    if (viewer.current) viewer.current.light = light;
  }, [light]);

  useLayoutEffect(() => {
    const canvasViewer = viewer.current;
    if (!canvasViewer) return;
    canvasViewer.opacity = evidence.opacity;
    if (!evidence.shown || !image.evidence || unreadable) {
      canvasViewer.showEvidence(null);
      return;
    }
    let current = true;
    const url = viewing.evidenceUrl(id, EVIDENCE_SIZE);
    const ready = cache.ready(url);
    if (ready) canvasViewer.showEvidence(ready);
    else {
      cache
        .load(url)
        .then((picture) => current && canvasViewer.showEvidence(picture))
        .catch(() => undefined);
    }
    return () => {
      current = false;
    };
  }, [id, image.evidence, unreadable, evidence.shown, evidence.opacity]);

  return (
    <div className={classes.stage}>
      <canvas ref={canvas} className={classes.canvas} role="img" aria-label={label} tabIndex={0} />
      <canvas ref={layer} className={classes.layer} aria-hidden="true" />
      {waiting && <p className={classes.words}>Loading image</p>}
      {unreadable && <p className={classes.words}>This file cannot be displayed as an image.</p>}
      {trouble && (
        <p className={classes.words} role="alert">
          {trouble}
        </p>
      )}
    </div>
  );
}
