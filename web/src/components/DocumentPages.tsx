// SPDX-License-Identifier: Apache-2.0
import { Slider } from '@mantine/core';
import { useState } from 'react';
import classes from './DocumentPages.module.css';

type Props = { pages: number; texts: readonly string[]; urlOf: (page: number) => string };

/** The pages of a document, drawn by the server: nothing of the document itself runs in the browser. */
export function DocumentPages({ pages, texts, urlOf }: Props) {
  const [page, setPage] = useState(0);
  const [broken, setBroken] = useState<number | null>(null);
  const text = texts[page] ?? '';
  return (
    <div className={classes.stack}>
      {pages > 1 && (
        <div>
          <p className={classes.muted}>
            Page {page + 1} of {pages}
          </p>
          <Slider
            min={0}
            max={pages - 1}
            value={page}
            onChange={setPage}
            label={(value) => value + 1}
            thumbLabel="Page"
          />
        </div>
      )}
      {pages > 0 &&
        (broken === page ? (
          <p className={classes.muted} role="alert">
            This page could not be displayed.
          </p>
        ) : (
          <img
            className={classes.page}
            src={urlOf(page)}
            alt={`Page ${page + 1} of ${pages}; its text follows`}
            onError={() => setBroken(page)}
          />
        ))}
      {(text || pages > 0) && (
        <details open={pages === 0}>
          <summary>{pages > 0 ? 'Text of this page' : 'Text of the document'}</summary>
          <p className={classes.text}>{text || 'The document contains no text; it may be a scan.'}</p>
        </details>
      )}
    </div>
  );
}
