# SPDX-License-Identifier: Apache-2.0
"""No process of Medhub leaves its memory in a core dump."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_REPORT = """
import ctypes, resource, sys
from medhub.entrypoints import cli, web_worker
from medhub.entrypoints.dimse import listener_process
from medhub.foundation.isolation_worker import end_with_parent
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
started = int(sys.argv.pop())
def report(*_, **_named):
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    raise SystemExit
web_worker.Settings = listener_process.Settings = cli.cli = report
"""
_STARTS = {
    "command line": "cli.main()",
    "web process": "web_worker.main(started, 0, 0)",
    "DICOM listener": "listener_process.main(started)",
    "isolated process": "end_with_parent(started); report()",
}


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux")
@pytest.mark.parametrize("process", _STARTS)
def test_no_process_can_be_dumped(process: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _REPORT + _STARTS[process], str(os.getpid())]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert answer.stdout.strip() == "(0, 0) 0", answer.stderr
