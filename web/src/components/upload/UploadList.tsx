// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useQueries, useQueryClient } from '@tanstack/react-query';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useMemo, useRef } from 'react';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { Badge } from '@/components/Badge';
import { AppLink } from '@/components/AppLink';
import { IconImages, IconRefresh } from '@/components/icons';
import { Thumbnail } from '@/components/ImageTile';
import { contentKindName } from '@/components/contentKinds';
import { StatusMark } from '@/components/StatusMark';
import { Panel } from '@/components/Page';
import { ProbabilityBar, sortedProbabilities } from '@/components/Probabilities';
import { bytes, plural, probability } from '@/lib/format';
import classes from './upload.module.css';
import { isDone, isOutstanding, overallProgress, uploadQueue, type Upload } from './uploadQueue';

const POLL_MS = 700;

/** The images that came out of these uploads, asked for until each has been classified. */
function useUploadedImages(uploads: readonly Upload[]): Map<string, ImageRow> {
  const patients = [
    ...new Set(uploads.filter((upload) => upload.imageId && upload.patientId).map((upload) => upload.patientId)),
  ];
  const wanted = useMemo(
    () => new Set(uploads.flatMap((upload) => (upload.imageId ? [upload.imageId] : []))),
    [uploads],
  );
  const client = useQueryClient();
  // A newly accepted file is not in the last answer yet.
  useEffect(() => {
    if (wanted.size === 0) return;
    void client.invalidateQueries({ queryKey: ['images', 'arrived'] });
    void client.invalidateQueries({ queryKey: ['patients', 'one'] });
  }, [wanted.size, client]);
  const answers = useQueries({
    queries: patients.map((patientId) => ({
      queryKey: ['images', 'arrived', patientId],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        viewing.images({ patient_id: patientId, sort: '-created_at', page_size: 200 }, signal),
      refetchInterval: (query: { state: { data?: { items: ImageRow[] } } }) => {
        const items = query.state.data?.items;
        if (!items) return POLL_MS;
        return items.some((image) => wanted.has(image.id) && isPending(image)) ? POLL_MS : false;
      },
    })),
  });
  return new Map(
    answers.flatMap((answer) =>
      (answer.data?.items ?? []).filter((image) => wanted.has(image.id)).map((image) => [image.id, image]),
    ),
  );
}

export function UploadList({ title, uploads }: { title: string; uploads: readonly Upload[] }) {
  const { can } = useSession();
  const images = useUploadedImages(uploads);
  const done = uploads.filter((upload) => isDone(upload.state));
  const failed = uploads.filter((upload) => upload.state === 'failed');
  const unsent = failed.filter((upload) => upload.unsent).length;
  const by = (state: string) => uploads.filter((upload) => upload.state === state).length;
  const archived = [...images.values()].filter((image) => image.state === 'archived').length;
  // Objects beside pictures wait for no classifier.
  const pictures = [...images.values()].filter((image) => image.state !== 'archived');
  const classified = pictures.filter((image) => image.state !== 'waiting').length;
  const cases = [...new Set([...images.values()].flatMap((image) => (image.case_id ? [image.case_id] : [])))];
  const outstanding = uploads.some(isOutstanding);
  // Full only when nothing is left to send, however small the rest is.
  const percent = Math.min(Math.round(overallProgress(uploads) * 100), outstanding ? 99 : 100);

  const sentence = [
    `${done.length - unsent} of ${plural(uploads.length, 'file')} processed`,
    by('accepted') > 0 && `${by('accepted')} accepted`,
    by('duplicate') > 0 && plural(by('duplicate'), 'duplicate'),
    by('quarantined') > 0 && `${by('quarantined')} quarantined`,
    failed.length > unsent && `${failed.length - unsent} failed`,
    unsent > 0 && `${unsent} not sent`,
    archived > 0 && `${archived} archived without a case`,
    pictures.length > 0 && `${classified} of ${pictures.length} classified`,
  ]
    .filter(Boolean)
    .join(', ');

  return (
    <Panel
      title={title}
      side={
        <span className={classes.actions}>
          {done.length < uploads.length && (
            <Button size="compact-sm" variant="default" onClick={() => uploadQueue.pause(!uploadQueue.isPaused())}>
              {uploadQueue.isPaused() ? 'Resume' : 'Pause'}
            </Button>
          )}
          {failed.length > 0 && (
            <Button
              size="compact-sm"
              variant="default"
              leftSection={<IconRefresh size={16} />}
              onClick={() => uploadQueue.retry()}
            >
              Retry {failed.length}
            </Button>
          )}
          {done.length > 0 && (
            <Button size="compact-sm" variant="default" onClick={() => uploadQueue.clear()}>
              Clear finished
            </Button>
          )}
          {cases.map((id) => (
            <Button key={id} size="compact-sm" variant="default" component={AppLink} to={`/cases/${id}`}>
              Open case
            </Button>
          ))}
          {cases[0] && can('verdict.give') && (
            <Button size="compact-sm" component={AppLink} to={`/worklist?case_id=${cases[0]}`}>
              Read images
            </Button>
          )}
        </span>
      }
    >
      <p className={classes.summary} role="status">
        {sentence}.
      </p>
      <div
        className={classes.progress}
        role="progressbar"
        aria-label="All files"
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
      >
        <span style={{ inlineSize: `${percent}%` }} data-done={percent === 100 || undefined} />
      </div>
      <Rows uploads={uploads} images={images} />
    </Panel>
  );
}

