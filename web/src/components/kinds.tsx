// SPDX-License-Identifier: Apache-2.0
// What an object is, in a word and a drawing: pictures are shown, all others are named.
import type { ImageRow, ShownAs } from '@/api/types';
import {
  IconDocument,
  IconList,
  IconPlan,
  IconPresentation,
  IconReport,
  IconSegments,
  IconImages,
  IconWave,
} from './icons';

type Kind = { one: string; Icon: (props: { size?: number }) => React.ReactNode };

const KINDS: Record<ShownAs, Kind> = {
  image: { one: 'Image', Icon: IconImages },
  segmentation: { one: 'Segmentation', Icon: IconSegments },
  report: { one: 'Report', Icon: IconReport },
  document: { one: 'Document', Icon: IconDocument },
  plan: { one: 'Radiotherapy', Icon: IconPlan },
  waveform: { one: 'Waveforms', Icon: IconWave },
  presentation: { one: 'Presentation state', Icon: IconPresentation },
  other: { one: 'Measurements', Icon: IconList },
};

export function kindWord(shownAs: ShownAs): string {
  return KINDS[shownAs].one;
}

/** Whether a picture can be asked for: frames, or the pages of a document. */
export function hasPicture(image: Pick<ImageRow, 'state' | 'shown_as' | 'frames'>): boolean {
  return image.state !== 'unreadable' && (image.frames > 0 || image.shown_as === 'document');
}

export function KindIcon({ shownAs, size = 20 }: { shownAs: ShownAs; size?: number }) {
  const { Icon } = KINDS[shownAs];
  return <Icon size={size} />;
}
