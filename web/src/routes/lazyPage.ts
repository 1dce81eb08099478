// SPDX-License-Identifier: Apache-2.0
import { lazyRouteComponent } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { networkProblem, olderBuildProblem } from '@/api/problem';
import { isReachable } from '@/api/reload';

/**
 * A page whose code is loaded on the first visit. If loading fails, either the network is down or the server has a newer
 * build than this page. The page shows which; it does not reload by itself, because the user may have unsaved text.
 */
export function lazyPage<Name extends string>(load: () => Promise<Record<Name, () => ReactNode>>, name: Name) {
  return lazyRouteComponent(async () => {
    try {
      return { default: (await load())[name] };
    } catch {
      throw (await isReachable()) ? olderBuildProblem() : networkProblem();
    }
  });
}
