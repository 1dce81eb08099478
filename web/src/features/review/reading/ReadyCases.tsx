// SPDX-License-Identifier: Apache-2.0
// Cases that are read and not signed stay in the worklist until they are signed.
import { useQuery } from '@tanstack/react-query';
import { review } from '@/api/calls';
import { useSession } from '@/api/session';
import { AppLink } from '@/components/AppLink';
import { count, plural } from '@/lib/format';
import classes from './reading.module.css';

const SHOWN = 5;

export function ReadyCases({ except = null }: { except?: string | null }) {
  const { projectId } = useSession();
  const { data } = useQuery({
    queryKey: ['cases', 'list', 'ready', projectId],
    queryFn: ({ signal }) =>
      review.cases({ ready: true, mine: true, project_id: projectId, sort: 'opened_at', page_size: SHOWN + 1 }, signal),
    refetchInterval: 60_000,
  });
  const rows = (data?.items ?? []).filter((row) => row.id !== except).slice(0, SHOWN);
  if (!data || rows.length === 0) return null;
  const total = data.total - (data.items.some((row) => row.id === except) ? 1 : 0);
  return (
    <section className={classes.ready} aria-labelledby="ready-to-sign">
      <h2 id="ready-to-sign">Ready to sign ({count(total)})</h2>
      <ul>
        {rows.map((row) => (
          <li key={row.id}>
            <AppLink to={`/worklist?case_id=${row.id}`}>
              <code>{row.patient_code}</code>
            </AppLink>
            <span className={classes.small}>{plural(row.images, 'image')}</span>
          </li>
        ))}
      </ul>
      {total > rows.length && <AppLink to="/cases?ready=true&mine=true">All {count(total)}</AppLink>}
    </section>
  );
}
