// SPDX-License-Identifier: Apache-2.0
// The viewer as a part of a page: the neutral dark ground, the canvas, its evidence layer, its words while loading.
import { useEffect, useImperativeHandle, useLayoutEffect, useRef, useState, type Ref } from 'react';
import { viewing } from '@/api/calls';
import { BitmapCache, PictureRefused } from '@/viewer/bitmapCache';
import { ImageCanvas, type Light } from '@/viewer/imageCanvas';
import { fit, renditionFor, type Rendition } from '@/viewer/viewport';
import classes from './ImageStage.module.css';

export type StageImage = { id: string; width: number; height: number; unreadable: boolean; evidence: boolean };
export type StageHandle = { fit: () => void; zoom: (factor: number) => void; focus: () => void };

type Props = {
  image: StageImage;
  frame?: number;
  /** Fetched ahead, the nearest first. */
  neighbours?: readonly StageImage[];
  label: string;
  light: Light;
  evidence: { shown: boolean; opacity: number };
  onDrawn?: (id: string) => void;
  handle?: Ref<StageHandle>;
};

const cache = new BitmapCache(24);

function key(image: StageImage, frame: number): string {
  return `${image.id}/${frame}`;
}

export function ImageStage({ image, frame = 0, neighbours = [], label, light, evidence, onDrawn, handle }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const layer = useRef<HTMLCanvasElement>(null);
  const viewer = useRef<ImageCanvas | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [waiting, setWaiting] = useState(false);
  const drawn = useRef(onDrawn);
  drawn.current = onDrawn;

  useLayoutEffect(() => {
    if (!canvas.current || !layer.current) return;
    const made = new ImageCanvas(canvas.current, layer.current);
    viewer.current = made;
    return () => {
      viewer.current = null;
      made.destroy();
    };
  }, []);

  useImperativeHandle(handle, () => ({
    fit: () => viewer.current?.fit(),
    zoom: (factor) => viewer.current?.zoom(factor),
    focus: () => canvas.current?.focus({ preventScroll: true }),
  }));

  const renditionOf = (one: StageImage): Rendition => {
    const box = viewer.current?.box ?? { width: 1, height: 1 };
    return renditionFor(one, fit(one, box).scale, window.devicePixelRatio || 1);
  };

  // The picture: at once when it was fetched ahead, finer when someone looks closer.
  const { id, width, height, unreadable } = image;
  useLayoutEffect(() => {
    const made = viewer.current;
    if (!made) return;
    setTrouble(null);
    setWaiting(false);
    if (unreadable) {
      made.clear();
      drawn.current?.(id);
      return;
    }
    let current = true;
    const first = renditionOf(image);
    let finest: Rendition = first;
    const show = (picture: ImageBitmap) => made.show(key(image, frame), picture, { width, height });
    const url = viewing.renderedUrl(id, first, frame);
    const ready = cache.ready(url);
    let slow = 0;
    if (ready) {
      show(ready);
      void cache.load(url);
      drawn.current?.(id);
    } else {
      slow = window.setTimeout(() => {
        if (!current) return;
        made.clear();
        setWaiting(true);
      }, 120);
      cache
        .load(url)
        .then((picture) => {
          if (!current) return;
          window.clearTimeout(slow);
          setWaiting(false);
          show(picture);
          drawn.current?.(id);
        })
        .catch((error: unknown) => {
          if (!current) return;
          window.clearTimeout(slow);
          setWaiting(false);
          made.clear();
          setTrouble(
            error instanceof PictureRefused
              ? error.message
              : 'This picture could not be loaded. Check the connection, then press R.',
          );
        });
    }
    let finer = 0;
    made.onScale = (scale) => {
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
      made.onScale = () => {};
      window.clearTimeout(slow);
      window.clearTimeout(finer);
    };
    // The id, the frame and the size name the picture.
  }, [id, frame, width, height, unreadable]);

  // The neighbours, once the picture itself has had its turn.
  const ahead = neighbours.map((one) => one.id).join(' ');
  useEffect(() => {
    const timer = window.setTimeout(() => {
      const own = unreadable ? [] : [viewing.renderedUrl(id, renditionOf(image), frame)];
      const others = neighbours.filter((one) => !one.unreadable);
      cache.prefer([
        ...own,
        ...others.map((one) => viewing.renderedUrl(one.id, renditionOf(one))),
        ...(evidence.shown ? others.filter((one) => one.evidence).map((one) => viewing.evidenceUrl(one.id, 512)) : []),
      ]);
    }, 0);
    return () => window.clearTimeout(timer);
    // The ids name the neighbours.
  }, [id, ahead, evidence.shown]);

  useLayoutEffect(() => {
    if (viewer.current) viewer.current.light = light;
  }, [light]);

  useLayoutEffect(() => {
    const made = viewer.current;
    if (!made) return;
    made.opacity = evidence.opacity;
    if (!evidence.shown || !image.evidence || unreadable) {
      made.showEvidence(null);
      return;
    }
    let current = true;
    const url = viewing.evidenceUrl(id, 512);
    const ready = cache.ready(url);
    if (ready) made.showEvidence(ready);
    else {
      cache
        .load(url)
        .then((picture) => current && made.showEvidence(picture))
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
      {waiting && <p className={classes.words}>Loading the picture</p>}
      {unreadable && <p className={classes.words}>No picture can be drawn from this file.</p>}
      {trouble && (
        <p className={classes.words} role="alert">
          {trouble}
        </p>
      )}
    </div>
  );
}
