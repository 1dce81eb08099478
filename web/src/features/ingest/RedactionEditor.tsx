// SPDX-License-Identifier: Apache-2.0
// A picture with boxes on it that will be black: drawn with the pointer, or set by numbers.
import { ActionIcon, Button, NumberInput } from '@mantine/core';
import { useRef, useState, type PointerEvent } from 'react';
import type { Box } from '@/api/types';
import { IconPlus, IconTrash } from '@/components/icons';
import { boxBetween, clampBox, withEdge, type PixelPoint } from './redactionBoxes';
import classes from './boxes.module.css';

type Props = {
  url: string;
  frame: number;
  columns: number;
  rows: number;
  boxes: readonly Box[];
  onChange: (boxes: Box[]) => void;
};

const SIDES = ['Left', 'Top', 'Right', 'Bottom'] as const;

export function RedactionEditor({ url, frame, columns, rows, boxes, onChange }: Props) {
  const drawing = useRef<SVGSVGElement>(null);
  const [start, setStart] = useState<PixelPoint | null>(null);
  const [end, setEnd] = useState<PixelPoint | null>(null);
  const [broken, setBroken] = useState(false);
  const here = boxes.map((box, index) => ({ box, index })).filter(({ box }) => box[0] === frame);
  const drawn = start && end ? boxBetween(frame, start, end, columns, rows) : null;

  const at = (event: PointerEvent): PixelPoint => {
    const edge = drawing.current?.getBoundingClientRect();
    if (!edge) return { x: 0, y: 0 };
    return {
      x: ((event.clientX - edge.left) / edge.width) * columns,
      y: ((event.clientY - edge.top) / edge.height) * rows,
    };
  };

  const change = (index: number, side: number, value: number) => {
    onChange(
      boxes.map((box, position) => (position === index ? clampBox(withEdge(box, side, value), columns, rows) : box)),
    );
  };

  return (
    <div className={classes.editor}>
      <div
        className={classes.stage}
        style={{ aspectRatio: `${columns} / ${rows}`, inlineSize: `min(100%, ${(70 * columns) / rows}vh)` }}
      >
        {broken ? (
          <p className={classes.words} role="alert">
            The image could not be loaded. Check the connection, then load the page again.
          </p>
        ) : (
          <img
            src={url}
            alt={`Frame ${frame} as received; it may show a name`}
            draggable={false}
            onError={() => setBroken(true)}
          />
        )}
        <svg
          ref={drawing}
          viewBox={`0 0 ${columns} ${rows}`}
          preserveAspectRatio="none"
          aria-hidden="true"
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            setStart(at(event));
            setEnd(null);
          }}
          onPointerMove={(event) => start && setEnd(at(event))}
          onPointerUp={() => {
            if (drawn) onChange([...boxes, drawn]);
            setStart(null);
            setEnd(null);
          }}
          onPointerCancel={() => {
            setStart(null);
            setEnd(null);
          }}
        >
          {[...here.map(({ box }) => box), ...(drawn ? [drawn] : [])].map((box, index) => (
            <rect
              key={index}
              x={box[1]}
              y={box[2]}
              width={box[3] - box[1]}
              height={box[4] - box[2]}
              vectorEffect="non-scaling-stroke"
            />
          ))}
        </svg>
      </div>
      <ul className={classes.list} aria-label="Boxes to blacken">
        {here.map(({ box, index }, position) => (
          <li key={index}>
            <span className={classes.number}>{position + 1}</span>
            {SIDES.map((side, which) => (
              <NumberInput
                key={side}
                size="xs"
                aria-label={`${side} edge of box ${position + 1}`}
                value={box[which + 1]}
                min={0}
                max={which % 2 === 0 ? columns : rows}
                clampBehavior="strict"
                allowDecimal={false}
                onChange={(value) => typeof value === 'number' && change(index, which, value)}
              />
            ))}
            <ActionIcon
              variant="default"
              size={30}
              aria-label={`Remove box ${position + 1}`}
              onClick={() => onChange(boxes.filter((_, other) => other !== index))}
            >
              <IconTrash size={16} />
            </ActionIcon>
          </li>
        ))}
      </ul>
      <Button
        size="compact-sm"
        variant="default"
        leftSection={<IconPlus size={16} />}
        onClick={() => {
          const middle = { x: columns / 2, y: rows / 2 };
          const size = Math.max(8, Math.min(columns, rows) / 8);
          const corner = { x: middle.x + 2 * size, y: middle.y + size };
          const box = boxBetween(frame, middle, corner, columns, rows);
          if (box) onChange([...boxes, box]);
        }}
      >
        Add a box
      </Button>
    </div>
  );
}
