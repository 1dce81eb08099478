// SPDX-License-Identifier: Apache-2.0
// Who is here, in which project, and what that role finds in the app.
import { queryOptions, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { createContext, useContext, useMemo, useState, type ReactNode } from 'react';
import { writePreference, readPreference } from '@/lib/preferences';
import { abilitiesOf, type Ability, type StageAct } from '@/lib/roles';
import { accounts } from './calls';
import { setCsrfToken } from './http';
import { pathwaysQuery } from './queries';
import { Problem } from './problem';
import type { Me, Membership } from './types';

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
  memberships: Membership[];
  /** The project chosen on top; undefined stands for all of them. */
  projectId: string | undefined;
  /** Where new things go: the chosen project, or the only one. */
  homeProjectId: string | undefined;
  chooseProject: (id: string | undefined) => void;
  roles: readonly string[];
  can: (ability: Ability) => boolean;
};

const SessionContext = createContext<Session | null>(null);

export function SessionProvider({ children }: { children: ReactNode }) {
  const { data: me } = useSuspenseQuery(meQuery);
  const { data: pathways } = useQuery({ ...pathwaysQuery, enabled: Boolean(me) });
  const client = useQueryClient();
  const [chosen, setChosen] = useState<string | undefined>(() =>
    readPreference<string | undefined>('project', undefined),
  );

  const session = useMemo<Session | null>(() => {
    if (!me) return null;
    const { memberships } = me;
    const projectId = memberships.some((m) => m.project_id === chosen) ? chosen : undefined;
    const inScope = projectId ? memberships.filter((m) => m.project_id === projectId) : memberships;
    const roles = [...new Set(inScope.map((m) => m.role))];
    const acts = (pathways ?? []).flatMap((pathway) => pathway.stages.flatMap((stage) => stage.acts as StageAct[]));
    const abilities = abilitiesOf(roles, acts);
    return {
      me,
      memberships,
      projectId: memberships.length > 1 ? projectId : undefined,
      homeProjectId: projectId ?? memberships[0]?.project_id,
      chooseProject: (id) => {
        writePreference('project', id ?? null);
        setChosen(id);
        void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== 'me' });
      },
      roles,
      can: (ability) => abilities.has(ability),
    };
  }, [me, chosen, client, pathways]);

  if (!session) return null;
  return <SessionContext.Provider value={session}>{children}</SessionContext.Provider>;
}

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('A page was drawn outside of a session');
  return session;
}
