// SPDX-License-Identifier: Apache-2.0
import { lazyRouteComponent, type AsyncRouteComponent } from '@tanstack/react-router';
import { networkProblem, olderBuildProblem } from '@/api/problem';
import { isReachable } from '@/api/reload';

/**
 * A page whose code is loaded when it is first visited. Where that fails, either the network is down or the server has
 * a newer build than this page. Both are said in words; nothing is reloaded by itself, for someone may be typing.
 */
export function lazyPage<M extends Record<string, unknown>, K extends keyof M & string>(
  load: () => Promise<M>,
  name: K,
) {
  const importer = async (): Promise<M> => {
    try {
      return await load();
    } catch {
      throw (await isReachable()) ? olderBuildProblem() : networkProblem();
    }
  };
  return lazyRouteComponent(importer as never, name as never) as AsyncRouteComponent<object>;
}
