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
  program: 'looked through by program',
  person: 'looked through by a person',
  no: 'not looked through: the scanner writes nothing into them',
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
                'Its digest',
                <CopyableCode key="digest" value={manifest.profile_digest} label="the digest" maxLength={12} />,
              ],
              ['Engine', manifest.engine],
              [
                'Pixels',
                pictured || manifest.looked_through === 'person'
                  ? PIXEL_CHECKS[manifest.looked_through]
                  : 'it has none',
              ],
              [
                'Writing',
                `${manifest.boxes.length} made black${manifest.kept.length > 0 ? `, ${manifest.kept.length} harmless left` : ''}`,
              ],
              ['Done', <TimeAgo key="at" at={manifest.created_at} />],
            ]}
          />
          <Button mt={12} size="compact-sm" variant="default" onClick={open}>
            What was done to {manifest.lines.length === 1 ? '1 kind of data' : `${manifest.lines.length} kinds of data`}
          </Button>
          <Modal opened={opened} onClose={close} title="What was done before it was written" size="xl">
            <p className={classes.muted} style={{ marginBlockEnd: 12 }}>
              Nothing here is a value of the file. Of a DICOM file, attributes that are not in this list were passed on
              as they were.
            </p>
            <Table
              name="What was done to each attribute"
              headers={['Attribute', 'What it was', 'What was done', 'By which rule']}
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
