// SPDX-License-Identifier: Apache-2.0
import { Button, Textarea } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { RefObject } from 'react';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import type { Case, ImageRow } from '@/api/types';
import { HistoryList } from '@/components/HistoryList';
import { IconCheck, IconSign, IconUndo } from '@/components/icons';
import { StatusMark } from '@/components/StatusMark';
import { Notice } from '@/components/Notice';
import { ProbabilityBar, UncertainNotice } from '@/components/Probabilities';
import { TimeAgo } from '@/components/TimeAgo';
import { age, probability, sex } from '@/lib/format';
import { CaseEnd } from './CaseEnd';
import { acceptableLabel, labelChoices, isOpen } from './readingQueue';
import { ReadyCases } from './ReadyCases';
import type { Refusal } from './useReadingQueue';
import { VerdictConflict } from './VerdictConflict';
import classes from './reading.module.css';

type Props = {
  image: ImageRow;
  labels: readonly string[];
  case_: Case | undefined;
  caseNumber: string;
  position: string;
  note: string;
  noteRequired: boolean;
  noteField: RefObject<HTMLTextAreaElement | null>;
  pending: string | null;
  hint: string | null;
  refusal: Refusal | null;
  /** Whether every image of the case here has a verdict, or the case is signed. */
  caseRead: boolean;
  nextCase: ImageRow | null;
  mayRead: boolean;
  undoWords: string | null;
  onNote: (text: string) => void;
  onNoteKey: (event: React.KeyboardEvent<HTMLTextAreaElement>) => void;
  onAccept: () => void;
  onLabel: (label: string) => void;
  onUndo: () => void;
  onSign: () => void;
  onNextCase: () => void;
  onKeepStored: () => void;
  onReplaceStored: () => void;
};

