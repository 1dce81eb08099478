# SPDX-License-Identifier: Apache-2.0
"""Each term of the glossary names code that exists."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.conftest import ROOT

GLOSSARY = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(medhub[.\w]*)` \|$", GLOSSARY, re.MULTILINE)


def test_every_row_names_code() -> None:
    rows = [line for line in GLOSSARY.splitlines() if line.startswith("| ") and not line.startswith("| term |")]
    assert len(TERMS) == len(rows) > 40


@pytest.mark.parametrize(("term", "path"), TERMS)
def test_a_term_is_implemented(term: str, path: str) -> None:
    """The path is a module, or an attribute of one."""
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), f"{term}: {path}"


def test_a_term_is_defined_once() -> None:
    terms = [term for term, _ in TERMS]
    assert sorted(set(terms)) == sorted(terms)
