# SPDX-License-Identifier: Apache-2.0
"""Real files made wrong as files go wrong or are made with bad intent; the same seed makes the same file."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.uid import UID

from medhub.science.imaging.dicom.received_file import is_dicom, quiet
from tests.factories import kinds

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
_LARGEST = 220_000
_LARGEST_OF_A_SYNTAX = 3_000_000  # for the first file of a transfer syntax that no smaller one has
_SIZES = (0, 1, 2, 3, 7, 0x7FFF, 0x8000, 0xFFFF)
_LENGTHS = (0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
_UIDS = ("../../../etc/passwd", "/etc/passwd", "1.2.\0.3", "1." * 32_000 + "1", "..\\..\\boot.ini", "1.2.3 OR 1=1", "")
_VRS = (b"SQ", b"UN", b"OB", b"OW", b"UT", b"DS", b"PN", b"AT", b"FD", b"ZZ", b"\0\0")

Mutation = Callable[[random.Random, bytes], bytes]


class Sample(NamedTuple):
    """A real file that is mutated."""

    name: str
    syntax: str
    data: bytes


def samples() -> list[Sample]:
    """Real files of every available transfer syntax and kind; larger ones add nothing and take longer."""
    files = [Sample(f"made: {name}", "Explicit VR Little Endian", make()) for name, (make, _) in kinds.KINDS.items()]
    files += [Sample("made: document", "Explicit VR Little Endian", kinds.document())]
    known_variants: set[tuple[object, ...]] = set()
    for folder in (BUNDLED, SHARED):
        paths = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
        for path in sorted(paths, key=lambda entry: (entry.stat().st_size > _LARGEST, str(entry))):
            if path.stat().st_size > _LARGEST_OF_A_SYNTAX:
                continue
            data = path.read_bytes()
            if not is_dicom(data):
                continue
            with quiet():
                try:
                    file = dcmread(BytesIO(data), stop_before_pixels=True, force=True)
                    syntax = UID(str(file.get("file_meta", Dataset()).get("TransferSyntaxUID", "")) or "none")
                    keywords = ("SOPClassUID", "PhotometricInterpretation", "BitsAllocated", "NumberOfFrames")
                    variant = (syntax, *(str(file.get(keyword, "")) for keyword in keywords))
                except Exception:  # noqa: S112 - a damaged file is no sample
                    continue
            large = len(data) > _LARGEST and any(syntax == entry[0] for entry in known_variants)
            if variant not in known_variants and not large:
                known_variants.add(variant)
                files.append(Sample(path.name, syntax.name, data))
    return files


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    """Turn a few bits around, anywhere."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 64))):
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def flip_header_bits(chance: random.Random, data: bytes) -> bytes:
    """Turn bits around where attributes stand."""
    out = bytearray(data)
    end = max(140, min(len(out), 3_000))
    for _ in range(chance.choice((1, 4, 16))):
        out[chance.randrange(132, end) if end > 132 and len(out) > 140 else 0] ^= 1 << chance.randrange(8)
    return bytes(out)


def cut_off(chance: random.Random, data: bytes) -> bytes:
    """End too early."""
    return data[: chance.randrange(1, len(data))]


def cut_out(chance: random.Random, data: bytes) -> bytes:
    """Miss a piece."""
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 17, 512)) :]


def repeat(chance: random.Random, data: bytes) -> bytes:
    """Repeat a part of the file, twice or very often."""
    position = chance.randrange(len(data))
    part = data[position : position + chance.choice((8, 64, 1024))]
    return data[:position] + part * chance.choice((2, 3, 200)) + data[position:]


def lie_about_length(chance: random.Random, data: bytes) -> bytes:
    """Write another number where a length, or anything of four bytes, stands."""
    out = bytearray(data)
    at = chance.randrange(132, len(out) - 4) & ~1 if len(out) > 140 else 0
    struct.pack_into("<I", out, at, chance.choice(_LENGTHS))
    return bytes(out)


def swap_tags(chance: random.Random, data: bytes) -> bytes:
    """Exchange two places of the header, or write another representation."""
    out = bytearray(data)
    end = min(len(out), 4_000)
    if end < 160:
        return bytes(out)
    first, second = (chance.randrange(132, end - 8) & ~1 for _ in range(2))
    if chance.random() < 0.5:
        out[first : first + 4], out[second : second + 4] = out[second : second + 4], out[first : first + 4]
    else:
        out[first : first + 2] = chance.choice(_VRS)
    return bytes(out)


