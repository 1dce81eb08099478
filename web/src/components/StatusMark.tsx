// SPDX-License-Identifier: Apache-2.0
// The state of an image by shape and by color: each shape is told apart without color.
import type { ImageRow } from '@/api/types';
import classes from './shared.module.css';

export type ImageStatus =
  'waiting' | 'read' | 'uncertain' | 'agreed' | 'changed' | 'signed' | 'unreadable' | 'archived';

const TEXTS: Record<ImageStatus, string> = {
  waiting: 'waiting for the classifier',
  read: 'to verify',
  uncertain: 'uncertain, to verify',
  agreed: 'verified',
  changed: 'verified, label changed',
  signed: 'signed',
  unreadable: 'not readable',
  archived: 'archived',
};

const COLORS: Record<ImageStatus, string> = {
  waiting: 'var(--mark-gray, var(--mh-muted))',
  read: 'var(--mark-blue, var(--mh-blue))',
  uncertain: 'var(--mark-amber, var(--mh-amber))',
  agreed: 'var(--mark-green, var(--mh-green))',
  changed: 'var(--mark-green, var(--mh-green))',
  signed: 'var(--mark-green, var(--mh-green))',
  unreadable: 'var(--mark-red, var(--mh-red))',
  archived: 'var(--mark-gray, var(--mh-muted))',
};

export function statusOf(image: Pick<ImageRow, 'state' | 'prediction' | 'verdict'>): ImageStatus {
  if (image.state === 'signed') return 'signed';
  if (image.verdict) return image.verdict.agrees ? 'agreed' : 'changed';
  if (image.state === 'verified') return 'agreed';
  if (image.state === 'unreadable') return 'unreadable';
  if (image.state === 'archived') return 'archived';
  if (!image.prediction) return 'waiting';
  return image.prediction.uncertain ? 'uncertain' : 'read';
}

export function statusText(mark: ImageStatus): string {
  return TEXTS[mark];
}

function Shape({ mark }: { mark: ImageStatus }) {
  switch (mark) {
    case 'waiting':
      return (
        <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" strokeWidth="2" strokeDasharray="2.6 2.4" />
      );
    case 'read':
      return <circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" strokeWidth="2" />;
    case 'uncertain':
      return (
        <path
          d="M8 1.5 15 14H1L8 1.5Zm0 5v3.2m0 1.5v1"
          fill="none"
          stroke="currentColor"
          strokeWidth="1.8"
          strokeLinejoin="round"
        />
      );
    case 'agreed':
      return (
        <path
          d="m2 8.5 4 4 8-9"
          fill="none"
          stroke="currentColor"
          strokeWidth="2.4"
          strokeLinecap="round"
          strokeLinejoin="round"
        />
      );
    case 'changed':
      return (
        <path
          d="M2 5.5h10l-3-3M14 10.5H4l3 3"
          fill="none"
          stroke="currentColor"
          strokeWidth="2.1"
          strokeLinecap="round"
          strokeLinejoin="round"
        />
      );
    case 'signed':
      return <path d="M4 7V5a4 4 0 0 1 8 0v2h1v7H3V7h1Zm2 0h4V5a2 2 0 1 0-4 0v2Z" fill="currentColor" />;
    case 'archived':
      return <path d="M2 3h12v3H2ZM3 6v7h10V6M6 9h4" fill="none" stroke="currentColor" strokeWidth="1.8" />;
    case 'unreadable':
      return <path d="m3 3 10 10M13 3 3 13" stroke="currentColor" strokeWidth="2.4" strokeLinecap="round" />;
  }
}

export function StatusIcon({ mark, size = 16 }: { mark: ImageStatus; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      aria-hidden="true"
      focusable="false"
      style={{ color: COLORS[mark] }}
    >
      <Shape mark={mark} />
    </svg>
  );
}

export function StatusMark({
  image,
  words,
}: {
  image: Pick<ImageRow, 'state' | 'prediction' | 'verdict'>;
  words?: string;
}) {
  const mark = statusOf(image);
  const known = TEXTS[mark];
  return (
    <span className={classes.mark}>
      <StatusIcon mark={mark} />
      <span>{words ?? known.charAt(0).toUpperCase() + known.slice(1)}</span>
    </span>
  );
}
