// SPDX-License-Identifier: Apache-2.0
// Every address of the app. Pages are loaded when first visited; the reading room's code never delays the sign-in.
import type { QueryClient } from '@tanstack/react-query';
import { createRootRouteWithContext, createRoute, createRouter, Outlet, redirect } from '@tanstack/react-router';
import { meQuery } from '@/api/session';
import { PageFailure, PageMissing } from '@/components/PageFailure';
import { parseSearch, stringifySearch } from '@/lib/searchParams';
import { SignInPage } from '@/features/accounts/SignInPage';
import { lazyPage } from './lazyPage';
import * as schemas from './searchSchemas';

const rootRoute = createRootRouteWithContext<{ client: QueryClient }>()({
  component: Outlet,
});

const signInRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/sign-in',
  validateSearch: schemas.signInSearch,
  component: SignInPage,
});

const shellRoute = createRoute({
  getParentRoute: () => rootRoute,
  id: 'shell',
  beforeLoad: async ({ context, location }) => {
    const me = await context.client.query({ ...meQuery, staleTime: 'static' });
    if (!me) {
      const next = location.href === '/' ? undefined : location.href;
      throw redirect({ to: '/sign-in', search: next ? { next } : {} });
    }
  },
  component: lazyPage(() => import('./shell/Shell'), 'Shell'),
});

const page = <P extends string>(path: P) => ({ getParentRoute: () => shellRoute, path });

