# SPDX-License-Identifier: Apache-2.0
"""Damaged, unusual and malicious files: they are cleaned or quarantined with a reason, never passed on unread.

Each is built byte by byte, since no library writes them, and holds CANARY, which must not come out.
"""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from medhub.science.deid.file_cleaning import Result, clean_file
from medhub.science.deid.profile import Pixels, find_profile
from medhub.science.imaging.decoding_limits import DecodingLimits
from tests.factories.seeded import CT

KEY = b"a key for tests only"
CANARY = "CANARIENSIS"
WHO = f"{CANARY}^Jane".encode()
IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV")
_MOST_INFLATED = 4 * 1024**2
UNDEFINED = 0xFFFFFFFF


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None, pad: bool = True) -> bytes:
    """Encode an element in Explicit VR Little Endian; ``length`` is the stated length, right or wrong."""
    if pad and len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB", b"UN") else b" "
    stated_length = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    return (
        head
        + (struct.pack("<HI", 0, stated_length) if vr in _LONG else struct.pack("<H", stated_length & 0xFFFF))
        + value
    )


def file(*elements: bytes, syntax: str = EXPLICIT, around: bool = True) -> bytes:
    """Encode a file of elements, in order; ``around`` adds those that each object has."""
    meta = element(0x00020001, b"OB", b"\0\1") + element(0x00020010, b"UI", syntax.encode())
    meta = element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta
    first = element(0x00080016, b"UI", CT.encode()) + element(0x00080018, b"UI", b"1.2.3.4")
    # An object that is no image may have no pixels; so that these may be without, they are of no image class.
    first = first.replace(CT.encode().ljust(26, b"\0"), b"1.2.840.10008.5.1.4.1.1.88.11"[:26].ljust(26, b"\0"))
    body = (first if around else b"") + b"".join(elements)
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return bytes(128) + b"DICM" + meta + body


def sequence(tag: int, *items: bytes, undefined: bool = False) -> bytes:
    """Encode a sequence of items, of defined or undefined length."""
    if undefined:
        inner = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED) + item + _END_OF_ITEM for item in items)
        return element(tag, b"SQ", inner + _END, length=UNDEFINED)
    return element(tag, b"SQ", b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items))


_END_OF_ITEM, _END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
NAME = element(0x00100010, b"PN", WHO)
_WIDE_NAME = element(0x00283006, b"OW", WHO.decode().encode("utf-16-le"))
NUMBER = element(0x00100020, b"LO", b"4711")
REFERENCES = 0x0008114A  # a sequence that stays


def nested(depth: int, *, undefined: bool) -> bytes:
    """Nest the name in this number of sequences."""
    inner = NAME
    for _ in range(depth):
        inner = sequence(REFERENCES, inner, undefined=undefined)
    return inner


def _private() -> bytes:
    return b"".join(
        (
            element(0x00290010, b"LO", b"SOMEBODY UNKNOWN"),
            element(0x00291001, b"LO", WHO),
            sequence(0x00291002, NAME),
            element(0x00291003, b"UN", sequence(0x00291004, NAME)),
            element(0x00331001, b"UN", WHO),  # of nobody's block
            element(0x00350010, b"UN", WHO),  # a creator that is no text
        )
    )


def _encrypted() -> bytes:
    content = element(0x04000510, b"UI", EXPLICIT.encode()) + element(0x04000520, b"OB", WHO)
    return sequence(0x04000500, content)


