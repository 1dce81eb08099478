# SPDX-License-Identifier: Apache-2.0
"""Links, paths, modules and make targets that the documentation names exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from medhub.entrypoints import cli
from tests.conftest import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "bench").glob("*.md"),
        *(ROOT / "demo").rglob("*.md"),
        *(ROOT / "src").rglob("*.md"),
    ]
)
CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
REPOSITORY_PATH = re.compile(r"^(?:src|tests|bench|demo|deploy|docs|tools|web|models)/[\w./\-]*$")
# Not file names such as medhub.key.
MODULE = re.compile(r"\bmedhub(?:\.(?!(?:crt|key|pem|sqlite|example)\b)[a-z_0-9]+)+")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors_of(page: Path) -> set[str]:
    """Return the heading anchors of a page, as code hosts derive them."""
    headings = HEADING.findall(CODE_BLOCK.sub("", text_of(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in LINK.findall(CODE_BLOCK.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            broken.append(target)
    return broken


def missing_paths(page: Path) -> list[str]:
    names = [name for name in INLINE_CODE.findall(text_of(page)) if REPOSITORY_PATH.match(name)]
    # Classifiers other than the ones that ship are examples of a reader's own.
    return [name for name in names if not (ROOT / name).exists() and not name.startswith("models/my-")]


def is_importable(dotted: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = dotted.rpartition(".")
    try:
        if importlib.util.find_spec(dotted) is not None:
            return True
    except ModuleNotFoundError:
        pass
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("document", PAGES, ids=lambda document: str(document.relative_to(ROOT)))
def test_relative_links_resolve(document: Path) -> None:
    assert broken_links(document) == []


@pytest.mark.parametrize("document", PAGES, ids=lambda document: str(document.relative_to(ROOT)))
def test_repository_paths_exist(document: Path) -> None:
    assert missing_paths(document) == []


def test_scripts_and_tests_in_commands_exist() -> None:
    script = re.compile(r"\b(?:python|pytest) ((?:(?:bench|tests|tools)/[\w./\-]+ ?)+)")
    named = {name for page in PAGES for match in script.findall(text_of(page)) for name in match.split()}
    assert named
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_named_modules_exist() -> None:
    named = {name.rstrip(".") for page in PAGES for name in MODULE.findall(text_of(page))}
    assert named
    assert sorted(name for name in named if not is_importable(name)) == []


def test_named_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w.\-]+):", makefile, re.MULTILINE))
    named = {
        target
        for page in [*PAGES, ROOT / ".ci" / "run"]
        for target in re.findall(r"(?:^|`|=1 )make ([a-z][\w\-]*)", text_of(page), re.MULTILINE)
    }
    assert {"run", "test"} <= named
    assert named <= targets


def test_the_checks_notice_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#none) [c](gone.md) `src/medhub/gone.py`\n", encoding="utf-8")
    assert broken_links(page) == ["#none", "gone.md"]
    assert missing_paths(page) == ["src/medhub/gone.py"]
    assert is_importable("medhub.errors")
    assert not is_importable("medhub.gone")


def command_options() -> dict[str, set[str]]:
    """Return the options of each command, by the words that follow `medhub`; a group has those of its own."""
    options: dict[str, set[str]] = {}

    def walk(words: list[str], command: Any) -> None:
        options[" ".join(words)] = {
            name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]
        }
        for word, inner in getattr(command, "commands", {}).items():
            walk([*words, word], inner)

    walk([], typer.main.get_command(cli.cli))
    # `medhub deid IN OUT` is short for `medhub deid run IN OUT`.
    options["deid"] |= options["deid run"]
    return options


def unknown_commands(text: str, options: dict[str, set[str]]) -> list[str]:
    """Return the `medhub` commands of code in a text that have a word or an option that does not exist."""
    code = [*CODE_BLOCK.findall(text), *INLINE_CODE.findall(CODE_BLOCK.sub("", text))]
    lines = [line for block in code for line in block.replace("\\\n", " ").splitlines()]
    unknown = []
    for line in lines:
        called = re.search(r"(?:^|\s|bin/)medhub (?!@)([a-z-].*)", line.partition("  #")[0])
        if called is None:
            continue
        words = called[1].split()
        depth = max(n for n in range(3) if " ".join(words[:n]) in options)
        named = set(re.findall(r"(?<!\S)--[a-z-]+", called[1]))
        general = {"--help", "--version"}
        if (depth == 0 and not named) or named - options[" ".join(words[:depth])] - general:
            unknown.append(called[1])
    return unknown


@pytest.mark.parametrize("document", PAGES, ids=lambda document: str(document.relative_to(ROOT)))
def test_named_commands_and_options_exist(document: Path) -> None:
    assert unknown_commands(text_of(document), command_options()) == []


def test_the_check_of_commands_notices_what_is_wrong() -> None:
    options = command_options()
    assert (
        unknown_commands("`medhub serve --demo`, `medhub node list`, `medhub deid IN OUT --manifest x`", options) == []
    )
    assert unknown_commands("`medhub nothing` and `medhub serve --nothing`", options) == ["nothing", "serve --nothing"]
