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
import type { ImageRow, Pathway } from '@/api/types';
import { EmptyState } from '@/components/EmptyState';
import { AppLink } from '@/components/AppLink';
import { IconCircleCheck, IconWarning } from '@/components/icons';
import { ImageViewer, type ViewerHandle, type ViewerImage } from '@/components/ImageViewer';
import { statusOf, statusText } from '@/components/StatusMark';
import { notifySuccess } from '@/components/notify';
import { sortedProbabilities } from '@/components/Probabilities';
import { plural, probability } from '@/lib/format';
import { NORMAL_LIGHT, type Light } from '@/viewer/imageCanvas';
import { SignDialog } from '../SignDialog';
import { FilmStrip } from './FilmStrip';
import { ShortcutsDialog } from './ShortcutsDialog';
import { measureNextImage } from './measureNextImage';
import { acceptableLabel, isOpen, nextOpen, noteNeeded, type NoteWhen } from './readingQueue';
import { ReadingPanel } from './ReadingPanel';
import { Toolbar } from './Toolbar';
import { useShortcuts } from './useShortcuts';
import classes from './reading.module.css';
import { useReadingQueue } from './useReadingQueue';

const AHEAD = [1, 2, -1, 3, -2, -3];

function viewerImage(image: ImageRow): ViewerImage {
  return {
    id: image.id,
    width: image.width,
    height: image.height,
    unreadable: image.state === 'unreadable',
    evidence: image.prediction?.evidence ?? false,
  };
}

function hasVerdict(stage: Pathway['stages'][number]): boolean {
  return stage.acts.some(({ act }) => act === 'verdict');
}

/** When the stage's verdicts want a note; until the pathway is known, where the classifier was uncertain. */
function noteWhenOf(stage: Pathway['stages'][number] | undefined): NoteWhen {
  return stage?.acts.find(({ act }) => act === 'verdict')?.note_when ?? ['uncertain'];
}

function describe(image: ImageRow, position: string, labelName: (label: string) => string): string {
  const { prediction, verdict } = image;
  if (verdict) return `${position}, verdict ${labelName(verdict.label)}, ${statusText(statusOf(image))}`;
  if (!prediction) return `${position}, ${statusText(statusOf(image))}`;
  const top = sortedProbabilities(prediction)[0];
  const value = top ? probability(top[1]) : '';
  return prediction.uncertain
    ? `${position}, uncertain, most likely ${labelName(top?.[0] ?? '')} ${value}`
    : `${position}, prediction ${labelName(prediction.label)} ${value}`;
}

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
          <Button component={AppLink} to="/cases" variant="default">
            Open cases
          </Button>
        }
      />
    );
  }
  return <ImageReading queue={queue} images={images} />;
}

function ImageReading({ queue, images }: { queue: ReturnType<typeof useReadingQueue>; images: ImageRow[] }) {
  const { can, labelName } = useSession();
  const navigate = useNavigate();
  const index = Math.min(queue.index, images.length - 1);
  const image = images[index] as ImageRow;
  const [notes, setNotes] = useState<Record<string, string>>({});
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
  const caseNumber = `Case ${cases.indexOf(image.case_id ?? image.id) + 1} of ${cases.length}`;
  const position = `Image ${index + 1} of ${images.length}`;
  const open = images.filter(isOpen).length;
  const note = notes[image.id] ?? image.verdict?.note ?? '';
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
        nextOpen(
          images.map((entry) => (entry.id === image.id ? { ...entry, verified: true } : entry)),
          index,
        )
      ];
    if (following && following.id !== image.id) measure.start(following.id, at);
    void queue.give(image, label, note.trim());
    stage.current?.focus();
  };

  const accept = (at: number) => {
    // What a person has said is not overwritten by the key that accepts what the classifier says.
    if (image.verdict || !mayRead) {
      const following = nextOpen(images, index);
      go(following >= 0 ? following : index + 1, at);
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
    if (undoable) void queue.undo(undoable);
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

  const refusal = queue.refusal?.imageId === image.id ? queue.refusal.problem : null;
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
        mayRead={mayRead}
        undoWords={undoable ? `Undo the verdict on image ${images.indexOf(undoable) + 1}` : null}
        onNote={(text) => setNotes((old) => ({ ...old, [image.id]: text }))}
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
          if (next >= 0) go(next, performance.now());
          else void navigate({ to: '/cases/$caseId', params: { caseId: signed.id } });
        }}
      />
      <ShortcutsDialog opened={showingKeys} onClose={keys.close} />
    </div>
  );
}
