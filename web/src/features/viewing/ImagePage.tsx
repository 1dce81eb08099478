// SPDX-License-Identifier: Apache-2.0
import { Button, Menu, Slider, Switch } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useRef, useState } from 'react';
import { viewing } from '@/api/calls';
import { useSession } from '@/api/session';
import { CopyableCode } from '@/components/CopyableCode';
import { DetailList } from '@/components/DetailList';
import { HistoryList } from '@/components/HistoryList';
import { AppLink } from '@/components/AppLink';
import { IconDots, IconDownload, IconMaximize, IconTrash, IconWorklist } from '@/components/icons';
import { ImageViewer, type ViewerHandle } from '@/components/ImageViewer';
import { contentKindName } from '@/components/contentKinds';
import { LightSlider } from '@/components/LightSlider';
import { StatusMark } from '@/components/StatusMark';
import { notifySuccess } from '@/components/notify';
import { Columns, Page, Panel } from '@/components/Page';
import { Probabilities, UncertainNotice } from '@/components/Probabilities';
import { TimeAgo } from '@/components/TimeAgo';
import { ConfirmDialog } from '@/components/ConfirmDialog';
import { bytes, probability } from '@/lib/format';
import type { Light } from '@/viewer/imageCanvas';
import { ContentPanel, Segments } from './ContentPanels';
import { ManifestPanel } from './ManifestPanel';
import classes from './viewing.module.css';

