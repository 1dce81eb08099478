# SPDX-License-Identifier: Apache-2.0
"""Where in a stored photograph its JPEG stream lies, so that it can be handed out without reading the rest."""

from __future__ import annotations

import struct

# Enough for the attributes that a photograph is given (a few hundred bytes to a few thousand).
HEAD_BYTES = 64 * 1024
TAIL_BYTES = 16

# Pixel data of undefined length in Explicit VR Little Endian; the first item is the table of offsets (PS3.5, A.4).
_PIXEL_DATA = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0"
_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def jpeg_span(head: bytes, tail: bytes, size: int) -> tuple[int, int] | None:
    """Find the one fragment of a JPEG Baseline file.

    Nothing is decoded and nothing is believed: the lengths that the file states must lead exactly to its end, and what
    they enclose must begin and end as a JPEG stream does.

    Parameters
    ----------
    head
        The first ``HEAD_BYTES`` of the file, or all of a smaller one.
    tail
        Its last ``TAIL_BYTES``.
    size
        Its size in bytes.

    Returns
    -------
    (int, int) or None
        Offset and length of the stream in bytes; ``None`` when it does not lie there in one piece.
    """
    found = head.find(_PIXEL_DATA)
    if found < 0 or len(head) < found + len(_PIXEL_DATA) + 4:
        return None
    offsets = found + len(_PIXEL_DATA)
    item = offsets + 4 + struct.unpack_from("<I", head, offsets)[0]
    if head[item : item + 4] != _ITEM or len(head) < item + 11:
        return None
    start, length = item + 8, struct.unpack_from("<I", head, item + 4)[0]
    if start + length + len(_END) != size or not tail.endswith(_END) or head[start : start + 3] != b"\xff\xd8\xff":
        return None
    # A stream of odd length is followed by one byte of zero (PS3.5, A.4).
    last = tail[: -len(_END)]
    if last.endswith(b"\xff\xd9"):
        return start, length
    return (start, length - 1) if last.endswith(b"\xff\xd9\x00") else None
