// SPDX-License-Identifier: Apache-2.0
import { Popover } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBrightness, IconEvidence, IconKeyboard, IconMaximize, IconRefresh } from '@/components/icons';
import { LightSlider } from '@/components/LightSlider';
import type { Light } from '@/viewer/imageCanvas';
import classes from './ReadingRoom.module.css';
import { Tool } from './Tool';

type Props = {
  evidence: boolean;
  light: Light;
  onEvidence: (byPointer: boolean) => void;
  onLight: (light: Light) => void;
  onFit: () => void;
  onReset: () => void;
  onKeys: () => void;
};

export function Toolbar({ evidence, light, onEvidence, onLight, onFit, onReset, onKeys }: Props) {
  const [open, menu] = useDisclosure(false);
  return (
    <div className={classes.tools} role="toolbar" aria-label="Image">
      <Tool
        name="Evidence map"
        words="Evidence"
        letter="H"
        icon={<IconEvidence size={18} />}
        pressed={evidence}
        onClick={(event) => onEvidence(event.detail > 0)}
      />
      <Popover opened={open} onChange={menu.toggle} position="top-start" trapFocus>
        <Popover.Target>
          <Tool
            name="Brightness and contrast"
            words="Light"
            letter="B C"
            icon={<IconBrightness size={18} />}
            on={light.brightness !== 1 || light.contrast !== 1}
            onClick={menu.toggle}
          />
        </Popover.Target>
        <Popover.Dropdown w={240} aria-label="Brightness and contrast">
          <div className={classes.light}>
            <LightSlider
              name="Brightness"
              value={light.brightness}
              onChange={(brightness) => onLight({ ...light, brightness })}
            />
            <LightSlider
              name="Contrast"
              value={light.contrast}
              onChange={(contrast) => onLight({ ...light, contrast })}
            />
          </div>
        </Popover.Dropdown>
      </Popover>
      <Tool name="Fit the image" words="Fit" icon={<IconMaximize size={18} />} onClick={onFit} />
      <Tool name="Reset light and view" words="Reset" letter="R" icon={<IconRefresh size={18} />} onClick={onReset} />
      <span className={classes.gap} />
      <Tool name="Show the keys" words="Keys" letter="?" icon={<IconKeyboard size={18} />} onClick={onKeys} />
    </div>
  );
}
