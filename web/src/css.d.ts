// SPDX-License-Identifier: Apache-2.0
import 'react';

declare module 'react' {
  /** Custom properties of CSS may be set by the style attribute. */
  interface CSSProperties {
    [property: `--${string}`]: string | number | undefined;
  }
}
