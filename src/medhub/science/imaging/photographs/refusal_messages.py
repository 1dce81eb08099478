# SPDX-License-Identifier: Apache-2.0
"""Sentences for files that cannot be read, shared by the readers of all kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import UnidentifiedImageError

from medhub.science.imaging.decoding_limits import Unacceptable

RECOPY = "It was probably cut off while it was copied; copy it again from where it was made."


@contextmanager
def decoding(kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into a refusal."""
    try:
        yield
    except Unacceptable:
        raise
    except MemoryError as error:
        raise Unacceptable(
            f"Reading this {kind} file takes more memory than a file is given. Save it smaller.",
            reason="too-many-pixels",
        ) from error
    except UnidentifiedImageError as error:
        raise Unacceptable(
            f"This {kind} file is damaged, or of a form that is not read here. Save it again as a PNG file.",
            reason="damaged",
        ) from error
    except OSError as error:
        if "truncated" in str(error):
            raise Unacceptable(f"This {kind} file ends before its image does. {RECOPY}", reason="truncated") from error
        raise damaged(kind) from error
    # A decoder of hostile bytes may raise anything (struct.error, SyntaxError, IndexError, ...); all mean the same.
    except Exception as error:
        raise damaged(kind) from error


def damaged(kind: str) -> Unacceptable:
    """The refusal of a file whose image data cannot be decoded."""
    return Unacceptable(
        f"This {kind} file is damaged: its image data cannot be decoded. Copy or export it again from its source.",
        reason="damaged",
    )


def truncated(kind: str, there: str = "") -> Unacceptable:
    """The refusal of a file that ends too early; ``there`` may say how much of it there is."""
    return Unacceptable(f"This {kind} file ends before its image does.{there} {RECOPY}", reason="truncated")


def animated(kind: str) -> Unacceptable:
    """The refusal of an animation."""
    return Unacceptable(
        f"This {kind} file is an animation of several pictures. Save the one that matters as a PNG or JPEG file.",
        reason="animated",
    )
