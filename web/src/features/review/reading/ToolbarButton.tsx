// SPDX-License-Identifier: Apache-2.0
import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react';
import classes from './reading.module.css';

type Props = ButtonHTMLAttributes<HTMLButtonElement> & {
  name: string;
  text: string;
  keyName?: string;
  icon: ReactNode;
  pressed?: boolean;
  on?: boolean;
  ref?: Ref<HTMLButtonElement>;
};

/** A button on the dark ground below the image, with its word and its key. */
export function ToolbarButton({ name, text: text, keyName: keyName, icon, pressed, on, ref, ...rest }: Props) {
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
      <span className={classes.toolWords}>{text}</span>
      {keyName?.split(' ').map((key) => (
        <kbd key={key} className={classes.key}>
          {key}
        </kbd>
      ))}
    </button>
  );
}
