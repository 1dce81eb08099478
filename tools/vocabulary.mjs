// SPDX-License-Identifier: Apache-2.0
// Counts what the code rules limit in the web app: names with words that do not say what is held, names used twice,
// long functions, long files. Started from the root of the repository: node tools/vocabulary.mjs. Prints JSON.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const WEB = join(ROOT, 'web');
const ts = createRequire(join(WEB, 'package.json'))('typescript');

const FOLDERS = ['src', 'tests'];
const GENERATED = new Set(['web/src/api/schema.d.ts']);
const MAX_FUNCTION_LINES = 60;
const MAX_FILE_LINES = 400;

/** Names that another party has chosen: options of libraries, and values of the API as keys. */
const FOREIGN_NAMES = new Set(['defaultNotFoundComponent', 'looking', 'strangers']);

/** Each listed word with its inflections. */
const LISTED_WORDS = new Map(
  Object.entries({
    house: ['house', 'houses', 'housed', 'housing'],
    door: ['door', 'doors'],
    room: ['room', 'rooms'],
    place: ['place', 'places', 'placed', 'placing'],
    look: ['look', 'looks', 'looked', 'looking'],
    one: ['one', 'ones'],
    found: ['found'],
    said: ['said'],
    told: ['told'],
    made: ['made'],
    kept: ['kept'],
    whole: ['whole', 'wholeness'],
    piece: ['piece', 'pieces'],
    thing: ['thing', 'things'],
    begin: ['begin', 'begins', 'began', 'begun', 'beginning'],
    believed: ['believed'],
    stranger: ['stranger', 'strangers'],
  }).flatMap(([word, forms]) => forms.map((form) => [form, word])),
);

/** "goOn", "PAGE_SIZE" and "kebab-case" as lower-case words. */
function wordsOf(name) {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replaceAll(/([A-Z]+)([A-Z][a-z])/g, '$1 $2')
    .split(/[^A-Za-z0-9]+/)
    .filter(Boolean)
    .map((word) => word.toLowerCase());
}

function listedWordsIn(name) {
  if (FOREIGN_NAMES.has(name)) return [];
  const words = wordsOf(name);
  const listed = words.flatMap((word) => LISTED_WORDS.get(word) ?? []);
  if (words.some((word, index) => word === 'go' && words[index + 1] === 'on')) listed.push('go_on');
  return [...new Set(listed)];
}

function sourceFiles() {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(WEB, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
      .map((entry) => relative(ROOT, join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/')),
  )
    .filter((file) => !GENERATED.has(file))
    .sort();
}

/** The identifiers that a binding pattern introduces. */
function identifiersOf(name) {
  if (ts.isIdentifier(name)) return [name];
  if (!ts.isObjectBindingPattern(name) && !ts.isArrayBindingPattern(name)) return [];
  return name.elements.flatMap((element) => (ts.isBindingElement(element) ? identifiersOf(element.name) : []));
}

/** The names that a node defines, if it is a declaration. */
function namesDefinedBy(node) {
  if (ts.isVariableDeclaration(node) || ts.isParameter(node)) return identifiersOf(node.name);
  // A renamed import is a binding of this file; one under its own name is counted where it is defined.
  if (ts.isImportSpecifier(node) || ts.isExportSpecifier(node)) return node.propertyName ? [node.name] : [];
  if (ts.isImportClause(node) || ts.isNamespaceImport(node)) return node.name ? [node.name] : [];
  const declares =
    ts.isFunctionDeclaration(node) ||
    ts.isFunctionExpression(node) ||
    ts.isClassLike(node) ||
    ts.isMethodDeclaration(node) ||
    ts.isMethodSignature(node) ||
    ts.isPropertyDeclaration(node) ||
    ts.isPropertySignature(node) ||
    ts.isPropertyAssignment(node) ||
    ts.isAccessor(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeParameterDeclaration(node) ||
    ts.isEnumDeclaration(node) ||
    ts.isEnumMember(node) ||
    ts.isNamedTupleMember(node);
  const named = node.name && (ts.isIdentifier(node.name) || ts.isPrivateIdentifier(node.name));
  return declares && named ? [node.name] : [];
}

function functionName(node) {
  if (node.name) return node.name.getText();
  for (let parent = node.parent; parent; parent = parent.parent) {
    const holdsName =
      ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent);
    if (holdsName) return parent.name.getText();
    if (ts.isFunctionLike(parent)) break;
  }
  return '(anonymous)';
}

/** The names that a file exports and defines itself. */
function exportedNames(source) {
  return source.statements.flatMap((statement) => {
    const exported = ts.canHaveModifiers(statement)
      ? ts.getModifiers(statement)?.some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)
      : false;
    if (!exported) return [];
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.flatMap((declaration) =>
        identifiersOf(declaration.name).map((identifier) => identifier.text),
      );
    return statement.name ? [statement.name.text] : [];
  });
}

function lineOf(source, position) {
  return source.getLineAndCharacterOfPosition(position).line + 1;
}

function examine(file) {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const kind = file.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true, kind);
  const result = { bindings: 0, listed: [], longFunctions: [], exports: exportedNames(source) };
  const visit = (node) => {
    for (const identifier of namesDefinedBy(node)) {
      result.bindings += 1;
      for (const word of listedWordsIn(identifier.text))
        result.listed.push({ file, line: lineOf(source, identifier.getStart()), name: identifier.text, word });
    }
    if (ts.isFunctionLike(node) && node.body) {
      const first = lineOf(source, node.getStart());
      const lines = lineOf(source, node.getEnd()) - first + 1;
      if (lines > MAX_FUNCTION_LINES) result.longFunctions.push({ file, line: first, name: functionName(node), lines });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const module = moduleName(file);
  for (const word of listedWordsIn(module)) result.listed.push({ file, line: 1, name: module, word });
  result.lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  return result;
}

function moduleName(file) {
  return basename(file).replace(/\.tsx?$/, '');
}

function duplicates(pairs) {
  const groups = new Map();
  for (const [name, file] of pairs) groups.set(name, [...(groups.get(name) ?? []), file]);
  return Object.fromEntries([...groups].filter(([, files]) => files.length > 1).sort());
}

const files = sourceFiles();
const results = new Map(files.map((file) => [file, examine(file)]));
const all = [...results.values()];

const report = {
  bindings: all.reduce((sum, result) => sum + result.bindings, 0),
  listed_words: all.flatMap((result) => result.listed),
  duplicate_module_names: duplicates(files.map((file) => [moduleName(file), file])),
  duplicate_exported_names: duplicates(
    [...results].flatMap(([file, result]) => [...new Set(result.exports)].map((name) => [name, file])),
  ),
  long_functions: all.flatMap((result) => result.longFunctions).sort((a, b) => b.lines - a.lines),
  long_files: [...results]
    .filter(([, result]) => result.lines > MAX_FILE_LINES)
    .map(([file, result]) => ({ file, lines: result.lines })),
};

process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
