// SPDX-License-Identifier: Apache-2.0
import { Button, NumberInput } from '@mantine/core';
import { useState, type SubmitEvent } from 'react';
import { training } from '@/api/calls';
import { asProblem, type Problem } from '@/api/problem';
import { useSession } from '@/api/session';
import type { Limits, PathwayClassifiers } from '@/api/types';
import { Notice } from '@/components/Notice';
import { notifySuccess } from '@/components/notify';
import { Panel } from '@/components/Page';
import { TimeAgo } from '@/components/TimeAgo';
import { plural, share } from '@/lib/format';
import classes from './training.module.css';

import { useRefresh } from './useRefresh';

const DEFAULTS: Limits = { margin: 0.01, ece: 0.05, abstention: 0.2, images: 100 };

export function LimitsPanel({ state }: { state: PathwayClassifiers }) {
  const { can } = useSession();
  const refresh = useRefresh();
  const [limits, setLimits] = useState<Limits>(() => ({
    margin: state.limits?.margin ?? DEFAULTS.margin,
    ece: state.limits?.ece ?? DEFAULTS.ece,
    abstention: state.limits?.abstention ?? DEFAULTS.abstention,
    images: state.limits?.images ?? DEFAULTS.images,
  }));
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const mayChange = can('promotion.decide');
  if (!mayChange && !state.limits) return null;

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await training.setLimits(state, limits);
      await refresh();
      notifySuccess('Limits saved');
    } catch (error) {
      setProblem(asProblem(error));
    } finally {
      setBusy(false);
    }
  };
  const percent = (name: 'margin' | 'abstention', label: string, max: number) => (
    <NumberInput
      label={label}
      suffix=" %"
      min={0}
      max={max}
      step={1}
      decimalScale={1}
      disabled={!mayChange}
      value={Math.round(limits[name] * 1000) / 10}
      onChange={(value) => setLimits({ ...limits, [name]: (Number(value) || 0) / 100 })}
    />
  );
  return (
    <Panel title="Promotion limits">
      <form onSubmit={(event) => void submit(event)} className={classes.reader}>
        <p className={classes.note}>
          {state.limits ? (
            <>
              Set by {state.limits.changed_by}, <TimeAgo at={state.limits.changed_at} />. A request keeps the limits
              that were valid when it was made.
            </>
          ) : (
            'Not set. Set them before a promotion is requested, so that the results cannot influence the limits.'
          )}
        </p>
        <div className={classes.choices}>
          {percent('margin', 'Balanced accuracy below the one in use, at most', 50)}
          <NumberInput
            label="Expected calibration error, at most"
            min={0}
            max={1}
            step={0.01}
            decimalScale={3}
            disabled={!mayChange}
            value={limits.ece}
            onChange={(value) => setLimits({ ...limits, ece: Number(value) || 0 })}
          />
          {percent('abstention', 'Share without a label, at most', 100)}
          <NumberInput
            label="Signed images classified by both, at least"
            min={1}
            step={10}
            allowDecimal={false}
            disabled={!mayChange}
            value={limits.images}
            onChange={(value) => setLimits({ ...limits, images: Number(value) || 1 })}
          />
        </div>
        {limits.images < 100 && (
          <Notice title="Few images">
            With {plural(limits.images, 'image')}, a measured share is uncertain by up to{' '}
            {share(Math.min(0.5, 0.98 / Math.sqrt(limits.images)))} in both directions (95 % interval), more than most
            margins. Require at least 100.
          </Notice>
        )}
        {problem && (
          <Notice tone="red" title={problem.title}>
            {problem.detail}
          </Notice>
        )}
        {mayChange && (
          <div className={classes.buttons}>
            <Button type="submit" variant="default" loading={busy}>
              Save limits
            </Button>
          </div>
        )}
      </form>
    </Panel>
  );
}
