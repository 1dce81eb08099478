# SPDX-License-Identifier: Apache-2.0
"""Whether a dataset ends where it says: a parser takes what there is of one that was cut off, and says nothing."""

from __future__ import annotations

import struct

_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MOST_OPEN = 256


def is_truncated(data: bytes, start: int, *, implicit: bool, little: bool) -> bool:
    """Tell whether an element of a dataset declares more bytes than there are, or a sequence has no end.

    Parameters
    ----------
    data
        The whole file.
    start
        Where its dataset begins.
    implicit, little
        How it is encoded (PS3.5, 7.1).

    Returns
    -------
    bool
        Whether something is missing. Zeros after the last element are padding.
    """
    order = "<" if little else ">"
    open_ends: list[int] = []  # which delimiter closes each sequence or item of undefined length
    at = start
    while at + 8 <= len(data):
        group, element = struct.unpack_from(f"{order}HH", data, at)
        tag = group << 16 | element
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            (length,) = struct.unpack_from(f"{order}I", data, at + 4)
            at += 8
            if tag != _ITEM:
                if open_ends and open_ends[-1] == tag:
                    open_ends.pop()
                continue
        else:
            if not open_ends and not any(data[at : at + 8]):
                return False  # padding after the last element
            length, at = _length(data, at, order, implicit)
            if length < 0:
                return True
        if length == _UNDEFINED:
            open_ends.append(_ITEM_END if tag == _ITEM else _SEQUENCE_END)
            if len(open_ends) > _MOST_OPEN:
                return False  # no device writes this; whoever parses it refuses it
        elif at + length > len(data):
            return True
        else:
            at += length
    # What is left is too short for an element: the beginning of one, or padding.
    return bool(open_ends) or any(data[at:])


def _length(data: bytes, at: int, order: str, implicit: bool) -> tuple[int, int]:
    """Read the length of an element, and where its value begins; -1 where that is missing."""
    if not implicit and data[at + 4 : at + 6].isalpha():
        if data[at + 4 : at + 6] not in _LONG:
            return struct.unpack_from(f"{order}H", data, at + 6)[0], at + 8
        if at + 12 > len(data):
            return -1, at
        return struct.unpack_from(f"{order}I", data, at + 8)[0], at + 12
    return struct.unpack_from(f"{order}I", data, at + 4)[0], at + 8
