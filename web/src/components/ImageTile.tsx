// SPDX-License-Identifier: Apache-2.0
import { Link } from '@tanstack/react-router';
import { viewing } from '@/api/calls';
import type { ImageRow } from '@/api/types';
import { probability } from '@/lib/format';
import classes from './ImageTile.module.css';
import { MarkIcon, markOf, markWords } from './Mark';
import { sortedProbabilities } from './Probabilities';

/** What is known of an image, in one line: the verdict, else the prediction. */
export function labelLine(image: ImageRow): string {
  if (image.verdict) return image.verdict.label;
  if (image.state === 'unreadable') return 'Not readable';
  if (!image.prediction) return 'Waiting';
  const top = sortedProbabilities(image.prediction)[0];
  return `${image.prediction.label} ${top ? probability(top[1]) : ''}`.trim();
}

export function Thumbnail({ image, alt = '' }: { image: Pick<ImageRow, 'id' | 'state'>; alt?: string }) {
  if (image.state === 'unreadable') return <span className={classes.none}>No picture</span>;
  return (
    <img
      className={classes.picture}
      src={viewing.renderedUrl(image.id, 256)}
      alt={alt}
      loading="lazy"
      decoding="async"
      draggable={false}
    />
  );
}

export function ImageTile({ image, to, showPatient = true }: { image: ImageRow; to?: string; showPatient?: boolean }) {
  const mark = markOf(image);
  return (
    <Link to={to ?? `/images/${image.id}`} className={classes.tile} data-row-link>
      <span className={classes.ground}>
        <Thumbnail image={image} />
      </span>
      <span className={classes.line}>
        <MarkIcon mark={mark} />
        <span className={classes.label}>{labelLine(image)}</span>
        <span className="mh-visually-hidden">, {markWords(mark)}, </span>
      </span>
      <span className={classes.sub}>
        {showPatient && <span className="mh-code">{image.patient_code}</span>} Image {image.number}
      </span>
    </Link>
  );
}

export function ImageGrid({
  images,
  toOf,
  showPatient,
}: {
  images: ImageRow[];
  toOf?: (image: ImageRow) => string;
  showPatient?: boolean;
}) {
  return (
    <ul className={classes.grid}>
      {images.map((image) => (
        <li key={image.id}>
          <ImageTile image={image} to={toOf?.(image)} showPatient={showPatient} />
        </li>
      ))}
    </ul>
  );
}
