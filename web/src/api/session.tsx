// SPDX-License-Identifier: Apache-2.0
// The signed-in person, the selected project, and the actions that are permitted there.
import { queryOptions, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { createContext, useContext, useMemo, useState, type ReactNode } from 'react';
import { capital } from '@/lib/format';
import { writePreference, readPreference } from '@/lib/preferences';
import { accounts } from './calls';
import { setCsrfToken } from './http';
import { isPermitted } from './permissions';
import { pathwaysQuery } from './queries';
import { Problem } from './problem';
import type { Action, Me, OwnMembership, Pathway } from './types';

const NO_PATHWAYS: readonly Pathway[] = [];

export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: async ({ signal }): Promise<Me | null> => {
    try {
      const me = await accounts.me(signal);
      setCsrfToken(me.csrf_token);
      return me;
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 5 * 60_000,
  retry: false,
});

type Session = {
  me: Me;
  memberships: OwnMembership[];
  /** The selected project; undefined stands for all of them. */
  projectId: string | undefined;
  /** The project of new entries: the selected one, or the first. */
  homeProjectId: string | undefined;
  selectProject: (id: string | undefined) => void;
  roles: readonly string[];
  /** Whether an action is permitted in the selected project, or in any if none is selected. */
  can: (action: Action) => boolean;
  /** The projects in which an action is permitted. */
  projectsWith: (action: Action) => OwnMembership[];
  /** The display name of a label, by the pathways; a label without one is its own name. */
  labelName: (label: string) => string;
};

const SessionContext = createContext<Session | null>(null);

export function SessionProvider({ children }: { children: ReactNode }) {
  const { data: me } = useSuspenseQuery(meQuery);
  const { data: pathways = NO_PATHWAYS } = useQuery({ ...pathwaysQuery, enabled: Boolean(me) });
  const client = useQueryClient();
  const [selected, setSelected] = useState(() => readPreference<string | undefined>('project', undefined));

  const session = useMemo<Session | null>(() => {
    if (!me) return null;
    const { memberships } = me;
    const labelNames = new Map(pathways.flatMap((pathway) => Object.entries(pathway.display_names)));
    const projectId = memberships.some((m) => m.project_id === selected) ? selected : undefined;
    const inScope = projectId ? memberships.filter((m) => m.project_id === projectId) : memberships;
    return {
      me,
      memberships,
      projectId: memberships.length > 1 ? projectId : undefined,
      homeProjectId: projectId ?? memberships[0]?.project_id,
      selectProject: (id) => {
        writePreference('project', id ?? null);
        setSelected(id);
        void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== 'me' });
      },
      roles: [...new Set(inScope.map((m) => m.role))],
      can: (action) => inScope.some((membership) => isPermitted(membership, action, pathways)),
      labelName: (label) => capital(labelNames.get(label) ?? label),
      projectsWith: (action) => memberships.filter((membership) => isPermitted(membership, action, pathways)),
    };
  }, [me, selected, client, pathways]);

  if (!session) return null;
  return <SessionContext.Provider value={session}>{children}</SessionContext.Provider>;
}

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('A page was drawn outside of a session');
  return session;
}
