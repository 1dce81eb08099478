// SPDX-License-Identifier: Apache-2.0
import { Button, Modal } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { ingest } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { Panel } from '@/components/Page';
import { Table } from '@/components/Table';
import { TimeAgo } from '@/components/TimeAgo';
import classes from './viewing.module.css';

const PIXEL_CHECKS: Record<string, string> = {
  program: 'checked automatically',
  person: 'checked by a person',
  no: 'not checked',
};

/** What was done to an image before it was first written; never a value of what was received. */
export function ManifestPanel({ imageId, pictured = true }: { imageId: string; pictured?: boolean }) {
  const [opened, { open, close }] = useDisclosure(false);
  const { data: manifest, error } = useQuery({
    queryKey: ['images', 'manifest', imageId],
    queryFn: ({ signal }) => ingest.manifest(imageId, signal),
    retry: false,
    staleTime: Infinity,
  });
  return (
    <Panel title="De-identification">
      {error && <p className={classes.muted}>{asProblem(error).detail}</p>}
      {manifest && (
        <>
          <DetailList
            details={[
              ['Profile', `${manifest.profile} ${manifest.profile_version}`],
              [
                'Profile digest',
                <CopyableCode key="digest" value={manifest.profile_digest} label="the digest" maxLength={12} />,
              ],
              ['Engine', manifest.engine],
              [
                'Pixels',
                pictured || manifest.looked_through === 'person' ? PIXEL_CHECKS[manifest.looked_through] : 'none',
              ],
              [
                'Text in the image',
                `${manifest.boxes.length} blackened${manifest.kept.length > 0 ? `, ${manifest.kept.length} allowed` : ''}`,
              ],
              ['Done', <TimeAgo key="at" at={manifest.created_at} />],
            ]}
          />
          <Button mt={12} size="compact-sm" variant="default" onClick={open}>
            Show {manifest.lines.length === 1 ? '1 change' : `${manifest.lines.length} changes`}
          </Button>
          <Modal opened={opened} onClose={close} title="Changes before storage" size="xl">
            <p className={classes.muted} style={{ marginBlockEnd: 12 }}>
              The table shows no values of the file. DICOM attributes that are not listed were not changed.
            </p>
            <Table
              name="Changed attributes"
              headers={['Attribute', 'Type', 'Action', 'Rule']}
              rows={manifest.lines.map((line) => [
                <span key="name">
                  {line.name} <code>{line.path}</code>
                  {line.count > 1 && ` × ${line.count}`}
                </span>,
                VALUE_KINDS[line.vr] ?? line.vr,
                line.done,
                line.rule,
              ])}
            />
          </Modal>
        </>
      )}
    </Panel>
  );
}

// Value representations of DICOM PS3.5, in words.
const VALUE_KINDS: Record<string, string> = {
  AE: 'name of a device',
  AS: 'age',
  CS: 'code',
  DA: 'date',
  DT: 'date and time',
  LO: 'text',
  LT: 'long text',
  PN: 'name of a person',
  SH: 'short text',
  SQ: 'sequence',
  ST: 'text',
  TM: 'time',
  UC: 'text',
  UI: 'identifier (UID)',
  UN: 'bytes',
  UR: 'address',
  UT: 'long text',
  OB: 'bytes',
  OW: 'bytes',
  DS: 'number',
  IS: 'number',
};