export function ImagePage() {
  const { imageId } = useParams({ from: '/shell/images/$imageId' });
  const { data: image } = useSuspenseQuery({
    queryKey: ['images', 'one', imageId],
    queryFn: ({ signal }) => viewing.image(imageId, signal),
    refetchInterval: (query) => (query.state.data?.state === 'waiting' ? 1_000 : false),
  });
  const { can, labelName } = useSession();
  const navigate = useNavigate();
  const client = useQueryClient();
  const stage = useRef<ViewerHandle>(null);
  const [evidence, setEvidence] = useState({ shown: false, opacity: 0.5 });
  const [brightness, setBrightness] = useState(1);
  const [contrast, setContrast] = useState(1);
  const [frame, setFrame] = useState(0);
  const [deleting, remove] = useDisclosure(false);
  const light = useMemo<Light>(() => ({ brightness, contrast }), [brightness, contrast]);
  const { prediction, verdict } = image;
  const name = `${contentKindName(image.shown_as)} ${image.number}`;
  const framed = image.frames > 0;

  return (
    <Page
      title={`${name} of ${image.patient_code}`}
      heading={
        <>
          {name} of <code>{image.patient_code}</code>
        </>
      }
      trail={[
        { to: '/images', title: 'Images' },
        { to: `/patients/${image.patient_id}`, title: image.patient_code },
      ]}
      actions={
        <>
          {can('verdict.give') && image.case_id && !image.case?.signed && (
            <Button
              component={AppLink}
              to={`/worklist?case_id=${image.case_id}&image=${image.id}`}
              leftSection={<IconWorklist size={18} />}
            >
              Read image
            </Button>
          )}
          {image.case_id && (
            <Button component={AppLink} to={`/cases/${image.case_id}`} variant="default">
              Open case
            </Button>
          )}
          <Button
            component="a"
            href={viewing.originalUrl(image.id)}
            download
            variant="default"
            leftSection={<IconDownload size={18} />}
          >
            Original
          </Button>
          {can('image.delete') && (
            <Menu position="bottom-end">
              <Menu.Target>
                <Button variant="default" px={10} aria-label="More actions">
                  <IconDots />
                </Button>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item leftSection={<IconTrash size={18} />} onClick={remove.open}>
                  Delete image
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          )}
        </>
      }
    >
      <Columns
        left={
          !framed ? (
            <ContentPanel image={image} />
          ) : (
            <Panel>
              <div className={classes.stage}>
                <ImageViewer
                  handle={stage}
                  image={{
                    id: image.id,
                    width: image.width,
                    height: image.height,
                    unreadable: image.state === 'unreadable',
                    evidence: prediction?.evidence ?? false,
                  }}
                  frame={frame}
                  label={`${name} of patient ${image.patient_code}`}
                  light={light}
                  evidence={evidence}
                />
              </div>
              <div className={classes.controls}>
                <Button
                  variant="default"
                  size="sm"
                  leftSection={<IconMaximize size={16} />}
                  onClick={() => stage.current?.fit()}
                >
                  Fit
                </Button>
                {prediction?.evidence && (
                  <>
                    <Switch
                      label="Heat map: what the classifier looked at, not a diagnosis"
                      checked={evidence.shown}
                      onChange={(event) => setEvidence({ ...evidence, shown: event.currentTarget.checked })}
                    />
                    {evidence.shown && (
                      <Slider
                        className={classes.opacity}
                        min={0}
                        max={1}
                        step={0.05}
                        value={evidence.opacity}
                        onChange={(opacity) => setEvidence({ ...evidence, opacity })}
                        label={(value) => `${Math.round(value * 100)} %`}
                        thumbLabel="Opacity of the heat map"
                      />
                    )}
                  </>
                )}
                <LightSlider name="Brightness" value={brightness} onChange={setBrightness} />
                <LightSlider name="Contrast" value={contrast} onChange={setContrast} />
                {image.frames > 1 && (
                  <div className={classes.opacity}>
                    <span className={classes.muted}>
                      Frame {frame + 1} of {image.frames}
                    </span>
                    <Slider
                      min={0}
                      max={image.frames - 1}
                      value={frame}
                      onChange={setFrame}
                      label={(value) => value + 1}
                      thumbLabel="Frame"
                    />
                  </div>
                )}
              </div>
              {image.shown_as === 'segmentation' && <Segments image={image} frame={frame} />}
            </Panel>
          )
        }
        right={
          <>
            {image.shown_as === 'image' && (
              <Panel title="Results">
                <div className={classes.says}>
                  <StatusMark image={image} />
                  {verdict && (
                    <div>
                      <div className={classes.label}>{labelName(verdict.label)}</div>
                      {verdict.note && <q>{verdict.note}</q>}
                      <p className={classes.muted}>
                        {verdict.by}, <TimeAgo at={verdict.at} />
                      </p>
                    </div>
                  )}
                  {prediction ? (
                    <>
                      {prediction.uncertain ? (
                        <UncertainNotice prediction={prediction} noteNeeded={!verdict} />
                      ) : (
                        <div>
                          <span className={classes.muted}>Prediction</span>
                          <div className={classes.label}>
                            {labelName(prediction.label)} {probability(prediction.probabilities[prediction.label] ?? 0)}
                          </div>
                        </div>
                      )}
                      <Probabilities prediction={prediction} />
                      <p className={classes.muted}>
                        The vertical line is the threshold of the pathway: {probability(prediction.threshold)}.
                      </p>
                    </>
                  ) : (
                    <p className={classes.muted}>
                      {image.state === 'unreadable' ? 'The classifier could not read this file.' : 'No prediction yet.'}
                    </p>
                  )}
                </div>
              </Panel>
            )}
            <Panel title="Details">
              <DetailList
                details={[
                  ['Kind', image.kind === 'dicom' ? `DICOM, ${image.modality}` : 'Photograph'],
                  image.shown_as !== 'image' && ['Shown as', contentKindName(image.shown_as)],
                  framed && ['Pixels', `${image.width} × ${image.height}`],
                  image.frames > 1 && ['Frames', image.frames],
                  ['Size', bytes(image.size_bytes)],
                  ['Uploaded', <TimeAgo key="at" at={image.created_at} />],
                  prediction && ['Classifier', `${prediction.classifier} ${prediction.version}`],
                  prediction && [
                    'Classifier digest',
                    <CopyableCode key="digest" value={prediction.digest} label="the digest" maxLength={16} />,
                  ],
                  prediction && ['Duration', `${Math.round(prediction.milliseconds)} ms`],
                ]}
              />
            </Panel>
            <ManifestPanel imageId={image.id} pictured={framed} />
            <Panel title="History">
              <HistoryList entries={image.history} />
            </Panel>
          </>
        }
      />
      <ConfirmDialog
        opened={deleting}
        onClose={remove.close}
        title={`Delete ${name.toLowerCase()} of ${image.patient_code}`}
        code={image.patient_code}
        codeName="patient code"
        confirmLabel="Delete image"
        consequence="The image, its prediction and its verdict are deleted. This cannot be undone. Images of a signed case cannot be deleted."
        onConfirm={async () => {
          await viewing.deleteImage(image.id);
          await navigate({ to: '/patients/$patientId', params: { patientId: image.patient_id } });
          client.removeQueries({ queryKey: ['images', 'one', image.id] });
          await client.invalidateQueries();
          notifySuccess(`Image ${image.number} of ${image.patient_code} is deleted`);
        }}
      />
    </Page>
  );
}
