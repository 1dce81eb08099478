// SPDX-License-Identifier: Apache-2.0
// Files into the place that is open: chosen here, or dropped on the page.
import { Button, Modal, Select } from '@mantine/core';
import { useState } from 'react';
import type { Pathway } from '@/api/types';
import { plural } from '@/lib/format';
import { openFiles } from '../../../components/upload/zipFiles';
import { DropZone } from '../../../components/upload/DropZone';
import { uploadQueue } from '../../../components/upload/uploadQueue';
import classes from './explorer.module.css';
import type { LocationDetails } from './useLocationDetails';

/** Puts files on their way into a place. */
export async function upload(files: File[], here: LocationDetails, pathway: string): Promise<void> {
  const facts = {
    patientId: here.patient.id,
    pathway,
    studyId: here.study?.id,
    seriesId: here.series?.id,
  };
  uploadQueue.add(await openFiles(files), facts);
}

type Props = { here: LocationDetails; pathways: Pathway[]; files: File[] | null; onClose: () => void };

export function UploadDialog({ here, pathways, files, onClose }: Props) {
  const fixed = here.study?.pathway ?? null;
  const [pathwayName, setPathwayName] = useState(fixed ?? pathways[0]?.name ?? null);
  const send = (some: File[]) => {
    if (!pathwayName) return;
    void upload(some, here, pathwayName);
    onClose();
  };
  const into = here.study ? `“${here.title}” of ${here.patient.code}` : here.patient.code;
  return (
    <Modal opened onClose={onClose} title={`Upload to ${here.title}`} size="lg">
      <div className={classes.form}>
        <Select
          label="Pathway"
          description={fixed ? 'The pathway of the study.' : 'Determines the classifier and the reviewers.'}
          data={pathways.map((pathway) => ({ value: pathway.name, label: pathway.title }))}
          value={pathwayName}
          disabled={fixed !== null}
          onChange={setPathwayName}
        />
        {files === null ? (
          <DropZone onFiles={send} disabled={!pathwayName} />
        ) : (
          <p className={classes.note}>
            {plural(files.length, 'file')} will be uploaded to {into}.
          </p>
        )}
        <p className={classes.note}>
          {here.study
            ? 'The files are added to this study, whatever study they name.'
            : 'Photographs are added to the open study of the pathway; DICOM files keep their own study.'}{' '}
          File names are not stored.
        </p>
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          {files !== null && (
            <Button disabled={!pathwayName} onClick={() => send(files)}>
              Upload {plural(files.length, 'file')}
            </Button>
          )}
        </div>
      </div>
    </Modal>
  );
}
