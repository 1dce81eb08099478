// SPDX-License-Identifier: Apache-2.0
import { useQuery } from '@tanstack/react-query';
import { Button, Skeleton } from '@mantine/core';
import { viewing } from '@/api/calls';
import { asProblem } from '@/api/problem';
import type { Content, Image } from '@/api/types';
import { DocumentPages } from '@/components/DocumentPages';
import { DetailList, type Detail } from '@/components/DetailList';
import { IconDownload } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { Panel } from '@/components/Page';
import { Table } from '@/components/Table';
import { bytes } from '@/lib/format';

import { ReportTree } from './ReportTree';
import { Waveforms } from './Waveforms';
import classes from './content.module.css';

export function useContent(imageId: string) {
  return useQuery({
    queryKey: ['images', 'content', imageId],
    queryFn: ({ signal }) => viewing.content(imageId, signal),
    retry: false,
    staleTime: Infinity,
  });
}

/** What is shown in place of a picture. */
export function ContentPanel({ image }: { image: Image }) {
  const { data: content, error } = useContent(image.id);
  if (error)
    return (
      <Panel title="Content">
        <Notice tone="red" title="This object cannot be displayed">
          {asProblem(error).detail} You can download it.
        </Notice>
      </Panel>
    );
  if (!content)
    return (
      <Panel>
        <div aria-busy="true" aria-label="Loading the object">
          <Skeleton height={420} />
        </div>
      </Panel>
    );
  return (
    <Panel title={content.class_name || 'Content'}>
      <div className={classes.stack}>
        {content.notes.map((note) => (
          <Notice key={note} tone="gray" title="Not everything is displayed">
            {note}
          </Notice>
        ))}
        {content.tree && <ReportTree root={content.tree} />}
        {content.waveforms.length > 0 && <Waveforms groups={content.waveforms} />}
        {content.document && (
          <>
            <DocumentPages
              pages={content.document.pages}
              texts={content.document.texts}
              urlOf={(page) => viewing.renderedUrl(image.id, 1024, page)}
            />
            <div>
              <Button
                component="a"
                href={viewing.documentUrl(image.id)}
                download
                variant="default"
                leftSection={<IconDownload size={18} />}
              >
                Document, {bytes(content.document.size_bytes)}
              </Button>
            </div>
          </>
        )}
        <Tables content={content} />
        {content.shown_as !== 'document' && content.facts.length > 0 && <ContentFacts content={content} />}
      </div>
    </Panel>
  );
}

function ContentFacts({ content }: { content: Content }) {
  // The same name may stand twice; a list keeps each.
  return <DetailList details={content.facts.map(([name, value]): Detail => [name ?? '', value])} />;
}

function Tables({ content }: { content: Content }) {
  return (
    <div className={classes.sections}>
      {content.sections.map((section) => (
        <section key={section.title}>
          <h3>{section.title}</h3>
          <Table name={section.title} headers={section.heads} rows={section.rows} />
        </section>
      ))}
    </div>
  );
}

/** The segments of a segmentation under its picture; the one of this frame is marked in words, too. */
export function Segments({ image, frame }: { image: Image; frame: number }) {
  const { data: content, error } = useContent(image.id);
  if (error) return <p className={classes.muted}>{asProblem(error).detail}</p>;
  if (!content) return <Skeleton height={28} mt={12} />;
  const here = content.frame_segments[frame] ?? null;
  return (
    <ul className={classes.legend} aria-label="Segments">
      {content.segments.map((segment) => (
        <li key={segment.number} data-here={segment.number === here}>
          <svg className={classes.swatch} viewBox="0 0 14 14" aria-hidden="true">
            <rect width="14" height="14" rx="3" fill={segment.color} stroke="var(--mh-strong-border)" />
          </svg>
          <span>
            {segment.number} {segment.label || segment.property_type || 'unnamed'}
            {segment.property_type && segment.label !== segment.property_type && (
              <span className={classes.name}> {segment.property_type}</span>
            )}
            {segment.number === here && <span className={classes.name}> (this frame)</span>}
          </span>
        </li>
      ))}
      {content.segments.length === 0 && <li>This segmentation does not describe its segments.</li>}
    </ul>
  );
}
