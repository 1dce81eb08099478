# SPDX-License-Identifier: Apache-2.0
"""A received DICOM file read within bounds: recognized, unfolded up to the limit, and checked for an image."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import NamedTuple

from pydicom import Dataset, dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medhub.science.imaging.codestreams import COMPRESSED_SYNTAXES
from medhub.science.imaging.limits import Limits, Unacceptable, refuse_oversized

# What pydicom has to say about a file quotes its values.
logging.getLogger("pydicom").propagate = False

NATIVE_SYNTAXES = frozenset((ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian))
_RECOPY = "Copy or export it again from its source."


class Received(NamedTuple):
    """A received DICOM file with an image."""

    dataset: Dataset
    transfer_syntax: UID


def is_dicom(data: bytes) -> bool:
    """Tell whether bytes are a DICOM file: by the word after the preamble, or by a first element without preamble."""
    if data[128:132] == b"DICM":
        return True
    if len(data) < 16:
        return False
    group, element = struct.unpack_from("<HH", data)
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    if group == 2 and element <= 0x0102:
        return explicit
    # Without file meta information a dataset begins in group 8, with a short first value.
    if group == 8 and element <= 0x18:
        return explicit or struct.unpack_from("<I", data, 4)[0] <= 64
    return False


@contextmanager
def quiet() -> Iterator[None]:
    """Have pydicom read what it can without warnings; what it reads is checked afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_received(data: bytes, limits: Limits) -> Received:
    """Read a received DICOM file.

    Parameters
    ----------
    data
        The bytes, which ``is_dicom`` recognizes.
    limits
        What is taken; sizes are checked before anything of that size is made.

    Returns
    -------
    Received
        The dataset, with its pixel data still encoded, and its transfer syntax.

    Raises
    ------
    Unacceptable
        When the file holds no image, or one that cannot be read or exceeds the limits.
    """
    with quiet():
        try:
            dataset, syntax = parse_within(data, limits)
            # A parser drops pixels without an end; their tag is there all the same.
            if "PixelData" not in dataset and "Rows" in dataset and b"\xe0\x7f\x10\x00" in data:
                raise Unacceptable(f"This DICOM file ends in the middle of its pixels. {_RECOPY}", reason="truncated")
            check_image(dataset, syntax, limits)
        except (Unacceptable, MemoryError):
            raise
        except (InvalidDicomError, EOFError, struct.error) as error:
            raise Unacceptable(f"This DICOM file ends too early or is damaged. {_RECOPY}", reason="damaged") from error
        except RecursionError as error:
            raise _too_deep(limits) from error
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            raise Unacceptable(
                f"This DICOM file is damaged: it cannot be parsed. {_RECOPY}", reason="damaged"
            ) from error
    return Received(dataset, syntax)


def _too_deep(limits: Limits) -> Unacceptable:
    return Unacceptable(
        f"The sequences of this DICOM file lie deeper than {limits.max_depth} levels in one another, as no device "
        "writes them. The file is damaged or made with bad intent.",
        reason="damaged",
    )


def parse_within(data: bytes, limits: Limits) -> tuple[Dataset, UID]:
    """Parse a DICOM file, with or without file meta information, and unfold a deflated one up to the limit.

    Returns
    -------
    tuple[Dataset, UID]
        The dataset, and the transfer syntax of what is in it: a deflated file counts as Explicit VR Little Endian.

    Raises
    ------
    Unacceptable
        It has too many items, or unfolds to too much.
    """
    syntax, start = _file_meta(data)
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated = _inflate(data[start:], limits)
        _refuse_many_items(inflated, limits)
        return read_dataset(BytesIO(inflated), False, True), ExplicitVRLittleEndian
    _refuse_many_items(data, limits)
    file = dcmread(BytesIO(data), force=True)
    if syntax is None:
        implicit, little = file.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return file, syntax


def _refuse_many_items(data: bytes, limits: Limits) -> None:
    """Count the tags of items in either byte order; a few more occur within pixels by chance."""
    if max(data.count(b"\xfe\xff\x00\xe0"), data.count(b"\xff\xfe\xe0\x00")) > limits.max_items:
        raise Unacceptable(
            f"This DICOM file has more than {limits.max_items:,} items in its sequences, as no device writes them.",
            reason="damaged",
        )


