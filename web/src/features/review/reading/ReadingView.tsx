// SPDX-License-Identifier: Apache-2.0
// The reading room: the eye stays on the image, the hand on the keyboard.
import { Button, Slider } from '@mantine/core';
import { useDisclosure, useDocumentTitle } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState, type KeyboardEvent as ReactKeyboardEvent } from 'react';
import { asProblem } from '@/api/problem';
import { caseQuery, pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { EmptyState } from '@/components/EmptyState';
import { AppLink } from '@/components/AppLink';
import { IconCircleCheck, IconWarning } from '@/components/icons';
import { ImageViewer, type ViewerHandle } from '@/components/ImageViewer';
import { notifySuccess } from '@/components/notify';
import { readDraft, writeDraft } from '@/lib/drafts';
import { age, plural, sex } from '@/lib/format';
import { NORMAL_LIGHT, type Light } from '@/viewer/imageCanvas';
import { SignDialog } from '../SignDialog';
import { FilmStrip } from './FilmStrip';
import { ShortcutsDialog } from './ShortcutsDialog';
import { measureNextImage } from './measureNextImage';
import { acceptableLabel, isCaseRead, isOpen, nextOpen, nextOpenInCase, noteNeeded } from './readingQueue';
import { describe, hasVerdict, noteWhenOf, viewerImage } from './readingFacts';
import { ReadingPanel } from './ReadingPanel';
import { ReadyCases } from './ReadyCases';
import { Toolbar } from './Toolbar';
import { useShortcuts } from './useShortcuts';
import classes from './reading.module.css';
import { useReadingQueue } from './useReadingQueue';

const AHEAD = [1, 2, -1, 3, -2, -3];

export function ReadingView() {
  useDocumentTitle('Worklist · Medhub');
  const search = useSearch({ from: '/shell/worklist' });
  const queue = useReadingQueue({ caseId: search.case_id, patientId: search.patient_id, imageId: search.image });
  const { images, source } = queue;

  if (source.error && !images) {
    const problem = asProblem(source.error);
    return (
      <EmptyState
        icon={<IconWarning size={32} />}
        title={problem.title}
        text={problem.detail}
        heading
        action={<Button onClick={() => void source.refetch()}>Try again</Button>}
      />
    );
  }
  if (!images) {
    return (
      <div className={classes.layout} aria-busy="true">
        <h1 className="mh-visually-hidden">Worklist</h1>
        <div className={classes.stage} />
      </div>
    );
  }
  if (images.length === 0) {
    const waiting = (source.data ?? []).length;
    return (
      <EmptyState
        icon={<IconCircleCheck size={36} />}
        heading
        title={waiting > 0 ? `${plural(waiting, 'image')} waiting for the classifier` : 'No images to read'}
        text={waiting > 0 ? 'They appear here after classification.' : 'New images appear here after classification.'}
        action={
          <>
            <ReadyCases />
            <Button component={AppLink} to="/cases" variant="default">
              Open cases
            </Button>
          </>
        }
      />
    );
  }
  return <ImageReading queue={queue} images={images} />;
}

function ImageReading({ queue, images }: { queue: ReturnType<typeof useReadingQueue>; images: ImageRow[] }) {
  const { can, labelName, me } = useSession();
  const navigate = useNavigate();
  const index = Math.min(queue.index, images.length - 1);
  const image = images[index] as ImageRow;
  const [notes, setNotes] = useState<Record<string, string>>({});
  // The image with which the queue came to another patient.
  const [newPatientAt, setNewPatientAt] = useState<string | null>(null);
  const [pending, setPending] = useState<{ id: string; label: string } | null>(null);
  const [hint, setHint] = useState<{ id: string; text: string } | null>(null);
  const [light, setLight] = useState<Light>(NORMAL_LIGHT);
  const [evidence, setEvidence] = useState({ shown: false, opacity: 0.5 });
  const [signing, sign] = useDisclosure(false);
  const [showingKeys, keys] = useDisclosure(false);
  const stage = useRef<ViewerHandle>(null);
  const noteField = useRef<HTMLTextAreaElement>(null);
  const [measure] = useState(measureNextImage);

  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const { data: case_ } = useQuery({ ...caseQuery(image.case_id ?? ''), enabled: image.case_id !== null });
  const pathway = pathways.find((entry) => entry.name === case_?.pathway) ?? pathways[0];
  const labels = useMemo(
    () => case_?.labels ?? pathway?.labels ?? Object.keys(image.prediction?.probabilities ?? {}),
    [case_, pathway, image.prediction],
  );

  const noteWhen = useMemo(
    () =>
      noteWhenOf(
        pathway?.stages.find((stage) => stage.name === case_?.stage) ??
          pathway?.stages.find((stage) => hasVerdict(stage)),
      ),
    [pathway, case_?.stage],
  );
  const cases = useMemo(() => [...new Set(images.map((entry) => entry.case_id ?? entry.id))], [images]);
  const caseNumber = `Case ${cases.indexOf(image.case_id ?? image.id) + 1} of ${cases.length}${queue.more ? '+' : ''}`;
  const position = `Image ${index + 1} of ${images.length}${queue.more ? '+' : ''}`;
  const open = images.filter(isOpen).length;
  const draftKey = (of: ImageRow) => `note.${me.user.id}.${of.case_id ?? ''}.${of.id}`;
  const note = notes[image.id] ?? readDraft(draftKey(image)) ?? image.verdict?.note ?? '';
  const writeNote = (text: string) => {
    setNotes((old) => ({ ...old, [image.id]: text }));
    writeDraft(draftKey(image), text);
  };
  const mayRead = can('verdict.give') && (case_?.allowed.verdict ?? true);
  const undoable = queue.undoable();

  // The address names the image, so that a reload comes back to it; not on every key, so that keys stay fast.
  useEffect(() => {
    const timer = window.setTimeout(() => {
      void navigate({
        to: '/worklist',
        search: (before) => ({ ...before, image: image.id }),
        replace: true,
      });
    }, 600);
    return () => window.clearTimeout(timer);
  }, [image.id, navigate]);

  const go = (to: number, at: number) => {
    const next = Math.min(Math.max(to, 0), images.length - 1);
    const target = images[next];
    if (!target || next === index) return;
    measure.start(target.id, at);
    queue.setIndex(next);
    setNewPatientAt(target.patient_id === image.patient_id ? null : target.id);
  };

  const give = (label: string, at: number) => {
    if (!mayRead || image.state === 'signed') return;
    if (noteNeeded(image, noteWhen, label) && note.trim() === '') {
      setPending({ id: image.id, label });
      setHint({ id: image.id, text: `Write a note for ${labelName(label)}, then press Enter.` });
      requestAnimationFrame(() => noteField.current?.focus());
      return;
    }
    setPending(null);
    setHint(null);
    const following =
      images[
        nextOpenInCase(
          images.map((entry) => (entry.id === image.id ? { ...entry, verified: true } : entry)),
          index,
        )
      ];
    setNewPatientAt(null);
    if (following && following.id !== image.id) measure.start(following.id, at);
    void queue.give(image, label, note.trim()).then((stored) => stored && writeDraft(draftKey(image), null));
    stage.current?.focus();
  };

  const accept = (at: number) => {
    // What a person has said is not overwritten by the key that accepts what the classifier says.
    if (image.verdict || !mayRead) {
      // The queue stops at the end of a case; a reader without verdicts looks at the next image.
      const following = mayRead ? nextOpenInCase(images, index) : index + 1;
      if (following >= 0) go(following, at);
      return;
    }
    const label = acceptableLabel(image.prediction);
    if (label) give(label, at);
    else
      setHint({
        id: image.id,
        text: 'The classifier gives no label here. Select one by its number; a note is required.',
      });
  };

  const undo = () => {
    if (!undoable) return;
    if (undoable.patient_id !== image.patient_id) setNewPatientAt(undoable.id);
    void queue.undo(undoable);
  };

  const changeLight = (part: keyof Light, by: number) =>
    setLight((old) => ({ ...old, [part]: Math.min(3, Math.max(0.2, Math.round((old[part] + by) * 100) / 100)) }));

  const reset = () => {
    setLight(NORMAL_LIGHT);
    stage.current?.fit();
  };

  useShortcuts(!signing && !showingKeys, {
    label: (number, at) => {
      const label = labels[number - 1];
      if (label) give(label, at);
    },
    accept,
    next: (at) => go(index + 1, at),
    previous: (at) => go(index - 1, at),
    note: () => noteField.current?.focus(),
    evidence: () => setEvidence((old) => ({ ...old, shown: !old.shown })),
    undo,
    sign: () => {
      if (image.case_id && image.state !== 'signed') sign.open();
    },
    reset,
    brighter: (by) => changeLight('brightness', by),
    contrast: (by) => changeLight('contrast', by),
    zoom: (factor) => stage.current?.zoom(factor),
    keys: keys.open,
  });

  const noteKey = (event: ReactKeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key === 'Escape') {
      event.preventDefault();
      stage.current?.focus();
    }
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      const label =
        (pending?.id === image.id ? pending.label : null) ?? image.verdict?.label ?? acceptableLabel(image.prediction);
      if (label) give(label, event.timeStamp);
      else {
        setHint({ id: image.id, text: 'Now select the label by its number.' });
        stage.current?.focus();
      }
    }
  };

  const refusal = queue.refusal?.imageId === image.id ? queue.refusal : null;
  const nextCaseAt = nextOpen(images, index);
  const nextCase = images[nextCaseAt];
  const neighbours = AHEAD.flatMap((step) => {
    const neighbour = images[index + step];
    return neighbour ? [viewerImage(neighbour)] : [];
  });

  return (
    <div className={classes.layout}>
      <h1 className="mh-visually-hidden">Worklist, {plural(open, 'image')} to verify</h1>
      <div className={classes.stage}>
        <ImageViewer
          handle={stage}
          image={viewerImage(image)}
          neighbours={neighbours}
          label={describe(image, position, labelName)}
          light={light}
          evidence={evidence}
          onDrawn={measure.drawn}
        />
        {newPatientAt === image.id && (
          <div className={classes.newPatient} role="alert">
            Another patient: {image.patient_code}
            {case_ && (
              <span>
                {sex(case_.patient_sex)}, {age(case_.patient_age)}
              </span>
            )}
          </div>
        )}
        {evidence.shown && (
          <div className={classes.evidence}>
            <span>
              {image.prediction?.evidence
                ? 'What the classifier looked at, not a diagnosis'
                : 'This image has no heat map'}
            </span>
            <Slider
              className={classes.slider}
              size="sm"
              min={0}
              max={1}
              step={0.05}
              value={evidence.opacity}
              onChange={(opacity) => setEvidence({ ...evidence, opacity })}
              label={(value) => `${Math.round(value * 100)} %`}
              thumbLabel="Opacity of the heat map"
            />
          </div>
        )}
      </div>
      <Toolbar
        evidence={evidence.shown}
        light={light}
        onEvidence={(byPointer) => {
          setEvidence({ ...evidence, shown: !evidence.shown });
          if (byPointer) stage.current?.focus();
        }}
        onLight={setLight}
        onFit={() => stage.current?.fit()}
        onReset={reset}
        onKeys={keys.open}
      />
      <ReadingPanel
        image={image}
        labels={labels}
        case_={case_}
        caseNumber={caseNumber}
        position={`${position}, ${open} to verify`}
        note={note}
        noteField={noteField}
        noteRequired={noteNeeded(image, noteWhen, pending?.id === image.id ? pending.label : null)}
        pending={pending?.id === image.id ? pending.label : null}
        hint={hint?.id === image.id ? hint.text : null}
        refusal={refusal}
        caseRead={isCaseRead(images, index)}
        nextCase={nextCase && nextCase.case_id !== image.case_id ? nextCase : null}
        onNextCase={() => go(nextCaseAt, performance.now())}
        onKeepStored={() => {
          queue.setRefusal(null);
          setNotes((old) => ({ ...old, [image.id]: image.verdict?.note ?? '' }));
          writeDraft(draftKey(image), null);
        }}
        onReplaceStored={() => {
          if (refusal?.mine) void queue.give(image, refusal.mine.label, refusal.mine.note);
        }}
        mayRead={mayRead}
        undoWords={undoable ? `Undo the verdict on image ${images.indexOf(undoable) + 1}` : null}
        onNote={writeNote}
        onNoteKey={noteKey}
        onAccept={() => accept(performance.now())}
        onLabel={(label) => give(label, performance.now())}
        onUndo={undo}
        onSign={sign.open}
      />
      <FilmStrip
        images={images}
        index={index}
        onChoose={(at, byPointer) => {
          go(at, performance.now());
          if (byPointer) stage.current?.focus();
        }}
      />
      <SignDialog
        shown={images}
        caseId={image.case_id}
        opened={signing}
        onClose={sign.close}
        onSigned={(signed) => {
          for (const entry of signed.images_list) queue.put(entry);
          notifySuccess(
            `Case of ${signed.patient_code} is signed`,
            'The report is being issued and will be on the case page.',
          );
          const next = nextOpen(
            images.map((entry) =>
              entry.case_id === signed.id ? { ...entry, state: 'signed', verified: true } : entry,
            ),
            index,
          );
          // The next patient opens only when the reader asks for it.
          if (next < 0) void navigate({ to: '/cases/$caseId', params: { caseId: signed.id } });
        }}
      />
      <ShortcutsDialog opened={showingKeys} onClose={keys.close} />
    </div>
  );
}
