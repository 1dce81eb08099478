// SPDX-License-Identifier: Apache-2.0
// The queue in the reader's hands: it answers at once and takes an answer back when the server refuses it.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';
import { review, viewing } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Image, ImageRow } from '@/api/types';
import { sortByCase, isOpen, mergeImages, nextOpenInCase, withVerdict } from './readingQueue';

const PAGE = 200;
const SOON = 20;

export type Scope = { caseId?: string; patientId?: string; imageId?: string };
/** A refused verdict; `mine` is what the reader wanted to give. */
export type Refusal = { imageId: string; problem: Problem; mine: { label: string; note: string } | null };

export function useReadingQueue({ caseId, patientId, imageId }: Scope) {
  const { projectId, me } = useSession();
  const client = useQueryClient();
  const [images, setImages] = useState<ImageRow[] | null>(null);
  const [index, setIndex] = useState(0);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const readIds = useRef<string[]>([]);
  const requestedImage = useRef(imageId);
  const cursor = useRef<string | null>(null);
  const cursorScope = useRef('');
  const [nextCursor, setNextCursor] = useState<string | null>(null);
  // A second write waits for the first: each is based on the state after the one before.
  const writes = useRef(new Map<string, Promise<string>>());
  const scope = `${caseId ?? ''}/${patientId ?? ''}/${projectId ?? ''}`;

  const source = useQuery({
    queryKey: ['reading', scope],
    queryFn: async ({ signal }): Promise<ImageRow[]> => {
      if (caseId) return (await review.case(caseId, signal)).images_list;
      if (cursorScope.current !== scope) cursor.current = null;
      cursorScope.current = scope;
      const page = await viewing.images(
        {
          verified: false,
          patient_id: patientId,
          project_id: projectId,
          sort: 'created_at',
          page_size: PAGE,
          cursor: cursor.current,
        },
        signal,
      );
      setNextCursor(page.next_cursor ?? null);
      // At the end the list is read from its start again, for images that were stored meanwhile.
      if (!page.next_cursor) cursor.current = null;
      return page.items;
    },
    gcTime: 0,
    staleTime: 0,
    refetchOnWindowFocus: false,
    // While the classifier is still at work, what it finishes joins the end of the queue.
    refetchInterval: (query) => (query.state.data?.some((image) => image.state === 'waiting') ? 2_000 : 60_000),
  });

  const loadedScope = useRef('');
  useEffect(() => {
    if (!source.data || source.isFetching) return;
    const ready = source.data.filter((image) => image.state !== 'waiting');
    if (loadedScope.current !== scope) {
      loadedScope.current = scope;
      readIds.current = [];
      const ordered = sortByCase(ready);
      const at = ordered.findIndex((image) => image.id === requestedImage.current);
      setImages(ordered);
      setIndex(at >= 0 ? at : Math.max(0, ordered.findIndex(isOpen)));
    } else {
      setImages((here) => mergeImages(here ?? [], ready));
    }
  }, [source.data, source.isFetching, scope]);

  // A long queue comes in parts: the next part is fetched before this one is read through.
  const open = (images ?? []).filter(isOpen).length;
  const { refetch, isFetching } = source;
  const nearEnd = (images?.length ?? 0) - index <= SOON;
  useEffect(() => {
    if (isFetching || nextCursor === null || cursor.current === nextCursor || (open > SOON && !nearEnd)) return;
    cursor.current = nextCursor;
    void refetch();
  }, [isFetching, nearEnd, nextCursor, open, refetch]);

  const put = useCallback((image: ImageRow) => {
    setImages((here) => (here ?? []).map((other) => (other.id === image.id ? { ...other, ...image } : other)));
  }, []);

  const goTo = useCallback((id: string) => {
    setImages((here) => {
      const at = (here ?? []).findIndex((other) => other.id === id);
      if (at >= 0) setIndex(at);
      return here;
    });
  }, []);

  const settle = (image: ImageRow) => {
    void client.invalidateQueries({ queryKey: ['images', 'one', image.id] });
    if (image.case_id) void client.invalidateQueries({ queryKey: ['cases', 'one', image.case_id] });
    void client.invalidateQueries({ queryKey: ['dashboard'], refetchType: 'none' });
    void client.invalidateQueries({ queryKey: ['cases', 'list'], refetchType: 'none' });
    void client.invalidateQueries({ queryKey: ['cases', 'list', 'ready'] });
    void client.invalidateQueries({ queryKey: ['patients'], refetchType: 'none' });
  };

  /** Gives a verdict; false when the server refused it. */
  const give = async (image: ImageRow, label: string, note: string): Promise<boolean> => {
    const optimistic = withVerdict(image, {
      label,
      note,
      by: me.user.name,
      by_id: me.user.id,
      role: 'physician',
      at: new Date().toISOString(),
      agrees: image.prediction?.label === label,
    });
    const here = (images ?? []).map((other) => (other.id === image.id ? optimistic : other));
    setImages(here);
    setRefusal(null);
    readIds.current = [...readIds.current.filter((id) => id !== image.id), image.id];
    const next = nextOpenInCase(here, index);
    if (next >= 0) setIndex(next);
    try {
      put(await write(image, (etag) => review.giveVerdict(image.id, label, note, etag)));
      settle(image);
      return true;
    } catch (error) {
      readIds.current = readIds.current.filter((id) => id !== image.id);
      goTo(image.id);
      refuse(image, asProblem(error), { label, note });
      return false;
    }
  };

  /** Sends a write that is based on the state which is shown, after the earlier writes of the same image. */
  const write = async (image: ImageRow, send: (etag: string) => Promise<Image>): Promise<Image> => {
    const before = writes.current.get(image.id);
    const etag = before ? await before.catch(() => image.etag) : image.etag;
    const answer = send(etag);
    const following = answer.then((changed) => changed.etag);
    following.catch(() => undefined);
    writes.current.set(image.id, following);
    try {
      return await answer;
    } finally {
      if (writes.current.get(image.id) === following) writes.current.delete(image.id);
    }
  };

  /** Shows the state before a refused write; where another person was faster, what that person said. */
  const refuse = (before: ImageRow, problem: Problem, mine: Refusal['mine']) => {
    put(problem.isStale ? (problem.current as Image) : before);
    if (problem.isStale) settle(before);
    setRefusal({ imageId: before.id, problem, mine: problem.isStale ? mine : null });
  };

  const undo = async (image: ImageRow) => {
    const before = image;
    put({ ...image, verdict: null, verified: false, state: 'read' });
    setRefusal(null);
    goTo(image.id);
    readIds.current = readIds.current.filter((id) => id !== image.id);
    try {
      put(await write(image, (etag) => review.undoVerdict(image.id, etag)));
      settle(image);
    } catch (error) {
      refuse(before, asProblem(error), null);
    }
  };

  /** What U takes back: the last answer of this sitting, else the own verdict on the image in view. */
  const undoable = (): ImageRow | null => {
    const last = readIds.current.at(-1);
    const lastRead = (images ?? []).find((image) => image.id === last);
    const current = images?.[index];
    if (lastRead) return lastRead;
    return current?.verdict && current.state !== 'signed' && current.verdict.by_id === me.user.id ? current : null;
  };

  return {
    source,
    images,
    more: !caseId && nextCursor !== null,
    index,
    setIndex,
    give,
    undo,
    undoable,
    refusal,
    setRefusal,
    put,
  };
}
