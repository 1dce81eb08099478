// SPDX-License-Identifier: Apache-2.0
import { memo, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { labelText } from '@/components/ImageTile';
import { IconImages } from '@/components/icons';
import { StatusIcon, statusOf, statusText } from '@/components/StatusMark';
import classes from './reading.module.css';

type Props = { images: readonly ImageRow[]; index: number; onChoose: (index: number, byPointer: boolean) => void };

export function FilmStrip({ images, index, onChoose }: Props) {
  const strip = useRef<HTMLOListElement>(null);
  const latest = useRef(onChoose);
  useLayoutEffect(() => {
    latest.current = onChoose;
  });
  // The same function at every render, so that only the frames that change are drawn again.
  const choose = useCallback((at: number, byPointer: boolean) => latest.current(at, byPointer), []);

  useLayoutEffect(() => {
    const box = strip.current;
    const current = box?.children[index] as HTMLElement | undefined;
    if (!box || !current) return;
    if (box.contains(document.activeElement)) current.querySelector('button')?.focus({ preventScroll: true });
  }, [index]);

  // Scrolling measures the layout: it comes after the picture has been drawn.
  useEffect(() => {
    const frame = requestAnimationFrame(() => {
      const box = strip.current;
      const current = box?.children[index] as HTMLElement | undefined;
      if (!box || !current) return;
      box.scrollLeft = current.offsetLeft - box.clientWidth / 2 + current.clientWidth / 2;
    });
    return () => cancelAnimationFrame(frame);
  }, [index]);

  return (
    <nav aria-label="Film strip" className={classes.stripFrame}>
      <ol ref={strip} className={classes.strip}>
        {images.map((image, at) => (
          <Frame
            key={image.id}
            image={image}
            at={at}
            current={at === index}
            newCase={at > 0 && images[at - 1]?.case_id !== image.case_id}
            onChoose={choose}
          />
        ))}
      </ol>
    </nav>
  );
}

type FrameProps = {
  image: ImageRow;
  at: number;
  current: boolean;
  newCase: boolean;
  onChoose: (at: number, byPointer: boolean) => void;
};

const Frame = memo(function Frame({ image, at, current, newCase, onChoose }: FrameProps) {
  const { labelName } = useSession();
  const mark = statusOf(image);
  const [failed, setFailed] = useState(false);
  return (
    <li data-new-case={newCase || undefined}>
      <button
        type="button"
        className={classes.frame}
        aria-current={current ? 'true' : undefined}
        aria-label={`Image ${at + 1}, ${labelText(image, labelName)}, ${statusText(mark)}`}
        tabIndex={current ? 0 : -1}
        onClick={(event) => onChoose(at, event.detail > 0)}
      >
        {failed || image.state === 'unreadable' ? (
          <span className={classes.noPicture}>
            <IconImages size={22} />
          </span>
        ) : (
          <img
            src={viewing.renderedUrl(image.id, 256)}
            alt=""
            loading="lazy"
            decoding="async"
            width={52}
            height={52}
            draggable={false}
            onError={() => setFailed(true)}
          />
        )}
        <span className={classes.frameMark}>
          <StatusIcon mark={mark} size={15} />
        </span>
      </button>
    </li>
  );
});
