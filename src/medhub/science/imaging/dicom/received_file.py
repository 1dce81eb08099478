# SPDX-License-Identifier: Apache-2.0
"""A received DICOM file read within bounds: recognized, unfolded up to the limit, and checked for what it is."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import NamedTuple

from pydicom import DataElement, Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.object_checks import check_object
from medhub.science.imaging.dicom.object_kinds import kind_of
from medhub.science.imaging.dicom.truncation import is_truncated

# What pydicom has to say about a file quotes its values.
logging.getLogger("pydicom").propagate = False

_RECOPY = "Copy or export it again from its source."


class Received(NamedTuple):
    """A received DICOM file of a kind that is kept, with its elements as they were read, before any was looked at."""

    dataset: Dataset
    transfer_syntax: UID
    elements: dict[BaseTag, DataElement | RawDataElement]


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


def read_received(data: bytes, limits: DecodingLimits) -> Received:
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
        When the file holds nothing that is kept, or something that cannot be read or exceeds the limits.
    """
    with quiet():
        try:
            dataset, syntax = parse_within(data, limits)
            elements = dict(dataset.items())
            # A parser drops pixels without an end; their tag is there all the same.
            if "PixelData" not in dataset and "Rows" in dataset and b"\xe0\x7f\x10\x00" in data:
                raise Unacceptable(f"This DICOM file ends in the middle of its pixels. {_RECOPY}", reason="truncated")
            check_object(dataset, syntax, limits)
            if kind_of(dataset).pixels is None:
                _refuse_cut_off(dataset, data)
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
    return Received(dataset, syntax, elements)


def _too_deep(limits: DecodingLimits) -> Unacceptable:
    return Unacceptable(
        f"The sequences of this DICOM file lie deeper than {limits.max_depth} levels in one another, as no device "
        "writes them. The file is damaged or made with bad intent.",
        reason="damaged",
    )


def parse_within(data: bytes, limits: DecodingLimits) -> tuple[Dataset, UID]:
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


def is_deflated(data: bytes) -> bool:
    """Tell whether a DICOM file is in the deflated transfer syntax."""
    return _file_meta(data)[0] == DeflatedExplicitVRLittleEndian


def _refuse_many_items(data: bytes, limits: DecodingLimits) -> None:
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


def _inflate(data: bytes, limits: DecodingLimits) -> bytes:
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


def _refuse_cut_off(dataset: Dataset, data: bytes) -> None:
    """Refuse an object without pixels that was cut off: what is left of a plan or report may say something else."""
    syntax, start = _file_meta(data)
    if syntax == DeflatedExplicitVRLittleEndian:
        return  # its compressed part is whole
    implicit, little = dataset.original_encoding
    if is_truncated(data, start, implicit=bool(implicit), little=bool(little)):
        raise Unacceptable(f"This DICOM file ends in the middle of what it holds. {_RECOPY}", reason="truncated")
