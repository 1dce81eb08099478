// SPDX-License-Identifier: Apache-2.0
// Neutral grays, one deep teal, meaning in four colors. The shades are those that pass the contrast checks in both schemes.
import { createTheme, type MantineColorsTuple } from '@mantine/core';

const teal: MantineColorsTuple = [
  '#e9f6f5',
  '#d3eae8',
  '#a6d5d2',
  '#77c0bc',
  '#4fadaa',
  '#36a09e',
  '#239492',
  '#12807f',
  '#0b6b6c',
  '#075456',
];

const gray: MantineColorsTuple = [
  '#f7f8f8',
  '#eff1f1',
  '#e3e6e6',
  '#d3d7d8',
  '#b9bfc0',
  '#91999b',
  '#6c7476',
  '#4f5658',
  '#363c3e',
  '#202526',
];

const dark: MantineColorsTuple = [
  '#dfe3e4',
  '#bfc6c8',
  '#a2abae',
  '#70797c',
  '#3d4446',
  '#2d3335',
  '#22282a',
  '#191e1f',
  '#131718',
  '#0d1011',
];

// The header of a dialog is a <header>; it must not pass for a second banner of the page.
const DIALOG_PARTS = { header: { role: 'presentation' } };

// No lighter than the labels below it.
const DIALOG_TITLE = { fontWeight: 600, fontSize: '1.0625rem' } as const;

const LISTBOX = { maxHeight: 280, overflowY: 'auto' } as const;

export const theme = createTheme({
  colors: { teal, gray, dark },
  primaryColor: 'teal',
  primaryShade: { light: 8, dark: 8 },
  autoContrast: true,
  defaultRadius: 8,
  cursorType: 'pointer',
  respectReducedMotion: true,
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'Cascadia Mono', 'JetBrains Mono', Menlo, 'DejaVu Sans Mono', monospace",
  headings: {
    fontWeight: '600',
    sizes: { h1: { fontSize: '1.5rem', lineHeight: '1.3' }, h2: { fontSize: '1.0625rem' } },
  },
  components: {
    Modal: {
      styles: { title: DIALOG_TITLE },
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        attributes: DIALOG_PARTS,
        centered: true,
        transitionProps: { duration: 120 },
        overlayProps: { backgroundOpacity: 0.5 },
      },
    },
    Drawer: {
      styles: { title: DIALOG_TITLE },
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        attributes: DIALOG_PARTS,
        transitionProps: { duration: 120 },
      },
    },
    Anchor: { defaultProps: { c: 'var(--mantine-color-text)', underline: 'always' } },
    Menu: { defaultProps: { withInitialFocusPlaceholder: false, transitionProps: { duration: 100 } } },
    Popover: { defaultProps: { transitionProps: { duration: 100 } } },
    Tooltip: {
      defaultProps: {
        transitionProps: { duration: 100 },
        openDelay: 300,
        events: { hover: true, focus: true, touch: false },
      },
    },
    Portal: { defaultProps: { target: '#overlays' } },
    // The list itself scrolls: it is what the field controls, and so needs no focus of its own.
    TagsInput: { defaultProps: { withScrollArea: false }, styles: { options: LISTBOX } },
    Select: {
      styles: { options: LISTBOX },
      defaultProps: {
        withScrollArea: false,
        allowDeselect: false,
        comboboxProps: { transitionProps: { duration: 100 } },
      },
    },
  },
});
