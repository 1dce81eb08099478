# SPDX-License-Identifier: Apache-2.0
"""No process of Medhub asks a resolver for a name or stores telemetry, whatever its dependencies do by default."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medhub.foundation.isolation import Isolation
from tests.conftest import ROOT
from tests.science.inference import tiny

CLASSIFY = """
import sys, time
import numpy
from pathlib import Path
from medhub.science.inference.classifier import Classifier
classifier = Classifier.load(Path(sys.argv[1]))
classifier.classify(numpy.zeros((40, 40, 3), numpy.uint8))
time.sleep(10)  # the first question comes some seconds after the classification
"""
ASK = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.getaddrinfo("archive.hospital.example", 443)
"""


def _environment(home: Path) -> dict[str, str]:
    """An environment without the setting that the tests' own process has from ``medhub``."""
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
    return {**inherited, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(ROOT)}


def _asked_names(home: Path, program: str, *arguments: str) -> list[str]:
    """The names that a program asks for in a network namespace without interfaces."""
    namespace = ["unshare", "--map-root-user", "--net", "--mount"]
    if sys.platform != "linux" or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("This system does not allow network namespaces")
    command = [*namespace, sys.executable, "-m", "tests.isolated_network", sys.executable, "-c", program, *arguments]
    answer = subprocess.run(
        command, env=_environment(home), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    names: list[str] = json.loads(answer.stdout)
    return names


def test_a_question_to_a_resolver_is_noticed(tmp_path: Path) -> None:
    assert "archive.hospital.example" in _asked_names(tmp_path, ASK)


def test_a_classification_asks_no_resolver(tmp_path: Path) -> None:
    assert _asked_names(tmp_path, CLASSIFY, str(tiny.folder(tmp_path / "tiny"))) == []


def test_a_classification_stores_no_telemetry(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", CLASSIFY, str(tiny.folder(tmp_path / "tiny"))]
    subprocess.run(command, env=_environment(home), cwd=ROOT, check=True, timeout=120)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_every_import_of_the_runtime_follows_an_import_of_medhub() -> None:
    """``medhub`` switches telemetry off; modules of the package and tests always import it first."""
    wrong = []
    for folder in ("bench", "tools", "demo"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            runtime = re.search(r"^(import onnxruntime|from (rapidocr_)?onnxruntime)", text, re.MULTILINE)
            if runtime and not re.search(r"^(import medhub|from medhub)", text[: runtime.start()], re.MULTILINE):
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_telemetry_is_off_in_this_process_and_in_isolated_processes() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    with Isolation(workers=1) as isolation:
        assert isolation.run(os.getenv, "ORT_DISABLE_TELEMETRY") == "1"
