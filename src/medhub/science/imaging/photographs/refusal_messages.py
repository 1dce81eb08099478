# SPDX-License-Identifier: Apache-2.0
"""Refusals of files that cannot be read, shared by the readers of all formats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import UnidentifiedImageError

from medhub.science.imaging.decoding_limits import Unacceptable

RECOPY = "It was probably cut off while it was copied; copy it again from its source."


@contextmanager
def decoding(format_name: str) -> Iterator[None]:
    """Turn whatever a decoder raises on bad bytes into a refusal."""
    try:
        yield
    except Unacceptable:
        raise
    except MemoryError as error:
        raise Unacceptable(
            f"Reading this {format_name} file takes more memory than is allowed for a file. Save it smaller.",
            reason="too-many-pixels",
        ) from error
    except UnidentifiedImageError as error:
        raise Unacceptable(
            f"This {format_name} file is damaged, or of a variant that cannot be read. Save it again as a PNG file.",
            reason="damaged",
        ) from error
    except OSError as error:
        if "truncated" in str(error):
            raise truncated(format_name) from error
        raise damaged(format_name) from error
    # A decoder of hostile bytes may raise anything (struct.error, SyntaxError, IndexError, ...); all mean the same.
    except Exception as error:
        raise damaged(format_name) from error


def damaged(format_name: str) -> Unacceptable:
    """The refusal of a file whose image data cannot be decoded."""
    return Unacceptable(
        f"This {format_name} file is damaged: its image data cannot be decoded. Copy or export it again from its "
        "source.",
        reason="damaged",
    )


def truncated(format_name: str, extent: str = "") -> Unacceptable:
    """The refusal of a file that ends too early; ``extent`` may be a sentence about how much of it can be decoded."""
    return Unacceptable(f"This {format_name} file ends before its image does.{extent} {RECOPY}", reason="truncated")


def animated(format_name: str) -> Unacceptable:
    """The refusal of an animation."""
    return Unacceptable(
        f"This {format_name} file is an animation of several pictures. Save the one that matters as a PNG or JPEG "
        "file.",
        reason="animated",
    )