const pages = [
  createRoute({
    ...page('/'),
    component: lazyPage(() => import('@/features/review/DashboardPage'), 'DashboardPage'),
  }),
  createRoute({
    ...page('/worklist'),
    validateSearch: schemas.worklistSearch,
    component: lazyPage(() => import('@/features/review/reading/ReadingView'), 'ReadingView'),
  }),
  createRoute({
    ...page('/cases'),
    validateSearch: schemas.casesSearch,
    component: lazyPage(() => import('@/features/review/CasesPage'), 'CasesPage'),
  }),
  createRoute({
    ...page('/cases/$caseId'),
    component: lazyPage(() => import('@/features/review/CasePage'), 'CasePage'),
  }),
  createRoute({
    ...page('/patients'),
    validateSearch: schemas.patientsSearch,
    component: lazyPage(() => import('@/features/records/PatientsPage'), 'PatientsPage'),
  }),
  createRoute({
    ...page('/patients/new'),
    component: lazyPage(() => import('@/features/records/NewPatientPage'), 'NewPatientPage'),
  }),
  createRoute({
    ...page('/patients/$patientId'),
    component: lazyPage(() => import('@/features/records/PatientPage'), 'PatientPage'),
  }),
  createRoute({
    ...page('/erasures'),
    validateSearch: schemas.plainListSearch,
    component: lazyPage(() => import('@/features/records/ErasuresPage'), 'ErasuresPage'),
  }),
  createRoute({
    ...page('/erasures/$erasureId'),
    component: lazyPage(() => import('@/features/records/ErasurePage'), 'ErasurePage'),
  }),
  createRoute({
    ...page('/studies/$studyId'),
    component: lazyPage(() => import('@/features/records/StudyPage'), 'StudyPage'),
  }),
  createRoute({
    ...page('/upload'),
    validateSearch: schemas.uploadSearch,
    component: lazyPage(() => import('@/features/ingest/UploadPage'), 'UploadPage'),
  }),
  createRoute({
    ...page('/quarantine'),
    validateSearch: schemas.plainListSearch,
    component: lazyPage(() => import('@/features/ingest/QuarantinePage'), 'QuarantinePage'),
  }),
  createRoute({
    ...page('/quarantine/$arrivalId'),
    component: lazyPage(() => import('@/features/ingest/QuarantinedFilePage'), 'QuarantinedFilePage'),
  }),
  createRoute({
    ...page('/images'),
    validateSearch: schemas.explorerSearch,
    component: lazyPage(() => import('@/features/records/explorer/ExplorerPage'), 'ExplorerPage'),
  }),
  createRoute({
    ...page('/images/$imageId'),
    component: lazyPage(() => import('@/features/viewing/ImagePage'), 'ImagePage'),
  }),
  createRoute({
    ...page('/reports'),
    validateSearch: schemas.plainListSearch,
    component: lazyPage(() => import('@/features/reports/ReportsPage'), 'ReportsPage'),
  }),
  createRoute({
    ...page('/classifiers'),
    component: lazyPage(() => import('@/features/classification/ClassifiersPage'), 'ClassifiersPage'),
  }),
  createRoute({
    ...page('/classifiers/$digest'),
    component: lazyPage(() => import('@/features/classification/ClassifierPage'), 'ClassifierPage'),
  }),
  createRoute({
    ...page('/training'),
    validateSearch: schemas.plainListSearch,
    component: lazyPage(() => import('@/features/training/RunsPage'), 'RunsPage'),
  }),
  createRoute({
    ...page('/training/new'),
    validateSearch: schemas.newRunSearch,
    component: lazyPage(() => import('@/features/training/NewRunPage'), 'NewRunPage'),
  }),
  createRoute({
    ...page('/training/runs/$runId'),
    component: lazyPage(() => import('@/features/training/RunPage'), 'RunPage'),
  }),
  createRoute({
    ...page('/training/datasets'),
    validateSearch: schemas.plainListSearch,
    component: lazyPage(() => import('@/features/training/DataSetsPage'), 'DataSetsPage'),
  }),
  createRoute({
    ...page('/training/datasets/new'),
    component: lazyPage(() => import('@/features/training/NewDataSetPage'), 'NewDataSetPage'),
  }),
  createRoute({
    ...page('/training/datasets/$datasetId'),
    component: lazyPage(() => import('@/features/training/DataSetPage'), 'DataSetPage'),
  }),
  createRoute({
    ...page('/training/use'),
    validateSearch: schemas.inUseSearch,
    component: lazyPage(() => import('@/features/training/InUsePage'), 'InUsePage'),
  }),
  createRoute({
    ...page('/exports'),
    validateSearch: schemas.exportsSearch,
    component: lazyPage(() => import('@/features/export/ExportsPage'), 'ExportsPage'),
  }),
  createRoute({
    ...page('/exports/$exportId'),
    component: lazyPage(() => import('@/features/export/ExportPage'), 'ExportPage'),
  }),
  createRoute({
    ...page('/people'),
    validateSearch: schemas.peopleSearch,
    component: lazyPage(() => import('@/features/accounts/PeoplePage'), 'PeoplePage'),
  }),
  createRoute({
    ...page('/people/$userId'),
    component: lazyPage(() => import('@/features/accounts/PersonPage'), 'PersonPage'),
  }),
  createRoute({
    ...page('/audit'),
    validateSearch: schemas.auditSearch,
    component: lazyPage(() => import('@/features/audit/AuditPage'), 'AuditPage'),
  }),
  createRoute({
    ...page('/settings'),
    component: lazyPage(() => import('@/features/accounts/SettingsPage'), 'SettingsPage'),
  }),
  createRoute({
    ...page('/settings/archive'),
    component: lazyPage(() => import('@/features/ingest/ArchivePage'), 'ArchivePage'),
  }),
  createRoute({
    ...page('/settings/de-identification'),
    component: lazyPage(() => import('@/features/ingest/ProfilePage'), 'ProfilePage'),
  }),
  createRoute({
    ...page('/settings/nodes'),
    component: lazyPage(() => import('@/features/ingest/NodesPage'), 'NodesPage'),
  }),
  createRoute({
    ...page('/settings/fields'),
    component: lazyPage(() => import('@/features/records/FieldsPage'), 'FieldsPage'),
  }),
  createRoute({ ...page('$'), component: PageMissing }),
] as const;

const routeTree = rootRoute.addChildren([signInRoute, shellRoute.addChildren(pages)]);

export function createAppRouter(client: QueryClient) {
  return createRouter({
    routeTree,
    context: { client },
    parseSearch,
    stringifySearch,
    defaultPreload: 'intent',
    scrollRestoration: true,
    defaultErrorComponent: PageFailure,
    defaultNotFoundComponent: PageMissing,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
