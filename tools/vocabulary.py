# SPDX-License-Identifier: Apache-2.0
"""Counts names and sizes that make code hard to read: ``make vocabulary``.

Python is parsed by ``ast``; TypeScript by its own parser (``tools/vocabulary.mjs``). The counts are compared with
``tools/vocabulary.json``: one that rises fails, one that falls asks to be written down with ``--update``.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("vocabulary.json")
PYTHON_FOLDERS = ("src", "tests", "bench", "tools")
MOST_FUNCTION_LINES = 60
MOST_FILE_LINES = 400

# The list of the architecture page, each word with its inflections that are used as names.
LISTED_WORDS = frozenset(
    (
        "house",
        "houses",
        "door",
        "doors",
        "room",
        "rooms",
        "place",
        "places",
        "placed",
        "placing",
        "look",
        "looks",
        "looked",
        "looking",
        "one",
        "ones",
        "found",
        "said",
        "told",
        "made",
        "kept",
        "whole",
        "wholes",
        "piece",
        "pieces",
        "thing",
        "things",
        "begin",
        "begins",
        "began",
        "begun",
        "believed",
        "stranger",
        "strangers",
    )
)
LISTED_PHRASES = ("go_on", "goOn")
# Names of JSON fields, columns and options stay as clients know them, in the files that declare them. "NotFound" is
# the term of HTTP, "connection_made" that of asyncio.
WIRE_NAMES = frozenset(("kept", "looked", "looked_through", "places", "strangers"))
WIRE_FILES = re.compile(r"/(schemas|models|cli_\w+)\.py$")
STANDARD_NAMES = frozenset(("connection_made",))
# Every capability has these; the package name tells them apart.
CAPABILITY_MODULES = frozenset(
    ("models", "service", "queries", "events", "schemas", "routes", "tasks", "erasure", "conftest", "__init__")
)


class Name(NamedTuple):
    """A binding or definition."""

    file: str
    line: int
    name: str


class Report(NamedTuple):
    """What one language's files hold."""

    bindings: int
    listed: list[Name]
    duplicate_classes: dict[str, list[str]]
    duplicate_modules: dict[str, list[str]]
    long_functions: list[Name]
    long_files: list[Name]


def words_of(name: str) -> list[str]:
    """The words of an identifier, in snake case or camel case."""
    parts = name.split("_")
    return [word.lower() for part in parts for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", part)]


def is_listed(name: str, file: str) -> bool:
    """Whether an identifier of a file contains a word of the list, except where others have chosen the name."""
    if name.endswith("NotFound") or name in STANDARD_NAMES or (name in WIRE_NAMES and WIRE_FILES.search(file)):
        return False
    return bool(LISTED_WORDS.intersection(words_of(name))) or any(phrase in name for phrase in LISTED_PHRASES)


def names_in(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that a module binds or defines, with its line; tests are named as sentences and are left out."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                continue
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name
            case _:
                continue


def read_python(root: Path) -> Report:
    """Parse the Python files that git tracks."""
    bindings = 0
    listed, long_functions, long_files = [], [], []
    classes: dict[str, list[str]] = defaultdict(list)
    modules: dict[str, list[str]] = defaultdict(list)
    for file in tracked(root, *(f"{folder}/**.py" for folder in PYTHON_FOLDERS)):
        text = (root / file).read_text(encoding="utf-8")
        tree = ast.parse(text, file)
        for line, name in names_in(tree):
            bindings += 1
            if is_listed(name, file):
                listed.append(Name(file, line, name))
        stem = Path(file).stem
        if is_listed(stem, file) and "migrations/versions" not in file and not stem.startswith("test_"):
            listed.append(Name(file, 0, stem))
        if not file.startswith("src/"):
            continue
        if "migrations/versions" in file:  # written once, never changed
            continue
        if stem not in CAPABILITY_MODULES:
            modules[stem].append(file)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(file)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    long_functions.append(Name(file, node.lineno, f"{node.name} ({lines} lines)"))
        lines = text.count("\n")
        if lines > MOST_FILE_LINES:
            long_files.append(Name(file, lines, ""))
    return Report(bindings, listed, repeated(classes), repeated(modules), long_functions, long_files)


def read_typescript(root: Path) -> Report | None:
    """Parse the web app by the TypeScript compiler; nothing where Node or the compiler is not installed."""
    script = Path(__file__).with_name("vocabulary.mjs")
    node = shutil.which("node")
    if node is None or not script.exists() or not (root / "web/node_modules/typescript").exists():
        return None
    output = subprocess.run([node, script], cwd=root, check=True, capture_output=True, text=True).stdout
    counted: dict[str, Any] = json.loads(output)
    return Report(
        counted["bindings"],
        [Name(row["file"], row["line"], row["name"]) for row in counted["listed_words"]],
        counted["duplicate_exported_names"],
        counted["duplicate_module_names"],
        [Name(row["file"], row["line"], f"{row['name']} ({row['lines']} lines)") for row in counted["long_functions"]],
        [Name(row["file"], row["lines"], "") for row in counted["long_files"]],
    )


def tracked(root: Path, *patterns: str) -> list[str]:
    """The files that git tracks, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    output = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [file for file in sorted(set(output.splitlines())) if (root / file).exists()]


def repeated(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """The names that stand for more than one thing."""
    return {name: files for name, files in sorted(names.items()) if len(files) > 1}


def counts_of(report: Report) -> dict[str, int]:
    """The counts that must not rise."""
    return {
        "listed words": len(report.listed),
        "duplicate class names": len(report.duplicate_classes),
        "duplicate module names": len(report.duplicate_modules),
        f"functions over {MOST_FUNCTION_LINES} lines": len(report.long_functions),
        f"files over {MOST_FILE_LINES} lines": len(report.long_files),
    }


def print_details(report: Report, path: str) -> None:
    """Print what is counted below a path."""
    for title, names in (
        ("listed word", report.listed),
        ("long function", report.long_functions),
        ("long file", report.long_files),
    ):
        for name in names:
            if name.file.startswith(path):
                print(f"{name.file}:{name.line}: {title} {name.name}")
    for title, groups in (
        ("class or export", report.duplicate_classes),
        ("module", report.duplicate_modules),
    ):
        for repeated_name, files in groups.items():
            if any(file.startswith(path) for file in files):
                print(f"{title} {repeated_name}: {', '.join(files)}")


def main() -> int:
    """Print the table, and say whether a count has risen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", metavar="PATH", help="print each name that is counted below a path")
    parser.add_argument("--update", action="store_true", help="write the present counts as the ones not to exceed")
    arguments = parser.parse_args()
    reports = {"Python": read_python(ROOT), "TypeScript": read_typescript(ROOT)}
    if arguments.list is not None:
        for report in reports.values():
            if report is not None:
                print_details(report, arguments.list)
        return 0
    limits: dict[str, dict[str, int]] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    present = {language: counts_of(report) for language, report in reports.items() if report is not None}
    risen = []
    for language, counts in present.items():
        print(f"{language}: {reports[language].bindings:,} bindings and definitions")  # type: ignore[union-attr]
        for title, count in counts.items():
            limit = limits.get(language, {}).get(title)
            print(f"  {title:<28}{count:>6}   at most {limit if limit is not None else count}")
            if limit is not None and count > limit:
                risen.append(f"{language}: {title}")
    if arguments.update:
        BASELINE.write_text(json.dumps({**limits, **present}, indent=2) + "\n")
        return 0
    if risen:
        print(f"Risen: {'; '.join(risen)}. See which by: python tools/vocabulary.py --list PATH", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
