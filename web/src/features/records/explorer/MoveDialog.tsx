// SPDX-License-Identifier: Apache-2.0
import { Button, Modal, Select, TextInput } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type SubmitEvent } from 'react';
import { records, viewing } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { day, plural } from '@/lib/format';
import { countOf, nameOf, patientOf, type Entry } from './entries';
import classes from './explorer.module.css';
import { BatchFailures, BatchProgressBar } from './BatchStatus';
import { runInBatches, type BatchProgress, type BatchFailure } from './batches';

const NEW = 'new';
const BATCH_SIZE = 100;

type Props = { entries: Entry[]; onClose: () => void; onDone: () => void };

/** Puts images into another series, or series into another study, of the same patient. */
export function MoveDialog({ entries, onClose, onDone }: Props) {
  const kind = entries[0]?.kind === 'series' ? 'series' : 'images';
  const patients = new Map(entries.map((entry) => [patientOf(entry).id, patientOf(entry).code]));
  const [patientId = ''] = patients.keys();
  const client = useQueryClient();
  const [studyId, setStudyId] = useState<string | null>(null);
  const [seriesId, setSeriesId] = useState<string | null>(null);
  const [description, setDescription] = useState('');
  const [progress, setDone] = useState<BatchProgress | null>(null);
  const [failed, setFailed] = useState<BatchFailure<Entry>[]>([]);
  const { data: studies } = useQuery({
    queryKey: ['studies', 'to-move', patientId],
    queryFn: ({ signal }) => records.studies({ patient_id: patientId, page_size: 200 }, signal),
    enabled: patients.size === 1,
  });
  const { data: series } = useQuery({
    queryKey: ['series', 'to-move', studyId],
    queryFn: ({ signal }) => records.seriesList({ study_id: studyId ?? '', page_size: 200 }, signal),
    enabled: kind === 'images' && studyId !== null && studyId !== NEW,
  });
  const subject = countOf(kind, entries.length);

  if (patients.size > 1) {
    return (
      <Modal opened onClose={onClose} title={`Move ${subject}`}>
        <div className={classes.form}>
          <Notice title={`The selection contains images of ${plural(patients.size, 'patient')}`}>
            Images can be moved within one patient only, because their identifiers and dates were generated for that
            patient. Upload the original files to the other patient, then delete these.
          </Notice>
          <div className={classes.buttons}>
            <Button variant="default" onClick={onClose}>
              Close
            </Button>
          </div>
        </div>
      </Modal>
    );
  }

  const studyFor = async (): Promise<string> =>
    studyId === NEW || studyId === null
      ? (await records.addStudy({ patient_id: patientId, description: description.trim(), fields: {} })).id
      : studyId;

  const moveImages = async (): Promise<BatchFailure<Entry>[]> => {
    const images = entries.filter((entry) => entry.kind === 'images');
    const study = await studyFor();
    const failures: BatchFailure<Entry>[] = [];
    // A series is of one modality: where a new one is wanted, each gets its own.
    const groups = Map.groupBy(images, (entry) => (seriesId && seriesId !== NEW ? '' : entry.row.modality));
    for (const [modality, group] of groups) {
      const to =
        seriesId && seriesId !== NEW
          ? seriesId
          : (await records.addSeries({ study_id: study, modality, description: '' })).id;
      failures.push(
        ...(await runInBatches<Entry>(
          group,
          BATCH_SIZE,
          (part) =>
            viewing.moveImages(
              part.map((entry) => entry.id),
              to,
            ),
          setDone,
        )),
      );
    }
    return failures;
  };

  const moveSeries = async (): Promise<BatchFailure<Entry>[]> => {
    const study = await studyFor();
    return runInBatches(entries, 1, ([entry]) => records.moveSeries(entry?.id ?? '', study), setDone);
  };

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setFailed([]);
    setDone({ progress: 0, of: entries.length });
    try {
      const failures = await (kind === 'images' ? moveImages() : moveSeries());
      setFailed(failures);
      if (failures.length === 0) {
        notifySuccess(`${subject} moved`);
        onDone();
      }
    } catch (error) {
      setFailed([{ items: entries, problem: asProblem(error) }]);
    } finally {
      setDone(null);
      await client.invalidateQueries();
    }
  };

  const ready = studyId !== null && (kind === 'series' || studyId === NEW || seriesId !== null);
  return (
    <Modal opened onClose={onClose} title={`Move ${subject}`}>
      <form onSubmit={(event) => void submit(event)} className={classes.form}>
        <Select
          label="Study"
          placeholder="Select a study"
          data={[
            ...(studies?.items ?? []).map((row) => ({
              value: row.id,
              label: row.description || `Study of ${day(row.created_at)}`,
              disabled: row.locked,
            })),
            { value: NEW, label: 'A new study' },
          ]}
          value={studyId}
          onChange={(value) => {
            setStudyId(value);
            setSeriesId(value === NEW ? NEW : null);
          }}
        />
        {studyId === NEW && (
          <TextInput
            label="Description of the new study"
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
        )}
        {kind === 'images' && studyId !== null && studyId !== NEW && (
          <Select
            label="Series"
            placeholder="Select a series"
            data={[
              ...(series?.items ?? []).map((row) => ({
                value: row.id,
                label: `${nameOf({ kind: 'series', id: row.id, row })}, ${row.modality}, ${plural(row.images, 'image')}`,
              })),
              { value: NEW, label: 'A new series' },
            ]}
            value={seriesId}
            onChange={setSeriesId}
          />
        )}
        <p className={classes.note}>
          The files are rewritten with the identifiers of the new location. Labels, verdicts and history are preserved.
          A series that becomes empty is deleted.
        </p>
        <BatchFailures failed={failed} />
        {progress && <BatchProgressBar verb="Moved" done={progress} />}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={!ready} loading={progress !== null}>
            Move {subject}
          </Button>
        </div>
      </form>
    </Modal>
  );
}