def nest_sequences(chance: random.Random, data: bytes) -> bytes:
    """Insert sequences within sequences, ended or not."""
    depth = chance.choice((1, 5, 40, 3_000))
    opened = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    at = _after_meta(data)
    return data[:at] + opened * depth + closed * (depth if chance.random() < 0.6 else depth // 2) + data[at:]


def _after_meta(data: bytes) -> int:
    if data[128:132] != b"DICM" or data[132:136] != b"\x02\0\0\0":
        return 0
    length: int = struct.unpack_from("<I", data, 140)[0]
    return min(len(data), 144 + length)


def rewrite(change: Callable[[random.Random, Dataset], None]) -> Mutation:
    """A mutation of attributes: the file is parsed, changed and written, as somebody would who means it."""

    def mutated(chance: random.Random, data: bytes) -> bytes:
        with quiet():
            try:
                file = dcmread(BytesIO(data), force=True)
                change(chance, file)
                out = BytesIO()
                dcmwrite(out, file)
                return out.getvalue()
            except Exception:  # what cannot be written this way is made wrong in another
                return flip_bits(chance, data)

    return mutated


def _sizes(chance: random.Random, file: Dataset) -> None:
    for keyword in chance.sample(("Rows", "Columns"), chance.choice((1, 2))):
        file.add(DataElement(keyword, "US", chance.choice(_SIZES)))
    if chance.random() < 0.7:
        file.add(DataElement("NumberOfFrames", "IS", str(chance.choice((0, -1, 2, 1999, 2000, 2**31 - 1)))))


def _cells(chance: random.Random, file: Dataset) -> None:
    for keyword, values in (
        ("BitsAllocated", (1, 8, 16, 32, 64, 12, 0)),
        ("BitsStored", (1, 8, 12, 16, 33, 0)),
        ("HighBit", (0, 7, 15, 255)),
        ("SamplesPerPixel", (0, 1, 2, 3, 4, 65535)),
        ("PixelRepresentation", (0, 1, 2)),
        ("PlanarConfiguration", (0, 1, 7)),
    ):
        if chance.random() < 0.35:
            file.add(DataElement(keyword, "US", chance.choice(values)))
    if chance.random() < 0.5:
        words = ("RGB", "YBR_FULL_422", "YBR_FULL", "YBR_RCT", "PALETTE COLOR", "MONOCHROME1", "NONSENSE", "")
        file.add(DataElement("PhotometricInterpretation", "CS", chance.choice(words)))


def _uids(chance: random.Random, file: Dataset) -> None:
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"):
        if chance.random() < 0.6:
            file.add(DataElement(keyword, "UI", chance.choice(_UIDS)))


def _values(chance: random.Random, file: Dataset) -> None:
    for keyword, vr, values in (
        ("WindowCenter", "DS", ("nan", "1e308", "-1e308", "0", "")),
        ("WindowWidth", "DS", ("0", "-5", "1e-300", "nan", "1")),
        ("RescaleSlope", "DS", ("0", "1e300", "nan", "-1")),
        ("RescaleIntercept", "DS", ("1e300", "-inf", "0")),
        ("PixelPaddingValue", "SS", (0, -32768, 32767)),
        ("PatientName", "PN", ("A" * 70_000, "^" * 500, "\0", "=" * 50)),
        ("SpecificCharacterSet", "CS", ("ISO 2022 IR 87", "nonsense", "ISO_IR 192\\ISO_IR 100")),
    ):
        if chance.random() < 0.4:
            file.add(DataElement(keyword, vr, chance.choice(values)))


def _tables(chance: random.Random, file: Dataset) -> None:
    item = Dataset()
    item.add(
        DataElement("LUTDescriptor", "US", [chance.choice(_SIZES), chance.choice(_SIZES), chance.choice((8, 16, 0))])
    )
    item.add(DataElement("LUTData", "OW", bytes(chance.choice((0, 2, 512, 70_000)))))
    file.add(DataElement(chance.choice(("ModalityLUTSequence", "VOILUTSequence")), "SQ", [item]))


def _offsets(chance: random.Random, file: Dataset) -> None:
    lies = struct.pack("<4Q", *(chance.choice((0, 1, 2**40, 2**64 - 1)) for _ in range(4)))
    file.add(DataElement("ExtendedOffsetTable", "OV", lies))
    file.add(DataElement("ExtendedOffsetTableLengths", "OV", lies[::-1]))


def lie_about_offsets(chance: random.Random, data: bytes) -> bytes:
    """Write a table of offsets in front of compressed frames that leads elsewhere."""
    at = data.find(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0")
    if at < 0:
        return rewrite(_offsets)(chance, data)
    (length,) = struct.unpack_from("<I", data, at + 16)
    lies = b"".join(struct.pack("<I", chance.choice(_LENGTHS)) for _ in range(chance.choice((1, 3, 500))))
    return data[: at + 16] + struct.pack("<I", len(lies)) + lies + data[at + 20 + min(length, len(data)) :]


def hostile_preamble(chance: random.Random, data: bytes) -> bytes:
    """Begin as a file of another kind does."""
    head = chance.choice(
        (b"MZ\x90\0", b"PK\x03\x04", b"%PDF-1.7\n", b"\x7fELF", b"II*\0", b"<html><script>", b"\xff\xd8\xff")
    )
    return head.ljust(128, b"A") + data[128:] if data[128:132] == b"DICM" else head.ljust(128, b"\0") + b"DICM" + data


def noise_at_the_end(chance: random.Random, data: bytes) -> bytes:
    """Have the second half replaced by noise, as a compressed frame that was damaged."""
    at = chance.randrange(len(data) // 2, len(data))
    return data[:at] + chance.randbytes(len(data) - at)


MUTATIONS: dict[str, Mutation] = {
    "bits": flip_bits,
    "bits of the header": flip_header_bits,
    "cut off": cut_off,
    "a piece missing": cut_out,
    "a piece repeated": repeat,
    "lengths": lie_about_length,
    "tags and representations": swap_tags,
    "nested sequences": nest_sequences,
    "sizes": rewrite(_sizes),
    "cells of pixels": rewrite(_cells),
    "UIDs": rewrite(_uids),
    "values": rewrite(_values),
    "tables": rewrite(_tables),
    "offset tables": lie_about_offsets,
    "preambles": hostile_preamble,
    "noise": noise_at_the_end,
}


def mutated(several: Sequence[Sample], seed: int) -> tuple[Sample, str, bytes]:
    """The mutation of a seed: of which file, in which way, and what it became."""
    chance = random.Random(seed)  # noqa: S311 - to be the same again, not to be secret
    sample = several[seed % len(several)]
    name = chance.choice(list(MUTATIONS))
    data = MUTATIONS[name](chance, sample.data)
    if chance.random() < 0.2:
        data = flip_bits(chance, data) if data else data
    return sample, name, data
