// SPDX-License-Identifier: Apache-2.0
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { probability } from '@/lib/format';
import classes from './ImageTile.module.css';
import { hasPicture, ContentKindIcon, contentKindName } from './contentKinds';
import { StatusIcon, statusOf, statusText } from './StatusMark';
import { sortedProbabilities } from './Probabilities';

function labelParts(image: ImageRow, labelName: (label: string) => string): [label: string, probability: string] {
  if (image.verdict) return [labelName(image.verdict.label), ''];
  if (image.state === 'unreadable') return ['Not readable', ''];
  if (image.shown_as !== 'image') return [contentKindName(image.shown_as), ''];
  if (image.state === 'archived') return ['Archived', ''];
  if (!image.prediction) return ['Waiting', ''];
  const top = sortedProbabilities(image.prediction)[0];
  return [labelName(image.prediction.label), top ? probability(top[1]) : ''];
}

/** What is known of an image, in one line: the verdict, else the prediction. */
export function labelText(image: ImageRow, labelName: (label: string) => string): string {
  return labelParts(image, labelName).join(' ').trim();
}

/** The same for a narrow tile: a long label is shortened, its number never is. */
export function LabelLine({ image }: { image: ImageRow }) {
  const { labelName } = useSession();
  const [label, number] = labelParts(image, labelName);
  return (
    <>
      <span className={classes.label} title={label}>
        {label}
      </span>{' '}
      {number && <span className={classes.number}>{number}</span>}
    </>
  );
}

type Pictured = Pick<ImageRow, 'id' | 'state' | 'shown_as' | 'frames'>;

/** What stands in place of a picture where there is none: what the object is. */
export function wordsWithoutPicture(image: Pick<ImageRow, 'state' | 'shown_as'>): string {
  if (image.state === 'unreadable') return 'Not readable';
  return image.shown_as === 'image' || image.shown_as === 'other' ? 'No preview' : contentKindName(image.shown_as);
}

export function Thumbnail({ image, alt = '' }: { image: Pictured; alt?: string }) {
  const [failed, setFailed] = useState(false);
  if (failed || image.state === 'unreadable') return <span className={classes.none}>{wordsWithoutPicture(image)}</span>;
  if (!hasPicture(image))
    return (
      <span className={classes.none} role="img" aria-label={wordsWithoutPicture(image)}>
        <ContentKindIcon shownAs={image.shown_as} size={44} />
      </span>
    );
  return (
    <img
      className={classes.picture}
      src={viewing.renderedUrl(image.id, 256)}
      alt={alt}
      loading="lazy"
      decoding="async"
      draggable={false}
      onError={() => setFailed(true)}
    />
  );
}

export function ImageTile({ image, to, showPatient = true }: { image: ImageRow; to?: string; showPatient?: boolean }) {
  const mark = statusOf(image);
  return (
    <Link to={to ?? `/images/${image.id}`} className={classes.tile} data-row-link>
      <span className={classes.ground}>
        <Thumbnail image={image} />
      </span>
      <span className={classes.line}>
        <StatusIcon mark={mark} />
        <LabelLine image={image} />
        <span className="mh-visually-hidden">, {statusText(mark)}, </span>
      </span>
      <span className={classes.sub}>
        {showPatient && <span className="mh-code">{image.patient_code}</span>}{' '}
        {image.shown_as === 'image' ? 'Image' : 'Number'} {image.number}
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
