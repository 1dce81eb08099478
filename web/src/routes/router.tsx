// SPDX-License-Identifier: Apache-2.0
// Every address of the app. Pages are loaded when first visited; the reading room's code never delays the sign-in.
import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from '@tanstack/react-router';
import { meQuery } from '@/api/session';
import { PageFailure, PageMissing } from '@/components/PageFailure';
import { parseSearch, stringifySearch, type Search } from '@/lib/search';
import { SignInPage } from '@/features/accounts/SignInPage';

const rootRoute = createRootRouteWithContext<{ client: QueryClient }>()({
  component: Outlet,
  validateSearch: (search: Record<string, unknown>): Search =>
    Object.fromEntries(Object.entries(search).map(([key, value]) => [key, String(value)])),
});

const signInRoute = createRoute({ getParentRoute: () => rootRoute, path: '/sign-in', component: SignInPage });

const shellRoute = createRoute({
  getParentRoute: () => rootRoute,
  id: 'shell',
  beforeLoad: async ({ context, location }) => {
    const me = await context.client.ensureQueryData(meQuery);
    if (!me) {
      const next = location.href === '/' ? undefined : location.href;
      throw redirect({ to: '/sign-in', search: next ? { next } : {} });
    }
  },
  component: lazyRouteComponent(() => import('./shell/Shell'), 'Shell'),
});

const page = <P extends string>(path: P) => ({ getParentRoute: () => shellRoute, path });

const pages = [
  createRoute({
    ...page('/'),
    component: lazyRouteComponent(() => import('@/features/review/DashboardPage'), 'DashboardPage'),
  }),
  createRoute({
    ...page('/worklist'),
    component: lazyRouteComponent(() => import('@/features/review/reading/ReadingRoom'), 'ReadingRoom'),
  }),
  createRoute({
    ...page('/cases'),
    component: lazyRouteComponent(() => import('@/features/review/CasesPage'), 'CasesPage'),
  }),
  createRoute({
    ...page('/cases/$caseId'),
    component: lazyRouteComponent(() => import('@/features/review/CasePage'), 'CasePage'),
  }),
  createRoute({
    ...page('/patients'),
    component: lazyRouteComponent(() => import('@/features/records/PatientsPage'), 'PatientsPage'),
  }),
  createRoute({
    ...page('/patients/new'),
    component: lazyRouteComponent(() => import('@/features/records/NewPatientPage'), 'NewPatientPage'),
  }),
  createRoute({
    ...page('/patients/$patientId'),
    component: lazyRouteComponent(() => import('@/features/records/PatientPage'), 'PatientPage'),
  }),
  createRoute({
    ...page('/upload'),
    component: lazyRouteComponent(() => import('@/features/ingest/UploadPage'), 'UploadPage'),
  }),
  createRoute({
    ...page('/quarantine'),
    component: lazyRouteComponent(() => import('@/features/ingest/QuarantinePage'), 'QuarantinePage'),
  }),
  createRoute({
    ...page('/images'),
    component: lazyRouteComponent(() => import('@/features/viewing/ImagesPage'), 'ImagesPage'),
  }),
  createRoute({
    ...page('/images/$imageId'),
    component: lazyRouteComponent(() => import('@/features/viewing/ImagePage'), 'ImagePage'),
  }),
  createRoute({
    ...page('/reports'),
    component: lazyRouteComponent(() => import('@/features/reports/ReportsPage'), 'ReportsPage'),
  }),
  createRoute({
    ...page('/classifiers'),
    component: lazyRouteComponent(() => import('@/features/classification/ClassifiersPage'), 'ClassifiersPage'),
  }),
  createRoute({
    ...page('/people'),
    component: lazyRouteComponent(() => import('@/features/accounts/PeoplePage'), 'PeoplePage'),
  }),
  createRoute({
    ...page('/people/$userId'),
    component: lazyRouteComponent(() => import('@/features/accounts/PersonPage'), 'PersonPage'),
  }),
  createRoute({
    ...page('/audit'),
    component: lazyRouteComponent(() => import('@/features/audit/AuditPage'), 'AuditPage'),
  }),
  createRoute({
    ...page('/settings'),
    component: lazyRouteComponent(() => import('@/features/accounts/SettingsPage'), 'SettingsPage'),
  }),
  createRoute({
    ...page('/settings/fields'),
    component: lazyRouteComponent(() => import('@/features/records/FieldsPage'), 'FieldsPage'),
  }),
  createRoute({ ...page('$'), component: PageMissing }),
] as const;

const routeTree = rootRoute.addChildren([signInRoute, shellRoute.addChildren(pages)]);

export function makeRouter(client: QueryClient) {
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
    router: ReturnType<typeof makeRouter>;
  }
}
