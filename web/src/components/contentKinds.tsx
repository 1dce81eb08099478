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

type Kind = { name: string; Icon: (props: { size?: number }) => React.ReactNode };

const CONTENT_KINDS: Record<ShownAs, Kind> = {
  image: { name: 'Image', Icon: IconImages },
  segmentation: { name: 'Segmentation', Icon: IconSegments },
  report: { name: 'Report', Icon: IconReport },
  document: { name: 'Document', Icon: IconDocument },
  plan: { name: 'Radiotherapy', Icon: IconPlan },
  waveform: { name: 'Waveforms', Icon: IconWave },
  presentation: { name: 'Presentation state', Icon: IconPresentation },
  other: { name: 'Measurements', Icon: IconList },
};

export function contentKindName(shownAs: ShownAs): string {
  return CONTENT_KINDS[shownAs].name;
}

/** Whether a picture can be asked for: frames, or the pages of a document. */
export function hasPicture(image: Pick<ImageRow, 'state' | 'shown_as' | 'frames'>): boolean {
  return image.state !== 'unreadable' && (image.frames > 0 || image.shown_as === 'document');
}

export function ContentKindIcon({ shownAs, size = 20 }: { shownAs: ShownAs; size?: number }) {
  const { Icon } = CONTENT_KINDS[shownAs];
  return <Icon size={size} />;
}
