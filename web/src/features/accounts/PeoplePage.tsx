// SPDX-License-Identifier: Apache-2.0
import { Button } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { accounts } from '@/api/calls';
import { useSession } from '@/api/session';
import type { User } from '@/api/types';
import { Badge } from '@/components/Badge';
import { IconPeople, IconPlus } from '@/components/icons';
import { ListPage } from '@/components/ListPage';
import { TimeAgo } from '@/components/TimeAgo';
import { ROLE_OPTIONS, roleTitle } from '@/lib/roles';
import { AddPersonDialog } from './AddPersonDialog';

export function PeoplePage() {
  const { projectId } = useSession();
  const [adding, add] = useDisclosure(false);
  const button = (
    <Button leftSection={<IconPlus size={18} />} onClick={add.open}>
      Add person
    </Button>
  );
  return (
    <>
      <ListPage<User>
        name="users"
        title="People"
        actions={button}
        columns={[
          { id: 'name', header: 'Name', sort: 'name', phone: true, cell: (row) => row.name },
          { id: 'email', header: 'E-mail', sort: 'email', cell: (row) => row.email },
          { id: 'roles', header: 'Roles', phone: true, cell: (row) => rolesText(row, projectId) },
          {
            id: 'active',
            header: 'Account',
            phone: true,
            cell: (row) => <Badge tone={row.active ? 'green' : 'gray'}>{row.active ? 'Active' : 'Deactivated'}</Badge>,
          },
          { id: 'seen', header: 'Last seen', sort: 'last_seen_at', cell: (row) => <TimeAgo at={row.last_seen_at} /> },
          { id: 'created', header: 'Added', sort: 'created_at', cell: (row) => <TimeAgo at={row.created_at} /> },
        ]}
        filters={[
          {
            id: 'role',
            label: 'Role',
            options: [...ROLE_OPTIONS],
          },
          {
            id: 'active',
            label: 'Account',
            options: [
              { value: 'true', label: 'Active' },
              { value: 'false', label: 'Deactivated' },
            ],
          },
        ]}
        searchLabel="Search name or e-mail"
        fixed={{ project_id: projectId }}
        defaultSort="name"
        load={accounts.users}
        rowId={(row) => row.id}
        rowName={(row) => row.name}
        rowLink={(row) => `/people/${row.id}`}
        empty={{
          icon: <IconPeople size={32} />,
          title: 'No people yet',
          text: 'Add the people of your laboratory.',
          action: button,
        }}
      />
      <AddPersonDialog opened={adding} onClose={add.close} />
    </>
  );
}

function rolesText(user: User, projectId: string | undefined): string {
  const inScope = projectId ? user.memberships.filter((entry) => entry.project_id === projectId) : user.memberships;
  if (inScope.length === 0) return 'None';
  const many = new Set(inScope.map((entry) => entry.project_id)).size > 1;
  return inScope.map((entry) => `${roleTitle(entry.role)}${many ? ` (${entry.project})` : ''}`).join(', ');
}
