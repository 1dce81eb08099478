# SPDX-License-Identifier: Apache-2.0
"""Writing a file completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from medhub.errors import Unavailable


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it, so that no reader finds half of it.

    Raises
    ------
    Unavailable
        The disk is full or not writable; a file that was there before is unchanged.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Unavailable(
            f"{path.name} cannot be written ({error.strerror}). No incomplete file was left. Free disk space, then "
            "continue with --resume."
        ) from error