FILES: dict[str, bytes] = {
    "a VR that does not exist": file(element(0x00100010, b"ZZ", WHO), NUMBER),
    "a VR of control signs": file(element(0x00100010, b"\1\2", WHO), NUMBER),
    "a name as bytes": file(element(0x00100010, b"OB", WHO), NUMBER),
    "a name as unknown": file(element(0x00100010, b"UN", WHO), NUMBER),
    "a name as a sequence": file(element(0x00100010, b"SQ", WHO), NUMBER),
    "a name as numbers": file(element(0x00100010, b"FD", WHO), NUMBER),
    "a name where a date belongs": file(NAME, element(0x00080020, b"DA", WHO)),
    "a name where a number belongs": file(NAME, element(0x00180050, b"DS", WHO), element(0x00200013, b"IS", WHO)),
    "a name where a UID belongs": file(NAME, element(0x0020000D, b"UI", WHO), element(0x00081150, b"UI", WHO)),
    "a name where a tag belongs": file(NAME, element(0x00280009, b"AT", WHO)),
    "a name in a sequence's place": file(NAME, element(0x00082218, b"LO", WHO)),
    "an age that is a name": file(NAME, element(0x00101010, b"AS", WHO)),
    "odd lengths": file(
        element(0x00100010, b"PN", WHO + b"x", pad=False), element(0x00280010, b"US", b"\1\2\3", pad=False), NUMBER
    ),
    "a number of three bytes": file(NAME, element(0x00280010, b"US", b"\1\2\3", pad=False)),
    "a length beyond the end": file(NUMBER, element(0x00100010, b"PN", WHO, length=60_000)),
    "a length beyond any file": file(NUMBER, element(0x00420011, b"OB", WHO, length=UNDEFINED - 2)),
    "a text without an end": file(NUMBER, element(0x00420011, b"UT", WHO, length=UNDEFINED)),
    "an element cut off": file(NAME, NUMBER)[:-3],
    "a character set that does not exist": file(
        element(0x00080005, b"CS", b"ISO_IR 999"), element(0x00100010, b"PN", WHO), NUMBER
    ),
    "a character set that is a name": file(element(0x00080005, b"CS", WHO), NAME, NUMBER),
    "bytes that are in no character set": file(
        element(0x00080005, b"CS", b"ISO_IR 192"), element(0x00100010, b"PN", b"\xff\xfe\xc3" + WHO), NUMBER
    ),
    "escapes that lead nowhere": file(
        element(0x00080005, b"CS", b"\\ISO 2022 IR 87"),
        element(0x00100010, b"PN", b"\x1b$B\x1b" + WHO + b"\x1b"),
        NUMBER,
    ),
    "sequences 20 deep": file(nested(20, undefined=False)),
    "sequences 200 deep": file(nested(200, undefined=False)),
    "sequences 200 deep, without lengths": file(nested(200, undefined=True)),
    "sequences 3,000 deep, without lengths": file(nested(3000, undefined=True)),
    "a sequence without an end": file(element(REFERENCES, b"SQ", NAME, length=UNDEFINED)),
    "an item longer than its sequence": file(
        element(REFERENCES, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, 5000) + NAME, length=len(NAME) + 8)
    ),
    "a sequence of no items but text": file(element(REFERENCES, b"SQ", WHO)),
    "unknown private blocks": file(NAME, _private()),
    "encrypted attributes": file(NAME, _encrypted()),
    "encrypted attributes, nested": file(NAME, sequence(REFERENCES, _encrypted())),
    "the same attribute twice": file(NAME, element(0x00100010, b"PN", b"Other^Name"), NUMBER),
    "attributes out of order": file(NUMBER, NAME, element(0x00080070, b"LO", b"ACME")),
    "an attribute in the group of file meta information": file(NAME, element(0x00020102, b"OB", WHO)),
    "a command group": file(element(0x00000900, b"LO", WHO), NAME),
    "a tag that does not exist": file(NAME, element(0x00081234, b"LO", WHO), element(0x0AAA0001, b"UN", WHO)),
    "zero bytes in a number": file(NAME, element(0x00100020, b"LO", b"47\x0011\0" + CANARY.encode())),
    "bytes after the end": file(NAME, NUMBER) + b"\0\0" + WHO,
    "padding that is a name": file(NAME, element(0xFFFCFFFC, b"OB", WHO)),
    "bytes that are a name": file(NAME, element(0x00282000, b"OB", b"profile of " + WHO), _WIDE_NAME),
    "a code that is a name": file(NAME, element(0x00080060, b"CS", CANARY.encode())),
    "an address that is a name": file(NAME, element(0x00080120, b"UR", b"urn:" + CANARY.encode())),
    "numbers that are a name": file(NAME, element(0x00280010, b"US", WHO), element(0x00189073, b"FD", WHO)),
    "a preamble that is a name": WHO.ljust(128, b"\0") + file(NAME)[128:],
    "words that say to be in the other order": file(NAME, NUMBER, syntax=BIG),
    "a header that says to be implicit": file(NAME, NUMBER, syntax=IMPLICIT),
    "a transfer syntax that does not exist": file(NAME, NUMBER, syntax="1.2.3.4.5.6"),
    "a deflated file": file(NAME, NUMBER, syntax=DEFLATED),
    "a deflated file that is cut off": file(NAME, NUMBER, syntax=DEFLATED)[:-9],
    "a deflated file that unfolds to more than is taken": file(
        NAME, element(0x00420011, b"OB", bytes(2 * _MOST_INFLATED)), syntax=DEFLATED
    ),
    "nothing but a name": file(NAME, around=False),
    "an overlay without sizes": file(NAME, element(0x60003000, b"OW", WHO)),
    "a structured report with a name": file(
        NAME, sequence(0x0040A730, element(0x0040A160, b"UT", WHO) + element(0x0040A123, b"PN", WHO))
    ),
    "a file within the file": file(NAME, element(0x00420011, b"OB", file(NAME))),
}


