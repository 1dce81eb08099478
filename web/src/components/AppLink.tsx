// SPDX-License-Identifier: Apache-2.0
import { Link } from '@tanstack/react-router';
import type { AnchorHTMLAttributes, Ref } from 'react';
import { parseSearch } from '@/lib/searchParams';

type Props = Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href'> & { to: string; ref?: Ref<HTMLAnchorElement> };

/** A link to an address of this app given whole, "/images?patient_id=…" say; the router takes path and search apart. */
export function AppLink({ to, ...rest }: Props) {
  const [path = '/', search = ''] = to.split('?', 2);
  return <Link to={path} search={parseSearch(search)} {...rest} />;
}
