// SPDX-License-Identifier: Apache-2.0
import type { ReactNode } from 'react';
import classes from './EmptyState.module.css';

type Props = { icon?: ReactNode; title: string; text?: ReactNode; action?: ReactNode; heading?: boolean };

export function EmptyState({ icon, title, text, action, heading = false }: Props) {
  const Title = heading ? 'h1' : 'p';
  return (
    <div className={classes.empty}>
      {icon && <div className={classes.icon}>{icon}</div>}
      <Title className={classes.title}>{title}</Title>
      {text && <p className={classes.text}>{text}</p>}
      {action}
    </div>
  );
}
