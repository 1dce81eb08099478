# SPDX-License-Identifier: Apache-2.0
"""Pictures as DCMTK renders them, for comparison."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import missing


def dcmtk_picture(folder: Path, data: bytes, *options: str) -> NDArray[np.int64] | None:
    """Render the first frame of a file as red, green and blue; ``None`` where DCMTK does not."""
    program = "dcm2pnm"
    if shutil.which(program) is None:
        missing("DCMTK (Debian: dcmtk)")
    source, target = folder / "in.dcm", folder / "out.ppm"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    subprocess.run([program, *options, str(source), str(target)], check=False, capture_output=True)
    if not target.exists() or not target.stat().st_size:
        return None
    with Image.open(target) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int64)