const ROW_PX = 54;

/** One line a file; of ten thousand only those on the screen are drawn. */
function Rows({ uploads, images }: { uploads: readonly Upload[]; images: Map<string, ImageRow> }) {
  const box = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: uploads.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 6,
    getItemKey: (index) => uploads[index]?.id ?? index,
  });
  return (
    <div ref={box} className={classes.uploads} tabIndex={0} role="region" aria-label="Files">
      <ul style={{ blockSize: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map((line) => {
          const upload = uploads[line.index];
          if (!upload) return null;
          return (
            <li
              key={line.key}
              ref={virtual.measureElement}
              data-index={line.index}
              className={classes.upload}
              style={{ transform: `translateY(${line.start}px)` }}
            >
              <UploadRow upload={upload} image={upload.imageId ? images.get(upload.imageId) : undefined} />
            </li>
          );
        })}
      </ul>
    </div>
  );
}

function UploadRow({ upload, image }: { upload: Upload; image: ImageRow | undefined }) {
  const percent = Math.round(upload.progress * 100);
  return (
    <>
      <span className={classes.thumb}>
        {image && image.state !== 'waiting' ? <Thumbnail image={image} /> : <IconImages size={20} />}
      </span>
      <span className={classes.file}>
        <span className={classes.fileName} title={upload.file.name}>
          {upload.file.name}
        </span>
        <span className={classes.size}>{bytes(upload.file.size)}</span>
      </span>
      <span>
        {isDone(upload.state) ? (
          <OutcomeBadge upload={upload} />
        ) : (
          <span
            className={classes.progress}
            role="progressbar"
            aria-label={upload.file.name}
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={percent}
          >
            <span style={{ inlineSize: `${percent}%` }} />
          </span>
        )}
      </span>
      <span className={classes.result}>
        {upload.reason && <span>{upload.reason}</span>}
        {upload.state === 'failed' && (
          <Button size="compact-xs" variant="default" onClick={() => uploadQueue.retry(upload.id)}>
            Retry
          </Button>
        )}
        {upload.state === 'duplicate' && upload.imageId && (
          <AppLink to={`/images/${upload.imageId}`}>Open the original</AppLink>
        )}
        {upload.state === 'accepted' &&
          (image ? (
            <PredictionSummary image={image} />
          ) : (
            <AppLink to={`/images/${upload.imageId ?? ''}`}>Open image</AppLink>
          ))}
      </span>
    </>
  );
}

function OutcomeBadge({ upload }: { upload: Upload }) {
  switch (upload.state) {
    case 'accepted':
      return <Badge tone="green">Accepted</Badge>;
    case 'duplicate':
      return <Badge tone="gray">Duplicate</Badge>;
    case 'quarantined':
      return <Badge tone="amber">Quarantined</Badge>;
    default:
      return <Badge tone="red">{upload.unsent ? 'Not sent' : 'Failed'}</Badge>;
  }
}

function isPending(image: ImageRow): boolean {
  return image.state === 'waiting' || (image.case_id === null && image.state !== 'archived');
}

/** Why an image that was accepted is in no case. */
function archivedWords(image: ImageRow): string {
  if (image.shown_as !== 'image') return contentKindName(image.shown_as);
  return `Archived: no pathway for this modality (${image.modality})`;
}

function PredictionSummary({ image }: { image: ImageRow }) {
  const { labelName } = useSession();
  if (image.state === 'archived')
    return (
      <AppLink to={`/images/${image.id}`} className={classes.prediction}>
        <StatusMark image={image} words={archivedWords(image)} />
      </AppLink>
    );
  if (!image.prediction) {
    return image.state === 'unreadable' ? (
      <StatusMark image={image} />
    ) : (
      <span className={classes.size}>Classifying</span>
    );
  }
  const { prediction } = image;
  const value = sortedProbabilities(prediction)[0]?.[1] ?? 0;
  return (
    <AppLink to={`/images/${image.id}`} className={classes.prediction}>
      <StatusMark image={image} words={labelName(prediction.label)} />
      <ProbabilityBar value={value} threshold={prediction.threshold} tone={prediction.uncertain ? 'unsure' : 'sure'} />
      <span className={`mh-tabular ${classes.value}`}>{probability(value)}</span>
    </AppLink>
  );
}
