// SPDX-License-Identifier: Apache-2.0
import { ActionIcon, Menu, Select, Tooltip, useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { accounts } from '@/api/calls';
import { meQuery, useSession } from '@/api/session';
import { IconKey, IconLogout, IconMoon, IconSettings, IconSun, IconUser } from '@/components/icons';
import { notifyProblem } from '@/components/notify';
import { uploadQueue } from '@/components/upload/uploadQueue';
import { clearDrafts } from '@/lib/drafts';
import { roleTitle } from '@/lib/roles';
import { Notices } from './Notices';
import { UploadIndicator } from './UploadIndicator';
import { SearchBox } from './SearchBox';
import classes from './TopBar.module.css';

export function TopBar() {
  return (
    <>
      <ProjectSwitch />
      <SearchBox />
      <UploadIndicator />
      <Notices />
      <ThemeSwitch />
      <MeMenu />
    </>
  );
}

function ProjectSwitch() {
  const { memberships, projectId, selectProject } = useSession();
  if (memberships.length === 0) return null;
  if (memberships.length === 1) {
    return (
      <div className={classes.project} title="Project">
        {memberships[0]?.project}
      </div>
    );
  }
  return (
    <Select
      className={classes.switch}
      size="sm"
      aria-label="Project"
      data={[
        { value: '', label: 'All projects' },
        ...memberships.map((entry) => ({ value: entry.project_id, label: entry.project })),
      ]}
      value={projectId ?? ''}
      onChange={(value) => selectProject(value || undefined)}
    />
  );
}

function ThemeSwitch() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('light');
  const next = scheme === 'dark' ? 'light' : 'dark';
  const words = `Use the ${next} theme`;
  return (
    <Tooltip label={words}>
      <ActionIcon
        className={classes.theme}
        variant="subtle"
        color="gray"
        size="lg"
        aria-label={words}
        onClick={() => setColorScheme(next)}
      >
        {scheme === 'dark' ? <IconSun /> : <IconMoon />}
      </ActionIcon>
    </Tooltip>
  );
}

function MeMenu() {
  const { me, roles } = useSession();
  const navigate = useNavigate();
  const client = useQueryClient();

  const signOut = async () => {
    try {
      await accounts.signOut();
    } catch (error) {
      notifyProblem(error, 'Sign-out failed');
      return;
    }
    client.clear();
    clearDrafts();
    uploadQueue.reset();
    client.setQueryData(meQuery.queryKey, null);
    await navigate({ to: '/sign-in', search: {} });
  };

  return (
    <Menu position="bottom-end" width={240}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={`Account: ${me.user.name}`}>
          <IconUser />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <div className={classes.me}>
          <div className={classes.name}>{me.user.name}</div>
          <div className={classes.role}>{roles.map((role) => roleTitle(role)).join(', ')}</div>
          <div className={classes.role}>{me.user.email}</div>
        </div>
        <Menu.Divider />
        <Menu.Item leftSection={<IconSettings size={18} />} onClick={() => void navigate({ to: '/settings' })}>
          Settings
        </Menu.Item>
        <Menu.Item
          leftSection={<IconKey size={18} />}
          onClick={() => void navigate({ to: '/settings', hash: 'password' })}
        >
          Change password
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={18} />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
