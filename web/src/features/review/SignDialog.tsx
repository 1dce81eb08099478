// SPDX-License-Identifier: Apache-2.0
import { Button, Checkbox, List, Modal, Textarea } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState, type KeyboardEvent } from 'react';
import { review } from '@/api/calls';
import { asProblem } from '@/api/problem';
import { caseQuery } from '@/api/queries';
import { useSession } from '@/api/session';
import type { Case, ImageRow } from '@/api/types';
import { IconSign } from '@/components/icons';
import { Notice } from '@/components/Notice';
import { readDraft, writeDraft } from '@/lib/drafts';
import { plural } from '@/lib/format';
import classes from './SignDialog.module.css';

type Props = {
  caseId: string | null;
  opened: boolean;
  onClose: () => void;
  onSigned: (signed: Case) => void;
  /** The images as the page shows them, so that verdicts of others since then are named. */
  shown?: readonly ImageRow[];
};

const NOTHING_SHOWN: readonly ImageRow[] = [];

export function SignDialog({ caseId, opened, onClose, onSigned, shown = NOTHING_SHOWN }: Props) {
  const client = useQueryClient();
  const { me, labelName } = useSession();
  const draftKey = `conclusion.${me.user.id}.${caseId ?? ''}`;
  const [typed, setTyped] = useState<{ key: string; text: string } | null>(null);
  const conclusion = typed?.key === draftKey ? typed.text : (readDraft(draftKey) ?? '');
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [accepted, setAccepted] = useState(false);
  const { data: reviewCase, error: failed } = useQuery({
    ...caseQuery(caseId ?? ''),
    enabled: opened && caseId !== null,
    staleTime: 0,
  });

  const close = () => {
    setError(null);
    setAccepted(false);
    onClose();
  };

  const sign = async () => {
    if (!caseId || !reviewCase) return;
    setBusy(true);
    setError(null);
    try {
      const signed = await review.sign(caseId, conclusion.trim(), reviewCase.etag, accepted);
      setTyped(null);
      writeDraft(draftKey, null);
      await client.invalidateQueries({ predicate: (query) => !['me', 'reading'].includes(String(query.queryKey[0])) });
      close();
      onSigned(signed);
    } catch (refused) {
      setError(refused);
      if (asProblem(refused).isStale) await client.invalidateQueries({ queryKey: ['cases', 'one', caseId] });
    } finally {
      setBusy(false);
    }
  };

  const problem = error || failed ? asProblem(error ?? failed) : null;
  const verdicts = (reviewCase?.images_list ?? []).flatMap((image) => (image.verdict ? [image.verdict] : []));
  const agreed = verdicts.filter((verdict) => verdict.agrees).length;
  const tags = new Map(shown.map((image) => [image.id, image.etag]));
  const changed = (reviewCase?.images_list ?? []).filter(
    (image) => tags.has(image.id) && tags.get(image.id) !== image.etag,
  );
  const ready = reviewCase !== undefined && reviewCase.allowed.sign && reviewCase.blockers.length === 0;

  // Enter or Space alone never signs; with Ctrl (or Command) Enter does, where the button has the focus.
  const onKey = (event: KeyboardEvent<HTMLButtonElement>) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    const signs = event.type === 'keydown' && event.key === 'Enter' && (event.ctrlKey || event.metaKey);
    if (signs && !event.repeat && !busy) void sign();
  };

  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    if (opened && ready) field.current?.focus();
  }, [opened, ready]);

  return (
    <Modal
      opened={opened}
      onClose={close}
      title={reviewCase ? `Sign case of ${reviewCase.patient_code}` : 'Sign case'}
      size="lg"
    >
      <div className={classes.body}>
        {reviewCase && (
          <p className={classes.facts}>
            {plural(reviewCase.images, 'image')}: {agreed} confirmed, {verdicts.length - agreed} corrected
            {reviewCase.images > verdicts.length && `, ${reviewCase.images - verdicts.length} without a verdict`}.
          </p>
        )}
        {changed.length > 0 && (
          <Notice tone="red" title="Verdicts have changed since you read the images">
            <List size="sm">
              {changed.map((image) => (
                <List.Item key={image.id}>
                  Image {image.number}:{' '}
                  {image.verdict ? `${labelName(image.verdict.label)}, by ${image.verdict.by}` : 'no verdict'}
                </List.Item>
              ))}
            </List>
          </Notice>
        )}
        {reviewCase && reviewCase.blockers.length > 0 && (
          <Notice title="Not ready to sign">
            <List size="sm">
              {reviewCase.blockers.map((blocker) => (
                <List.Item key={blocker}>{blocker}</List.Item>
              ))}
            </List>
          </Notice>
        )}
        {reviewCase && reviewCase.blockers.length === 0 && !reviewCase.allowed.sign && (
          <Notice title={reviewCase.signed_at ? 'This case is signed' : 'Your role cannot sign in this stage'}>
            {reviewCase.signed_at
              ? `By ${reviewCase.signed_by}. A correction creates a new version.`
              : 'The pathway defines who signs.'}
          </Notice>
        )}
        {ready && (
          <>
            <Textarea
              ref={field}
              label="Conclusion"
              description="Optional. Printed first in the report."
              autosize
              minRows={3}
              maxRows={12}
              maxLength={4000}
              dir="auto"
              data-autofocus
              value={conclusion}
              onChange={(event) => {
                setTyped({ key: draftKey, text: event.currentTarget.value });
                writeDraft(draftKey, event.currentTarget.value);
                setAccepted(false);
              }}
            />
            <p className={classes.facts}>
              A signed case does not change. A later correction is a new version that refers to this one.
            </p>
          </>
        )}
        {problem && (
          <Notice tone="red" title={problem.title}>
            <div>{problem.detail}</div>
            {problem.unprintable.length > 0 && (
              <List size="sm">
                {problem.unprintable.map((entry) => (
                  <List.Item key={entry.where}>
                    {entry.where}
                    {entry.characters.length > 0 &&
                      `: ${entry.characters.map((sign) => `${sign.character} (${sign.code}, ${sign.name})`).join('; ')}`}
                  </List.Item>
                ))}
              </List>
            )}
            {problem.acceptable && (
              <Checkbox
                mt="sm"
                label="Print the codes of these characters instead"
                checked={accepted}
                onChange={(event) => {
                  setAccepted(event.currentTarget.checked);
                }}
              />
            )}
          </Notice>
        )}
        <div className={classes.buttons}>
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button
            leftSection={<IconSign size={18} />}
            disabled={!ready}
            loading={busy}
            rightSection={<kbd className={classes.key}>Ctrl Enter</kbd>}
            aria-keyshortcuts="Control+Enter"
            onClick={() => void sign()}
            onKeyDown={onKey}
            onKeyUp={onKey}
          >
            Sign case
          </Button>
        </div>
      </div>
    </Modal>
  );
}
