// SPDX-License-Identifier: Apache-2.0
import { useState, type DragEvent, type ReactNode } from 'react';
import { droppedFiles } from '@/lib/droppedFiles';
import classes from './explorer.module.css';

type Props = { message: string; onFiles: (files: Promise<File[]>) => void; children: ReactNode };

/** An area on which files can be dropped; while files are dragged over it, it shows what will happen. */
export function DropArea({ message, onFiles, children }: Props) {
  const [over, setOver] = useState(false);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    onFiles(droppedFiles(event.dataTransfer));
  };
  return (
    <div
      className={classes.area}
      onDragOver={(event) => {
        if (!event.dataTransfer.types.includes('Files')) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        const entered = event.relatedTarget;
        if (!(entered instanceof Node) || !event.currentTarget.contains(entered)) setOver(false);
      }}
      onDrop={drop}
    >
      {over && <div className={classes.over}>{message}</div>}
      {children}
    </div>
  );
}
