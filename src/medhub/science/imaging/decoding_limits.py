# SPDX-License-Identifier: Apache-2.0
"""The limits of received files, and the refusal of files that cannot be accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from medhub.errors import Invalid

Reason = Literal[
    "empty",
    "truncated",
    "not-an-image",
    "too-many-bytes",
    "too-many-pixels",
    "unsupported",
    "animated",
    "damaged",
    "writing",
]
"""Why a file is refused, as one word for programs; the message is for people."""


class Unacceptable(Invalid):
    """The file cannot be accepted; the message says what happened, why, and what to do."""

    code: ClassVar[str] = "unacceptable-file"
    title: ClassVar[str] = "The file cannot be accepted"

    def __init__(self, message: str, *, reason: Reason) -> None:
        """Set the message and the reason."""
        super().__init__(message, reason=reason)

    @property
    def reason(self) -> Reason:
        """The reason, as one word."""
        return self.facts["reason"]  # type: ignore[return-value]


@dataclass(frozen=True)
class DecodingLimits:
    """The largest accepted file; limits are checked before memory is allocated.

    Attributes
    ----------
    max_bytes
        Length of the received file in bytes.
    max_pixels
        Rows times columns of one frame.
    max_frames
        Frames of a multi-frame file.
    max_inflated_bytes
        Length in bytes of the decompressed content of a deflated DICOM file.
    max_depth
        Nesting depth of the sequences of a DICOM file.
    max_items
        Items of all its sequences, and fragments of its pixels. Each takes some kilobytes of memory to read.
    """

    max_bytes: int = 200 * 1024**2
    max_pixels: int = 100_000_000
    max_frames: int = 2_000
    max_inflated_bytes: int = 400 * 1024**2
    max_depth: int = 32
    max_items: int = 250_000


def refuse_oversized(rows: int, columns: int, limits: DecodingLimits) -> None:
    """Raise when a frame of this size is empty or larger than the limit.

    Parameters
    ----------
    rows, columns
        Size of one frame in pixels, as the file declares it.
    limits
        The largest accepted file.

    Raises
    ------
    Unacceptable
        With the reason ``damaged`` for an empty frame, ``too-many-pixels`` for one above the limit.
    """
    if rows < 1 or columns < 1:
        raise Unacceptable(
            f"The file says that its image is {columns} x {rows} pixels large, which is not an image. "
            "Save the image again from its source.",
            reason="damaged",
        )
    if rows * columns > limits.max_pixels:
        raise Unacceptable(
            f"The image is {columns:,} x {rows:,} pixels large; at most {limits.max_pixels:,} pixels are accepted. "
            "Save it smaller, or cut it into fields.",
            reason="too-many-pixels",
        )


def refuse_length(data: bytes, limits: DecodingLimits) -> None:
    """Raise when a file is empty or longer than the limit.

    Parameters
    ----------
    data
        The received bytes.
    limits
        The largest accepted file.

    Raises
    ------
    Unacceptable
        With the reason ``empty`` or ``too-many-bytes``.
    """
    if not data:
        raise Unacceptable("The file is empty (0 bytes). Copy it again from its source.", reason="empty")
    if len(data) > limits.max_bytes:
        raise Unacceptable(
            f"The file has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted. Save it smaller.",
            reason="too-many-bytes",
        )
