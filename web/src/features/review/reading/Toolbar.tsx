// SPDX-License-Identifier: Apache-2.0
import { Popover } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconBrightness, IconEvidence, IconKeyboard, IconMaximize, IconRefresh } from '@/components/icons';
import { LightSlider } from '@/components/LightSlider';
import type { Light } from '@/viewer/imageCanvas';
import classes from './reading.module.css';
import { ToolbarButton } from './ToolbarButton';

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
      <ToolbarButton
        name="Heat map"
        text="Heat map"
        keyName="H"
        icon={<IconEvidence size={18} />}
        pressed={evidence}
        onClick={(event) => onEvidence(event.detail > 0)}
      />
      <Popover opened={open} onChange={menu.toggle} position="top-start" trapFocus>
        <Popover.Target>
          <ToolbarButton
            name="Brightness and contrast"
            text="Light"
            keyName="B C"
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
      <ToolbarButton name="Fit the image" text="Fit" icon={<IconMaximize size={18} />} onClick={onFit} />
      <ToolbarButton
        name="Reset light and view"
        text="Reset"
        keyName="R"
        icon={<IconRefresh size={18} />}
        onClick={onReset}
      />
      <span className={classes.gap} />
      <ToolbarButton
        name="Show keyboard shortcuts"
        text="Shortcuts"
        keyName="?"
        icon={<IconKeyboard size={18} />}
        onClick={onKeys}
      />
    </div>
  );
}
