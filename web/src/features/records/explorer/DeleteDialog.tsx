// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { records, viewing } from '@/api/calls';
import { notifySuccess } from '@/components/notify';
import { plural } from '@/lib/format';
import { countOf, imageCount, nameOf, patientOf, type Entry, type EntryKind } from './entries';
import classes from './explorer.module.css';
import { runInBatches, type BatchProgress, type BatchFailure } from './batches';
import { BatchFailures, BatchProgressBar } from './BatchStatus';

type Props = { entries: Entry[]; onClose: () => void; onDone: () => void };

const BATCH_SIZES: Record<EntryKind, number> = { patients: 1, studies: 1, series: 1, images: 100 };

function deleteBatch(kind: EntryKind, part: Entry[]): Promise<unknown> {
  const id = part[0]?.id ?? '';
  switch (kind) {
    case 'patients':
      return records.deletePatient(id);
    case 'studies':
      return records.deleteStudy(id);
    case 'series':
      return records.deleteSeries(id);
    case 'images':
      return viewing.deleteImages(part.map((entry) => entry.id));
  }
}

/** Asks before things are destroyed; where images go with them, the patient's code or their number is typed. */
export function DeleteDialog({ entries, onClose, onDone }: Props) {
  const client = useQueryClient();
  const [typed, setTyped] = useState('');
  const [progress, setDone] = useState<BatchProgress | null>(null);
  const [failed, setFailed] = useState<BatchFailure<Entry>[]>([]);
  const kind = entries[0]?.kind ?? 'images';
  const first = entries[0];
  const subject = entries.length === 1 && first ? nameOf(first) : countOf(kind, entries.length);
  // A patient with images is erased on the page of the patient, which gives a certificate.
  const images = kind === 'patients' ? 0 : entries.reduce((sum, entry) => sum + imageCount(entry), 0);
  const codes = new Set(entries.map((entry) => patientOf(entry).code));
  const [code = ''] = codes;
  const confirmation = images === 0 ? null : codes.size === 1 ? code : plural(images, 'image');

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    if (confirmation !== null && typed.trim() !== confirmation) return;
    setFailed([]);
    const failures = await runInBatches(entries, BATCH_SIZES[kind], (part) => deleteBatch(kind, part), setDone);
    setDone(null);
    setFailed(failures);
    if (failures.length === 0) {
      notifySuccess(`${subject} deleted`);
      onDone();
    }
    await client.invalidateQueries();
  };

  return (
    <Modal opened onClose={onClose} title={`Delete ${subject}`}>
      <form onSubmit={(event) => void submit(event)} className={classes.form}>
        <div>
          {images > 0
            ? `${plural(images, 'image')} will be deleted with all predictions and verdicts. This cannot be undone. Images of signed cases are not deleted.`
            : kind === 'patients'
              ? 'Only patients without studies are deleted here. Erase a patient with studies on the patient page; this issues a certificate.'
              : 'It contains no images. Its description and fields are deleted.'}
        </div>
        {confirmation !== null && (
          <TextInput
            label={
              <>
                Type <code>{confirmation}</code> to confirm
              </>
            }
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
        )}
        <BatchFailures failed={failed} />
        {progress && <BatchProgressBar verb="Deleted" done={progress} />}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            type="submit"
            color="red.9"
            disabled={confirmation !== null && typed.trim() !== confirmation}
            loading={progress !== null}
          >
            Delete {countOf(kind, entries.length)}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
