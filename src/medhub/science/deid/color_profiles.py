# SPDX-License-Identifier: Apache-2.0
"""Color profiles (ICC.1:2022) reduced to the numbers by which colors are shown: no text, no date, no device."""

from __future__ import annotations

import struct

# Curves, matrices and tables; descriptions, copyrights, names of devices and private tags are none.
_NUMBERS = frozenset(
    b"rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC wtpt bkpt lumi chad cicp A2B0 A2B1 A2B2 B2A0 B2A1 B2A2".split()
)
_FORMS = frozenset((b"XYZ ", b"curv", b"para", b"sf32", b"mft1", b"mft2", b"mAB ", b"mBA ", b"cicp"))
_NAME = b"color profile"
_LONGEST = 4 * 1024**2
_HEADER_BYTES = 132


def clean_color_profile(icc: bytes) -> bytes | None:
    """Write a color profile anew with its numbers only.

    Parameters
    ----------
    icc
        As received.

    Returns
    -------
    bytes or None
        A profile that shows the same colors; ``None`` when these bytes cannot be read as one.
    """
    if not _HEADER_BYTES <= len(icc) <= _LONGEST or icc[36:40] != b"acsp":
        return None
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 100 or len(icc) < _HEADER_BYTES + 12 * count:
        return None
    parts: dict[bytes, bytes] = {}
    for number in range(count):
        tag, offset, size = struct.unpack_from(">4sII", icc, _HEADER_BYTES + 12 * number)
        if tag not in _NUMBERS:
            continue
        part = icc[offset : offset + size]
        if len(part) != size or part[:4] not in _FORMS:
            return None
        parts[tag] = part
    if b"wtpt" not in parts:
        return None
    return _written(icc[:128], parts)


def _written(header: bytes, parts: dict[bytes, bytes]) -> bytes:
    old = header[8] < 4
    text = _old_description() if old else _localized()
    parts = {b"desc": text, b"cprt": b"text\0\0\0\0none\0" if old else _localized(), **parts}
    entries, bodies = [], []
    at = _HEADER_BYTES + 12 * len(parts)
    for tag, part in parts.items():
        entries.append(struct.pack(">4sII", tag, at, len(part)))
        bodies.append(part + bytes(-len(part) % 4))
        at += len(bodies[-1])
    # Version, class, spaces, flags, intent and illuminant stay; size, maker, date, device, creator and identifier go.
    day = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    clean = struct.pack(">I", at) + bytes(4) + header[8:24] + day + b"acsp" + bytes(4)
    clean += header[44:48] + bytes(16) + header[64:80] + bytes(48)
    return clean + struct.pack(">I", len(parts)) + b"".join(entries) + b"".join(bodies)


def _old_description() -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(_NAME) + 1) + _NAME + b"\0" + bytes(8 + 3 + 67)


def _localized() -> bytes:
    text = _NAME.decode().encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
