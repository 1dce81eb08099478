// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useRef, useState, type DragEvent } from 'react';
import { IconFolder, IconImages, IconUpload } from '@/components/icons';
import { droppedFiles, withoutHidden } from '@/lib/droppedFiles';
import classes from './upload.module.css';

type Props = { disabled?: boolean; small?: boolean; title?: string; hint?: string; onFiles: (files: File[]) => void };

export function DropZone({ disabled = false, small = false, title, hint, onFiles }: Props) {
  const [over, setOver] = useState(false);
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);

  const drop = async (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    if (disabled) return;
    const dropped = await droppedFiles(event.dataTransfer);
    if (dropped.length > 0) onFiles(dropped);
  };

  const addSelected = (input: HTMLInputElement) => {
    const chosen = withoutHidden([...(input.files ?? [])]);
    input.value = '';
    if (chosen.length > 0) onFiles(chosen);
  };

  return (
    <div
      className={classes.zone}
      data-over={over || undefined}
      data-small={small || undefined}
      data-disabled={disabled || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        if (!disabled) setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => void drop(event)}
    >
      <IconUpload size={32} />
      <p className={classes.zoneTitle}>
        {over ? 'Drop to upload' : (title ?? 'Drop photographs, a folder or a ZIP here')}
      </p>
      <p className={classes.zoneText}>
        {hint ??
          'JPEG, PNG, TIFF, BMP, WebP, HEIC, AVIF or DICOM. Names, locations and dates in the files are removed.'}
      </p>
      <div className={classes.zoneButtons}>
        <Button disabled={disabled} leftSection={<IconImages size={18} />} onClick={() => files.current?.click()}>
          Choose files
        </Button>
        <Button
          disabled={disabled}
          variant="default"
          leftSection={<IconFolder size={18} />}
          onClick={() => folder.current?.click()}
        >
          Choose a folder
        </Button>
      </div>
      <input
        ref={files}
        type="file"
        multiple
        hidden
        disabled={disabled}
        aria-label="Image files"
        accept="image/*,.dcm,.dicom,.zip,application/dicom,application/zip"
        onChange={(event) => addSelected(event.currentTarget)}
      />
      <input
        ref={folder}
        type="file"
        hidden
        disabled={disabled}
        aria-label="Folder"
        {...{ webkitdirectory: '' }}
        onChange={(event) => addSelected(event.currentTarget)}
      />
    </div>
  );
}
