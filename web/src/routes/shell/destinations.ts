// SPDX-License-Identifier: Apache-2.0
// The entries of the navigation, and the action that a person needs for each.
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
import type { Action } from '@/api/types';

export type Destination = { to: string; title: string; icon: ComponentType<IconProps>; action: Action | null };

export const DESTINATIONS: readonly Destination[] = [
  { to: '/', title: 'Dashboard', icon: IconDashboard, action: 'dashboard.read' },
  { to: '/worklist', title: 'Worklist', icon: IconWorklist, action: 'verdict.give' },
  { to: '/patients', title: 'Patients', icon: IconPatients, action: 'patient.read' },
  { to: '/upload', title: 'Upload', icon: IconUpload, action: 'image.upload' },
  { to: '/images', title: 'Images', icon: IconImages, action: 'image.read' },
  { to: '/cases', title: 'Cases', icon: IconCases, action: 'case.read' },
  { to: '/reports', title: 'Reports', icon: IconReports, action: 'report.read' },
  { to: '/quarantine', title: 'Quarantine', icon: IconQuarantine, action: 'arrival.read' },
  { to: '/classifiers', title: 'Classifiers', icon: IconClassifiers, action: 'classifier.read' },
  { to: '/training', title: 'Training', icon: IconTraining, action: 'training.run' },
  { to: '/exports', title: 'Exports', icon: IconExport, action: 'export.create' },
  { to: '/people', title: 'People', icon: IconPeople, action: 'user.read' },
  { to: '/audit', title: 'Audit', icon: IconAudit, action: 'audit.read' },
  { to: '/settings', title: 'Settings', icon: IconSettings, action: null },
];
