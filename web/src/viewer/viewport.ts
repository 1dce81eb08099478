// SPDX-License-Identifier: Apache-2.0
// Where an image lies on the screen: screen = image * scale + (x, y), in CSS pixels. Pure.

export type Size = { width: number; height: number };
export type Point = { x: number; y: number };
export type View = { scale: number; x: number; y: number };

const MARGIN = 12;
const CLOSEST = 32;

export function fit(image: Size, box: Size): View {
  const space = { width: Math.max(1, box.width - 2 * MARGIN), height: Math.max(1, box.height - 2 * MARGIN) };
  const scale = Math.min(space.width / image.width, space.height / image.height);
  return centered(image, box, scale);
}

function centered(image: Size, box: Size, scale: number): View {
  return { scale, x: (box.width - image.width * scale) / 2, y: (box.height - image.height * scale) / 2 };
}

/** Zooms so that what lies under the cursor stays under it; never smaller than half of the fit. */
export function zoomAt(view: View, factor: number, at: Point, image: Size, box: Size): View {
  const smallest = fit(image, box).scale / 2;
  const scale = Math.min(Math.max(view.scale * factor, smallest), Math.max(CLOSEST, smallest));
  const ratio = scale / view.scale;
  return keepInSight({ scale, x: at.x - (at.x - view.x) * ratio, y: at.y - (at.y - view.y) * ratio }, image, box);
}

export function pan(view: View, by: Point, image: Size, box: Size): View {
  return keepInSight({ ...view, x: view.x + by.x, y: view.y + by.y }, image, box);
}

/** At least a quarter of the box, or of the image if that is smaller, stays covered: an image is never lost off screen. */
export function keepInSight(view: View, image: Size, box: Size): View {
  const hold = (position: number, length: number, space: number) => {
    const least = Math.min(length, space) / 4;
    return Math.min(Math.max(position, least - length), space - least);
  };
  return {
    scale: view.scale,
    x: hold(view.x, image.width * view.scale, box.width),
    y: hold(view.y, image.height * view.scale, box.height),
  };
}

/** The size of an image in its picture's proportions: the server renders pixels that are not square as squares. */
export function displayedSize(image: Size, picture: Size): Size {
  const ratio = picture.width / picture.height / (image.width / image.height);
  // Sides of a picture are rounded to pixels.
  if (Math.abs(Math.log(ratio)) < 2 / Math.min(picture.width, picture.height)) return image;
  return ratio > 1
    ? { width: image.width * ratio, height: image.height }
    : { width: image.width, height: image.height / ratio };
}

export const RENDITIONS = [256, 512, 1024, 2048] as const;
export type Rendition = (typeof RENDITIONS)[number];

/** The smallest rendition that has a pixel for each one shown. */
export function renditionFor(image: Size, scale: number, pixelRatio: number): Rendition {
  const longest = Math.max(image.width, image.height);
  const wanted = Math.min(longest, longest * scale * pixelRatio);
  return RENDITIONS.find((size) => size >= wanted) ?? 2048;
}