export function ReadingPanel({ noteField, ...props }: Props) {
  const { image, case_, labels, note, pending, refusal, mayRead } = props;
  const { labelName } = useSession();
  const { prediction, verdict } = image;
  const accept = acceptableLabel(prediction);
  const rows = labelChoices(labels, prediction);
  const signed = image.state === 'signed' || Boolean(case_?.signed_at);
  const canGive = mayRead && !signed;
  const left = case_ ? case_.images - case_.verified : 0;

  return (
    <div className={classes.panel}>
      <header className={classes.subject}>
        <div className={classes.small}>
          {props.caseNumber}
          {image.case_id && (
            <>
              {' '}
              <Link to="/cases/$caseId" params={{ caseId: image.case_id }}>
                Open case
              </Link>
            </>
          )}
        </div>
        <div className={classes.patient}>
          <Link to="/patients/$patientId" params={{ patientId: image.patient_id }}>
            <code>{image.patient_code}</code>
          </Link>
          {case_ && (
            <span className={classes.small}>
              {sex(case_.patient_sex)}, {age(case_.patient_age)}
            </span>
          )}
        </div>
        <div className={classes.small}>{props.position}</div>
      </header>

      {(signed || props.caseRead) && (
        <CaseEnd case_={case_} signed={signed} next={props.nextCase} onSign={props.onSign} onNext={props.onNextCase} />
      )}

      {prediction ? (
        <div className={classes.says}>
          {prediction.uncertain ? (
            <UncertainNotice prediction={prediction} noteNeeded={props.noteRequired} />
          ) : (
            <>
              <span className={classes.small}>Prediction</span>
              <span className={classes.label}>
                {labelName(prediction.label)}{' '}
                <span className={classes.value}>{probability(prediction.probabilities[prediction.label] ?? 0)}</span>
              </span>
            </>
          )}
        </div>
      ) : (
        <Notice title={image.state === 'unreadable' ? 'No prediction' : 'Waiting for the classifier'}>
          {image.state === 'unreadable'
            ? 'The classifier could not read this file.'
            : 'The prediction is available within seconds.'}
        </Notice>
      )}

      {verdict && (
        <div className={classes.verdict}>
          <StatusMark
            image={image}
            words={`${labelName(verdict.label)}, ${verdict.agrees ? 'confirms the prediction' : 'corrects the prediction'}`}
          />
          {verdict.note && <q>{verdict.note}</q>}
          <span className={classes.small}>
            {verdict.by}, <TimeAgo at={verdict.at} />
          </span>
        </div>
      )}

      {refusal && (
        <VerdictConflict
          image={image}
          refusal={refusal}
          onKeep={props.onKeepStored}
          onReplace={props.onReplaceStored}
        />
      )}

      {canGive && accept && !verdict && (
        <Button
          fullWidth
          leftSection={<IconCheck size={18} />}
          rightSection={<kbd className={classes.key}>Enter</kbd>}
          justify="space-between"
          onClick={props.onAccept}
        >
          Accept {labelName(accept)}
        </Button>
      )}

      <ul className={classes.choices} aria-label="Labels by probability">
        {rows.map((row, index) => (
          <li key={row.label}>
            <button
              type="button"
              className={classes.choice}
              disabled={!canGive}
              data-given={verdict?.label === row.label || undefined}
              data-pending={pending === row.label || undefined}
              aria-pressed={verdict?.label === row.label}
              aria-label={`Select ${labelName(row.label)}${row.value === null ? '' : `, probability ${probability(row.value)}`}`}
              onClick={() => props.onLabel(row.label)}
            >
              <kbd className={classes.key}>{row.key ?? ''}</kbd>
              <span className={classes.choiceLabel}>{labelName(row.label)}</span>
              {prediction && row.value !== null && (
                <>
                  <ProbabilityBar
                    value={row.value}
                    threshold={prediction.threshold}
                    tone={index > 0 ? 'rest' : prediction.uncertain ? 'unsure' : 'sure'}
                  />
                  <span className={classes.number}>{probability(row.value)}</span>
                </>
              )}
            </button>
          </li>
        ))}
      </ul>
      {prediction && (
        <p className={classes.caption}>
          The vertical line is the threshold of this pathway: {probability(prediction.threshold)}.
        </p>
      )}

      {canGive && (
        <Textarea
          ref={noteField}
          label={
            <>
              Note <kbd className={classes.key}>N</kbd>
            </>
          }
          aria-label="Note"
          placeholder={props.noteRequired ? 'Required: describe what you see.' : 'Optional'}
          required={props.noteRequired}
          withAsterisk={props.noteRequired}
          autosize
          minRows={2}
          maxRows={6}
          value={note}
          error={props.hint}
          onChange={(event) => props.onNote(event.currentTarget.value)}
          onKeyDown={props.onNoteKey}
        />
      )}

      {!mayRead && (
        <Notice title="Read only">Only the roles that the pathway defines for this stage can give verdicts.</Notice>
      )}

      <div className={classes.actions}>
        <Button
          variant="default"
          size="sm"
          leftSection={<IconUndo size={16} />}
          rightSection={<kbd className={classes.key}>U</kbd>}
          disabled={!props.undoWords}
          onClick={props.onUndo}
          aria-label={props.undoWords ?? 'Undo'}
        >
          Undo
        </Button>
        <Button
          variant={case_ && left === 0 && !signed && !isOpen(image) ? 'filled' : 'default'}
          size="sm"
          leftSection={<IconSign size={16} />}
          rightSection={<kbd className={classes.key}>S</kbd>}
          disabled={!image.case_id || signed}
          onClick={props.onSign}
        >
          Sign case
        </Button>
      </div>
      {case_ && !signed && (
        <p className={classes.caption} role="status">
          {left > 0
            ? `${left} of ${case_.images} images of this case have no verdict.`
            : 'All images of this case have a verdict.'}
        </p>
      )}

      <ReadyCases except={image.case_id} />
      <ImageHistory image={image} />
    </div>
  );
}

function ImageHistory({ image }: { image: ImageRow }) {
  const { data } = useQuery({
    queryKey: ['images', 'one', image.id],
    queryFn: ({ signal }) => viewing.image(image.id, signal),
    staleTime: 30_000,
  });
  const { prediction } = image;
  return (
    <details className={classes.details}>
      <summary>History</summary>
      {prediction && (
        <p className={classes.caption}>
          {prediction.classifier} {prediction.version}, {Math.round(prediction.milliseconds)} ms,{' '}
          <code title={prediction.digest}>{prediction.digest.slice(0, 12)}</code>
        </p>
      )}
      {data && <HistoryList entries={data.history} />}
    </details>
  );
}
