# SPDX-License-Identifier: Apache-2.0
"""The version of the code that trains, calibrates and serves classifiers, for model cards."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medhub import __version__


def code_version() -> str:
    """The version of Medhub, and a digest of the code that trains and serves."""
    folder = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for part in ("inference", "learning"):
        for path in sorted((folder / part).glob("*.py")):
            digest.update(f"{part}/{path.name}\0".encode() + path.read_bytes())
    return f"medhub {__version__}, science {digest.hexdigest()[:16]}"
