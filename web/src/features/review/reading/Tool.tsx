// SPDX-License-Identifier: Apache-2.0
import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react';
import classes from './ReadingRoom.module.css';

type Props = ButtonHTMLAttributes<HTMLButtonElement> & {
  name: string;
  words: string;
  letter?: string;
  icon: ReactNode;
  pressed?: boolean;
  on?: boolean;
  ref?: Ref<HTMLButtonElement>;
};

/** A button on the dark ground below the image, with its word and its key. */
export function Tool({ name, words, letter, icon, pressed, on, ref, ...rest }: Props) {
  return (
    <button
      ref={ref}
      type="button"
      {...rest}
      className={classes.tool}
      aria-label={name}
      aria-pressed={pressed}
      data-on={on || undefined}
    >
      {icon}
      <span className={classes.toolWords}>{words}</span>
      {letter?.split(' ').map((one) => (
        <kbd key={one} className={classes.key}>
          {one}
        </kbd>
      ))}
    </button>
  );
}