def _cleaned(data: bytes, profile: str) -> Result:
    wanted = find_profile(profile)
    limits = DecodingLimits(max_inflated_bytes=_MOST_INFLATED)
    return clean_file(data, wanted.model_copy(update={"pixels": Pixels(clean=False)}), KEY, limits)


def _assert_safe(result: Result) -> None:
    assert result.outcome in ("cleaned", "quarantined")
    assert (result.outcome == "cleaned") == bool(result.data)
    assert result.data or result.reason
    lower = result.data.lower()
    for form in ("ascii", "utf-16-le", "utf-16-be"):
        assert CANARY.lower().encode(form) not in lower
    assert CANARY.lower() not in result.reason.lower()
    assert CANARY.lower() not in str(result.actions).lower()


@pytest.mark.parametrize("profile", ["basic", "research-max-utility"])
@pytest.mark.parametrize("kind", FILES)
def test_nothing_is_passed_on_unread(kind: str, profile: str) -> None:
    _assert_safe(_cleaned(FILES[kind], profile))


@pytest.mark.parametrize(
    ("kind", "outcome", "says"),
    [
        ("sequences 20 deep", "cleaned", ""),
        ("sequences 200 deep", "quarantined", "deeper"),
        ("sequences 200 deep, without lengths", "quarantined", "deeper"),
        ("sequences 3,000 deep, without lengths", "quarantined", "deeper"),
        ("unknown private blocks", "cleaned", ""),
        ("encrypted attributes", "cleaned", ""),
        ("a deflated file", "cleaned", ""),
        ("a deflated file that unfolds to more than is taken", "quarantined", "unfolds"),
        ("nothing but a name", "quarantined", "SOP Instance UID is missing"),
    ],
)
def test_what_becomes_of_the_well_known_ones(kind: str, outcome: str, says: str) -> None:
    result = _cleaned(FILES[kind], "basic")
    assert (result.outcome, says in result.reason) == (outcome, True), result.reason


def test_gigantic_sequences_are_read_whole_or_held_back() -> None:
    items = [element(0x00081150, b"UI", b"1.2.3")] * 9_999 + [NAME]
    result = _cleaned(file(NAME, NUMBER, sequence(REFERENCES, *items)), "basic")
    _assert_safe(result)
    assert result.outcome == "cleaned"
    many = sequence(REFERENCES, *[b""] * 300_000)
    for syntax in (EXPLICIT, DEFLATED):
        result = clean_file(file(NAME, NUMBER, many, syntax=syntax), find_profile("basic"), KEY)
        assert "more than 250,000 items" in result.reason


def test_bytes_changed_at_random_let_no_name_through() -> None:
    chance = random.Random(4)  # noqa: S311  # nothing here is secret
    complete = file(
        NAME,
        NUMBER,
        element(0x00101001, b"PN", WHO),
        element(0x00104000, b"LT", b"seen as " + WHO),
        sequence(REFERENCES, NAME + element(0x00081030, b"LO", WHO)),
        _private(),
    )
    start = complete.index(b"\x08\0\x16\0")
    for _ in range(400):
        data = bytearray(complete)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(start, len(data))] = chance.randrange(256)
        # Not the profile that keeps names of devices: a name whose tag becomes that of a device is one.
        _assert_safe(_cleaned(bytes(data), chance.choice(["basic", "research-dates-shifted"])))
