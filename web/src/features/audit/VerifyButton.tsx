// SPDX-License-Identifier: Apache-2.0
import { Button, Modal } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { audit } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { Badge } from '@/components/Badge';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { Notice } from '@/components/Notice';
import { count } from '@/lib/format';

/** Checks the hash chain of the audit log, and shows which entry is wrong, if any. */
export function VerifyButton() {
  const check = useMutation({ mutationFn: audit.verification });
  const result = check.data;
  return (
    <>
      <Button variant="default" loading={check.isPending} onClick={() => check.mutate()}>
        Verify
      </Button>
      <Modal
        opened={result !== undefined || check.error !== null}
        onClose={() => check.reset()}
        title="Verification of the audit log"
      >
        {check.error && (
          <Notice tone="red" title="The audit log was not verified">
            {asProblem(check.error).message}
          </Notice>
        )}
        {result && !result.intact && (
          <Notice
            tone="red"
            title={
              result.broken_at === null ? 'The audit log was changed' : `Entry ${count(result.broken_at)} is not valid`
            }
          >
            {result.reason} Tell the operator of this server, and keep its backups.
          </Notice>
        )}
        {result && (
          <DetailList
            details={[
              [
                'Result',
                <Badge key="result" tone={result.intact ? 'green' : 'red'}>
                  {result.intact ? 'Intact' : 'Not intact'}
                </Badge>,
              ],
              ['Entries checked', count(result.entries)],
              [
                'Signed with the key of this server',
                result.keyed_from === null ? 'No entries' : `From entry ${count(result.keyed_from)} on`,
              ],
              ['Last hash', <CopyableCode key="hash" value={result.last_hash} label="the last hash" />],
            ]}
          />
        )}
      </Modal>
    </>
  );
}
