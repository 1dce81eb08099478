# SPDX-License-Identifier: Apache-2.0
"""Names of files in a ZIP as text, whatever encoding the program used that packed it.

A name is UTF-8 if the entry's flag says so or if it has a Unicode path field (APPNOTE.TXT, 4.6.9). Otherwise the format
says CP437, but programs write the encoding of their system, and no field tells which. All names of one archive come
from one system, so they are judged together.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from collections.abc import Sequence
from zipfile import ZipInfo

from charset_normalizer import from_bytes

_UTF8_FLAG = 0x800
_UNICODE_PATH = 0x7075
# Encoding, and the first bytes of its characters in daily use (level 1 of the standard; Hangul).
_EAST_ASIAN = {
    "gb18030": (0xB0, 0xD7),
    "cp932": (0x81, 0x97),
    "big5": (0xA4, 0xC6),
    "cp949": (0xB0, 0xC8),
}
_SINGLE_BYTE = ("cp1251", "cp866", "cp850", "cp1252", "cp437")
_RARE = 0.3
_CLOSE = 0.02


def read_names(infos: Sequence[ZipInfo]) -> list[str]:
    """The name of each entry, in the order of the entries."""
    raw_names = {index: raw for index, info in enumerate(infos) if (raw := _raw_name(info)) is not None}
    if not raw_names:
        return [info.filename for info in infos]
    encoding = _guess_encoding(list(raw_names.values()))
    return [
        (_unicode_path(info.extra, raw_names[index]) or raw_names[index].decode(encoding, "replace"))
        if index in raw_names
        else info.filename
        for index, info in enumerate(infos)
    ]


def _raw_name(info: ZipInfo) -> bytes | None:
    """The bytes of a name whose encoding is unknown; None if it is text already."""
    if info.flag_bits & _UTF8_FLAG or info.filename.isascii():
        return None
    try:
        return info.filename.encode("cp437")
    except UnicodeEncodeError:
        return None


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in the Unicode path field, unless the name was changed after the field was written."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        field = extra[position + 4 : position + 4 + size]
        if kind == _UNICODE_PATH and len(field) > 5 and field[0] == 1:
            matches = struct.unpack_from("<I", field, 1)[0] == zlib.crc32(raw)
            try:
                return field[5:].decode().replace("\0", "") if matches else None
            except UnicodeDecodeError:
                return None
        position += 4 + size
    return None


def _guess_encoding(names: Sequence[bytes]) -> str:
    data = b"\n".join(names)
    try:
        data.decode()
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    scores = {}
    for encoding in (*_EAST_ASIAN, *_SINGLE_BYTE):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        scores[encoding] = _plausibility(text, encoding)
    best = max(scores.values())
    equal = [encoding for encoding, score in scores.items() if score > best - _CLOSE]
    if len(equal) == 1:
        return equal[0]
    match = from_bytes(data, cp_isolation=equal).best()
    return match.encoding if match is not None and match.encoding in equal else equal[0]


def _plausibility(text: str, encoding: str) -> float:
    """Mean over the signs outside ASCII: 1 for a usual letter, less for what names seldom contain."""
    points = []
    for before, sign in zip(" " + text, text, strict=False):
        if sign.isascii():
            continue
        if encoding in _EAST_ASIAN:
            points.append(_east_asian_plausibility(sign, encoding))
        elif not sign.isalpha():
            points.append(0.0)
        else:
            latin = "LATIN" in unicodedata.name(sign, "")
            mixed = before.isalpha() and before != "\n" and latin != ("LATIN" in unicodedata.name(before, ""))
            capital_within = sign.isupper() and before.islower()
            points.append(_RARE if mixed or capital_within else 1.0)
    return sum(points) / len(points)


def _east_asian_plausibility(sign: str, encoding: str) -> float:
    if not sign.isalpha():
        return 0.5 if unicodedata.category(sign)[0] in "PNZ" else 0.0
    data = sign.encode(encoding)
    first, last = _EAST_ASIAN[encoding]
    usual = len(data) == 2 and first <= data[0] <= last and (encoding == "cp932" or data[1] >= 0x40)
    if encoding in {"gb18030", "cp949"}:
        usual = usual and data[1] >= 0xA1  # below: the extensions of GBK and of Unified Hangul Code
    return 1.0 if usual else _RARE