def _file_meta(data: bytes) -> tuple[UID | None, int]:
    """Find the transfer syntax in the file meta information, always explicit little endian (PS3.10, 7.1)."""
    at = 132 if data[128:132] == b"DICM" else 0
    syntax: UID | None = None
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        (element,) = struct.unpack_from("<H", data, at + 2)
        if data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF"):
            length, header = struct.unpack_from("<I", data, at + 8)[0], 12
        else:
            length, header = struct.unpack_from("<H", data, at + 6)[0], 8
        if element == 0x0010:
            text = data[at + header : at + header + length].rstrip(b"\x00 ")
            syntax = UID(text.decode("ascii", "replace"))
        at += header + length
    return syntax, at


def _inflate(data: bytes, limits: Limits) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, limits.max_inflated_bytes + 1)
    except zlib.error as error:
        raise Unacceptable(
            f"This DICOM file is damaged: its compressed part cannot be unfolded. {_RECOPY}", reason="damaged"
        ) from error
    if len(inflated) > limits.max_inflated_bytes:
        raise Unacceptable(
            f"This compressed DICOM file unfolds to more than {limits.max_inflated_bytes:,} bytes, which is more than "
            "is taken. Export it in another transfer syntax, or in parts.",
            reason="too-many-bytes",
        )
    if not inflater.eof:
        raise Unacceptable(f"This compressed DICOM file ends too early. {_RECOPY}", reason="truncated")
    return inflated


def check_image(dataset: Dataset, syntax: UID, limits: Limits) -> None:
    """Refuse a dataset that holds no image, or one that cannot be decoded or is too large.

    Parameters
    ----------
    dataset
        The received dataset.
    syntax
        Its transfer syntax.
    limits
        What is taken.

    Raises
    ------
    Unacceptable
        With a sentence that says what is wrong.
    """
    if "PixelData" not in dataset:
        raise _no_image(dataset)
    if syntax not in NATIVE_SYNTAXES and syntax not in COMPRESSED_SYNTAXES:
        entry = UID_dictionary.get(str(syntax))
        name = entry[0].split(" (")[0] if entry else f"transfer syntax {str(syntax)[:64]}"
        raise Unacceptable(
            f"The pixels of this DICOM file are compressed in a way that is not read here ({name}). "
            "Export it in another transfer syntax, for example Explicit VR Little Endian.",
            reason="unsupported",
        )
    rows, columns, samples, allocated, stored = (
        _number(dataset, keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored")
    )
    refuse_oversized(rows, columns, limits)
    frames = number_of_frames(dataset)
    if frames < 1:
        raise Unacceptable(
            f"This DICOM file does not say how many frames it has (Number of Frames is no number). {_RECOPY}",
            reason="damaged",
        )
    if frames > limits.max_frames:
        raise Unacceptable(
            f"The file says that it has {frames:,} frames; at most {limits.max_frames:,} are taken. "
            "Export it in parts.",
            reason="too-many-pixels",
        )
    if samples not in (1, 3) or allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise Unacceptable(
            f"The pixels of this DICOM file have {samples} samples of {stored} bits in {allocated}, which is not read "
            "here: 1 or 3 samples in 1, 8, 16 or 32 bits are.",
            reason="unsupported",
        )
    if _number(dataset, "HighBit", stored - 1) != stored - 1:
        raise Unacceptable(
            "The pixels of this DICOM file use the upper bits of their cells (High Bit), an old form that is not read "
            "here. Export it again.",
            reason="unsupported",
        )
    if not dataset.get("PhotometricInterpretation"):
        raise Unacceptable(
            f"This DICOM file does not say what its pixel values mean (Photometric Interpretation). {_RECOPY}",
            reason="damaged",
        )


def _no_image(dataset: Dataset) -> Unacceptable:
    entry = UID_dictionary.get(str(dataset.get("SOPClassUID", "")))
    kind = f" ({entry[0]})" if entry else ""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        return Unacceptable(
            f"The pixels of this DICOM file{kind} are floating-point numbers, which are not read here.",
            reason="unsupported",
        )
    return Unacceptable(
        f"This DICOM file{kind} holds no image. Only images are kept here; documents, plans and measurements are not.",
        reason="unsupported",
    )


def number_of_frames(dataset: Dataset) -> int:
    """Number of frames that a dataset declares; 1 without the attribute, 0 when it cannot be read."""
    value = dataset.get("NumberOfFrames", 1)
    try:
        return int(value) if value not in (None, "") else 1
    except (TypeError, ValueError):
        return 0


def _number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword, default)
        return int(value)
    except (TypeError, ValueError) as error:
        raise Unacceptable(
            f"This DICOM file does not say how its pixels are laid out ({keyword} is missing or no number). {_RECOPY}",
            reason="damaged",
        ) from error
