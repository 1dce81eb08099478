// SPDX-License-Identifier: Apache-2.0
// The queue in the reader's hands: it answers at once and takes an answer back when the server refuses it.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useRef, useState } from 'react';
import { review, viewing } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { ImageRow } from '@/api/types';
import { sortByCase, isOpen, mergeImages, nextOpen, withVerdict } from './readingQueue';

const PAGE = 200;
const SOON = 20;

export type Scope = { caseId?: string; patientId?: string; imageId?: string };
export type Refusal = { imageId: string; problem: Problem };

export function useReadingQueue({ caseId, patientId, imageId }: Scope) {
  const { projectId, me } = useSession();
  const client = useQueryClient();
  const [images, setImages] = useState<ImageRow[] | null>(null);
  const [index, setIndex] = useState(0);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const readIds = useRef<string[]>([]);
  const requestedImage = useRef(imageId);
  const scope = `${caseId ?? ''}/${patientId ?? ''}/${projectId ?? ''}`;

  const source = useQuery({
    queryKey: ['reading', scope],
    queryFn: async ({ signal }): Promise<ImageRow[]> => {
      if (caseId) return (await review.case(caseId, signal)).images_list;
      const page = await viewing.images(
        { verified: false, patient_id: patientId, project_id: projectId, sort: 'created_at', page_size: PAGE },
        signal,
      );
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
  const more = (source.data?.length ?? 0) >= PAGE;
  const { refetch } = source;
  useEffect(() => {
    if (more && open <= SOON && open % 5 === 0) void refetch();
  }, [more, open, refetch]);

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
    void client.invalidateQueries({ queryKey: ['patients'], refetchType: 'none' });
  };

  const give = async (image: ImageRow, label: string, note: string) => {
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
    const next = nextOpen(here, index);
    if (next >= 0) setIndex(next);
    try {
      put(await review.giveVerdict(image.id, label, note));
      settle(image);
    } catch (error) {
      put(image);
      readIds.current = readIds.current.filter((id) => id !== image.id);
      goTo(image.id);
      setRefusal({ imageId: image.id, problem: asProblem(error) });
    }
  };

  const undo = async (image: ImageRow) => {
    const before = image;
    put({ ...image, verdict: null, verified: false, state: 'read' });
    setRefusal(null);
    goTo(image.id);
    readIds.current = readIds.current.filter((id) => id !== image.id);
    try {
      put(await review.undoVerdict(image.id));
      settle(image);
    } catch (error) {
      put(before);
      setRefusal({ imageId: image.id, problem: asProblem(error) });
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

  return { source, images, index, setIndex, give, undo, undoable, refusal, setRefusal, put };
}
