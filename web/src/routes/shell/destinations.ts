// SPDX-License-Identifier: Apache-2.0
// Where the left bar leads, and who finds it there.
import type { ComponentType } from 'react';
import {
  IconAudit,
  IconCases,
  IconClassifiers,
  IconDashboard,
  IconExport,
  IconImages,
  IconPatients,
  IconPeople,
  IconQuarantine,
  IconReports,
  IconSettings,
  IconTraining,
  IconUpload,
  IconWorklist,
  type IconProps,
} from '@/components/icons';
import type { Ability } from '@/lib/roles';

export type Destination = { to: string; title: string; icon: ComponentType<IconProps>; ability: Ability | null };

export const DESTINATIONS: readonly Destination[] = [
  { to: '/', title: 'Dashboard', icon: IconDashboard, ability: 'dashboard' },
  { to: '/worklist', title: 'Worklist', icon: IconWorklist, ability: 'give-verdicts' },
  { to: '/patients', title: 'Patients', icon: IconPatients, ability: 'read-records' },
  { to: '/upload', title: 'Upload', icon: IconUpload, ability: 'upload' },
  { to: '/images', title: 'Images', icon: IconImages, ability: 'read-records' },
  { to: '/cases', title: 'Cases', icon: IconCases, ability: 'read-records' },
  { to: '/reports', title: 'Reports', icon: IconReports, ability: 'read-records' },
  { to: '/quarantine', title: 'Quarantine', icon: IconQuarantine, ability: 'read-quarantine' },
  { to: '/classifiers', title: 'Classifiers', icon: IconClassifiers, ability: 'read-records' },
  { to: '/training', title: 'Training', icon: IconTraining, ability: 'train' },
  { to: '/exports', title: 'Exports', icon: IconExport, ability: 'export' },
  { to: '/people', title: 'People', icon: IconPeople, ability: 'manage-people' },
  { to: '/audit', title: 'Audit', icon: IconAudit, ability: 'read-audit' },
  { to: '/settings', title: 'Settings', icon: IconSettings, ability: null },
];
