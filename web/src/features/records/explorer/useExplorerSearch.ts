// SPDX-License-Identifier: Apache-2.0
// What the address says: the location, the kind of entries, filters, order and view.
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { fieldsQuery, pathwaysQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import { activeFilters, validSort, withoutParameters, type SearchPatch } from '@/components/listTypes';
import { readPreference, writePreference } from '@/lib/preferences';
import { DEFAULT_SORT, type EntryKind } from './entries';
import { columnsOf } from './entryColumns';
import { filtersOf } from './entryFilters';
import type { ExplorerView } from './ExplorerTools';
import { kindOf, kindsAt, locationFilter, readLocation } from './location';
import { useLocationDetails } from './useLocationDetails';

export function useExplorerSearch() {
  const { projectId, homeProjectId } = useSession();
  const search = useSearch({ from: '/shell/images' });
  const navigate = useNavigate();
  const location = readLocation(search);
  const kind = kindOf(search, location);
  const { data: here, error: locationError } = useLocationDetails(location);
  const { data: pathways = [] } = useQuery(pathwaysQuery);
  const withFields = kind === 'patients' || kind === 'studies';
  const { data: defined = [] } = useQuery({
    ...fieldsQuery(here?.projectId ?? projectId ?? homeProjectId, kind === 'patients' ? 'patient' : 'study'),
    enabled: withFields,
  });
  const fields = withFields ? defined : [];
  const atRoot = location.level === 'root';
  const filters = filtersOf(kind, fields, pathways);
  const active = activeFilters(search, filters);
  const columns = columnsOf(kind, fields).filter((column) => atRoot || column.id !== 'patient');
  const sort = validSort(search.sort, columns, DEFAULT_SORT[kind]);
  const view: ExplorerView =
    search.view ?? (readPreference<ExplorerView>('explorer.view', 'grid') === 'list' ? 'list' : 'grid');
  const query = {
    ...locationFilter(location),
    ...(atRoot ? { project_id: projectId } : {}),
    ...Object.fromEntries(active),
    query: search.query,
    sort,
  };

  const change = (patch: SearchPatch, replace = 'query' in patch) =>
    void navigate({ to: '/images', search: (before) => ({ ...before, ...patch }), replace });
  const filterNames = filters.map((filter) => filter.id);

  return {
    search,
    location,
    kind,
    here,
    locationError,
    pathways,
    filters,
    active,
    columns,
    sort,
    view,
    query,
    filtered: active.length > 0 || Boolean(search.query),
    change,
    changeKind: (next: EntryKind) =>
      change({
        ...withoutParameters(filterNames),
        show: next === kindsAt(location)[0] ? undefined : next,
        sort: undefined,
      }),
    changeView: (next: ExplorerView) => {
      writePreference('explorer.view', next);
      change({ view: next }, true);
    },
    clear: () => change(withoutParameters([...filterNames, 'query'])),
  };
}
