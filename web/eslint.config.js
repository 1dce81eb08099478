// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/** The layers of src, from top to bottom: a file imports only from its own layer and from those below it. */
const LAYERS = ['routes', 'features', 'components', 'viewer', 'api', 'lib'];

const FEATURES = readdirSync(`${import.meta.dirname}/src/features`);

const restrict = (files, patterns) => ({
  files,
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

const layerRules = LAYERS.slice(1).map((layer, index) =>
  restrict(
    [`src/${layer}/**`],
    [
      {
        regex: `^(@|\\.\\.(/\\.\\.)*)/(${LAYERS.slice(0, index + 1).join('|')})/`,
        message: `Files of ${layer} import only from ${LAYERS.slice(index + 1).join(', ')}.`,
      },
    ],
  ),
);

const featureRules = FEATURES.map((feature) =>
  restrict(
    [`src/features/${feature}/**`],
    [
      { regex: '^(@|\\.\\.(/\\.\\.)*)/routes/', message: 'Features do not import routes.' },
      {
        regex: `^(@/features|\\.\\.(/\\.\\.)*)/(${FEATURES.filter((other) => other !== feature).join('|')})/`,
        message: 'Features do not import each other. Move what they share to components, api or lib.',
      },
    ],
  ),
);

export default defineConfig(
  { ignores: ['dist', 'src/api/schema.d.ts'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, reactHooks.configs.flat.recommended],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // No compiler memoizes here, so its limits do not matter.
      'react-hooks/incompatible-library': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/only-throw-error': [
        'error',
        { allow: [{ from: 'package', package: '@tanstack/router-core', name: 'Redirect' }] },
      ],
    },
  },
  ...layerRules,
  restrict(
    ['src/viewer/**'],
    [
      { regex: `^(@|\\.\\.)/(${LAYERS.slice(0, 3).join('|')})/`, message: 'The viewer imports only from api and lib.' },
      { regex: '^(react|@mantine|@tanstack)', message: 'The viewer knows no React.' },
    ],
  ),
  ...featureRules,
);
