// SPDX-License-Identifier: Apache-2.0
import type { Action, OwnMembership, Pathway } from './types';

/** Actions that a pathway limits further, to the roles of its stages. */
const STAGE_ACTS: Partial<Record<Action, string>> = { 'image.upload': 'upload', 'verdict.give': 'verdict' };

/** Whether a membership permits an action; the server decides, the app only hides what it would refuse. */
export function isPermitted(
  { permissions, role }: OwnMembership,
  action: Action,
  pathways: readonly Pathway[],
): boolean {
  if (!permissions.includes(action)) return false;
  const stageAct = STAGE_ACTS[action];
  if (stageAct === undefined) return true;
  const acts = pathways.flatMap((pathway) => pathway.stages.flatMap((stage) => stage.acts));
  return acts.some(({ act, roles }) => act === stageAct && roles.includes(role));
}
