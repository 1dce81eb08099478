// SPDX-License-Identifier: Apache-2.0
import { Link } from '@tanstack/react-router';
import type { ContentNode } from '@/api/types';
import classes from './content.module.css';

/** The lines of a structured report, as they hang on one another. */
export function ReportTree({ root }: { root: ContentNode }) {
  return (
    <ul className={classes.tree}>
      <Line node={root} />
    </ul>
  );
}

function Line({ node }: { node: ContentNode }) {
  const name = node.name || (node.kind === 'CONTAINER' ? 'Part' : node.kind.toLowerCase().replace('_', ' '));
  const link = node.image_id ? (
    <Link to="/images/$imageId" params={{ imageId: node.image_id }}>
      {node.value || 'Open'}
    </Link>
  ) : null;
  const value = node.value || (node.kind === 'CONTAINER' ? '' : 'not specified');
  return (
    <li>
      {node.kind === 'CONTAINER' ? (
        <span className={classes.head}>{name}</span>
      ) : (
        <>
          <span className={classes.name}>{name}: </span>
          {link ?? <span className={classes.value}>{value}</span>}
          {node.refers_to && !link && <span className={classes.name}> (not in this archive)</span>}
        </>
      )}
      {node.children.length > 0 && (
        <ul>
          {node.children.map((child, index) => (
            <Line key={index} node={child} />
          ))}
        </ul>
      )}
    </li>
  );
}
