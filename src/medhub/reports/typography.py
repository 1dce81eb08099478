# SPDX-License-Identifier: Apache-2.0
"""Text as it can be printed: characters of the bundled fonts, breaks in long words, direction.

PDF/A forbids characters without a glyph, and notes may contain any character. Every text passes this module before it
is printed. The printed text may differ in a few characters; the record inside the PDF has the original.
"""

from __future__ import annotations

import struct
import unicodedata
from functools import cache
from pathlib import Path

FONTS = Path(__file__).parent / "fonts"
REPLACEMENT = "\ufffd"
BREAK = "\u200b"
"""Zero width space: a line may end here, and nothing is printed."""

_SHAPING = {0x200C, 0x200D, 0x200E, 0x200F}
"""Joiners and marks of direction: no glyph of their own, needed by Persian, Malayalam and others."""

_BIDI_CONTROLS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Overrides could print a text in another order; the report sets its own."""

_VARIATION_SELECTORS = {*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), 0x180E}
_FLAG_TAGS = {*range(0xE0020, 0xE0080)}
_JOINERS_AND_BREAKS = {0x00AD, 0x034F, 0x061C, 0x200B, 0x2060, 0xFEFF}
_NOT_PRINTED = _BIDI_CONTROLS | _VARIATION_SELECTORS | _FLAG_TAGS | _JOINERS_AND_BREAKS
"""Characters that print nothing themselves and are left out."""

SEAL_WORD = "medhub-seal"
"""The mark of the seals of former versions; no printed text may contain it."""


@cache
def printable() -> frozenset[int]:
    """Return the code points that the bundled fonts can print, read from the fonts themselves."""
    points: set[int] = set()
    for path in sorted(FONTS.glob("*.[ot]tf")):
        points |= _characters(path.read_bytes())
    return frozenset(points)


def printable_text(text: str) -> str:
    """Return ``text`` as it can be printed: known characters, one kind of line end, no hidden change of direction."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    printed = "".join(_substitute(sign) if (shown := _print_character(sign)) is None else shown for sign in text)
    return printed.strip().replace(SEAL_WORD, SEAL_WORD.replace("-", " "))


def _print_character(sign: str) -> str | None:
    """What is printed for a character, which may be nothing; None if no font can print it."""
    point = ord(sign)
    if sign in "\n\r\x0b\x0c\x85\u2028\u2029":
        return "\n"
    if sign == "\t":
        return " "
    if point in _SHAPING:
        return sign
    if point in _NOT_PRINTED:
        return ""
    return sign if point in printable() and has_substitute(sign) else None


def _substitute(sign: str) -> str:
    return f"[U+{ord(sign):04X}]" if has_substitute(sign) else REPLACEMENT


def has_substitute(character: str) -> bool:
    """Whether the code of a character is printed in place of it; control and private characters have no meaning."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs")


def unprintable_characters(text: str) -> list[str]:
    """The different characters of a text that no bundled font can print, in their order."""
    normalized = unicodedata.normalize("NFC", text)
    return list(dict.fromkeys(sign for sign in normalized if _print_character(sign) is None))


def describe_character(character: str) -> dict[str, str]:
    """A character with its code and its name in Unicode."""
    code = f"U+{ord(character):04X}"
    return {"character": character, "code": code, "name": unicodedata.name(character, "").lower() or code}


def single_line(text: str) -> str:
    """Return the text cleaned, with line ends and runs of spaces as one space."""
    return " ".join(printable_text(text).split())


def allow_breaks(text: str, longest: int = 24) -> str:
    """Return the text with chances to break inside words longer than ``longest``, which would leave the page."""
    out: list[str] = []
    run = 0
    for sign in text:
        if sign.isspace() or unicodedata.east_asian_width(sign) in "WF":
            run = 0
        elif run >= longest and unicodedata.category(sign) not in ("Mn", "Mc", "Me", "Cf"):
            out.append(BREAK)
            run = 1
        else:
            run += 1
        out.append(sign)
    return "".join(out)


def shorten_text(text: str, longest: int) -> str:
    """Return the text, or its first part and an ellipsis if it is longer than ``longest``."""
    if len(text) <= longest:
        return text
    end = longest - 1
    while end > 0 and unicodedata.category(text[end]) in ("Mn", "Mc", "Me", "Cf"):
        end -= 1
    return text[:end].rstrip() + "…"


def is_right_to_left(text: str) -> bool:
    """Tell whether the first letter with a direction runs from right to left (rule P2 of Unicode's annex 9)."""
    depth = 0
    for sign in text:
        direction = unicodedata.bidirectional(sign)
        if direction == "FSI":
            depth += 1
        elif direction == "PDI":
            depth -= 1
        elif depth == 0 and direction in ("R", "AL", "L"):
            return direction != "L"
    return False


def isolate_direction(text: str) -> str:
    """Return a right-to-left text in an isolate, so that it does not change the order of its neighbors."""
    if any(unicodedata.bidirectional(sign) in ("R", "AL", "AN") for sign in text):
        return f"\u2068{text}\u2069"
    return text


def _characters(font: bytes) -> set[int]:
    """Read the code points of an OpenType font from the formats 4 and 12 of its ``cmap`` table."""
    for index in range(struct.unpack_from(">H", font, 4)[0]):
        tag, _, offset, _ = struct.unpack_from(">4sIII", font, 12 + 16 * index)
        if tag == b"cmap":
            break
    else:
        return set()
    points: set[int] = set()
    for index in range(struct.unpack_from(">H", font, offset + 2)[0]):
        start = offset + struct.unpack_from(">I", font, offset + 8 + 8 * index)[0]
        kind = struct.unpack_from(">H", font, start)[0]
        if kind == 4:
            points |= _format_4(font, start)
        elif kind == 12:
            groups = struct.unpack_from(">I", font, start + 12)[0]
            for group in range(groups):
                first, last, _ = struct.unpack_from(">III", font, start + 16 + 12 * group)
                points.update(range(first, last + 1))
    return points


def _format_4(font: bytes, start: int) -> set[int]:
    """Read the segments of a ``cmap`` subtable of format 4, leaving out what maps to the glyph of no character."""
    segments = struct.unpack_from(">H", font, start + 6)[0] // 2
    words = f">{segments}H"
    ends = struct.unpack_from(words, font, start + 14)
    starts = struct.unpack_from(words, font, start + 16 + 2 * segments)
    deltas = struct.unpack_from(words, font, start + 16 + 4 * segments)
    offsets_at = start + 16 + 6 * segments
    offsets = struct.unpack_from(words, font, offsets_at)
    points: set[int] = set()
    for index, (first, last, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
        for point in range(first, min(last, 0xFFFE) + 1):
            if offset == 0:
                glyph = (point + delta) & 0xFFFF
            else:
                at = offsets_at + 2 * index + offset + 2 * (point - first)
                glyph = struct.unpack_from(">H", font, at)[0]
            if glyph:
                points.add(point)
    return points
