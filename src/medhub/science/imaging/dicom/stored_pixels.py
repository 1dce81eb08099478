# SPDX-License-Identifier: Apache-2.0
"""Pixel data as they will be stored: the pixels as they are, and nothing beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

from medhub.science.imaging.codecs.codestreams import DEFLATED_FRAMES, FrameFault, clean_frame
from medhub.science.imaging.codecs.decompression import decompress_deflated, decompress_rle
from medhub.science.imaging.codecs.unused_bits import SampleLayout, clear_frame, clear_native
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.object_checks import NATIVE_SYNTAXES, number_of_frames
from medhub.science.imaging.dicom.object_kinds import PixelKeyword

_RECOPY = "Copy or export it again from its source."


class StoredPixels(NamedTuple):
    """Pixel data as they will be stored."""

    data: bytes
    transfer_syntax: UID
    changed: bool


def clean_pixels(
    received: Dataset, syntax: UID, keyword: PixelKeyword = "PixelData", limits: DecodingLimits | None = None
) -> StoredPixels:
    """Take over pixel data without what hides beside the pixels.

    Comments and application data of compressed frames, bytes after the last frame, and the bits of a cell that are not
    stored bits, where old overlays hide, are left out. The pixels themselves stay as they are.

    Parameters
    ----------
    received
        A dataset that ``checks.check_object`` accepts.
    syntax
        Its transfer syntax.
    keyword
        Under which the pixels lie.
    limits
        What is taken.

    Returns
    -------
    StoredPixels

    Raises
    ------
    Unacceptable
        When the frames cannot be told apart, are damaged, or fewer than declared.
    """
    element = received[keyword]
    value = element.value
    packed = syntax not in NATIVE_SYNTAXES
    if not isinstance(value, bytes) or bool(element.is_undefined_length) != packed:
        raise Unacceptable(
            f"The pixels of this DICOM file are not encoded as its transfer syntax says. {_RECOPY}", reason="damaged"
        )
    big_endian = syntax == ExplicitVRBigEndian
    if keyword != "PixelData":
        return StoredPixels(_clean_floats(received, value, big_endian=big_endian), ExplicitVRLittleEndian, False)
    if syntax == DEFLATED_FRAMES or (syntax == RLELossless and int(received.BitsAllocated) == 1):
        decompressed = _decompress_frames(received, value, syntax, limits or DecodingLimits())
        data, changed = _native(received, decompressed, big_endian=False, vr="OB")
        return StoredPixels(data, ExplicitVRLittleEndian, changed)
    if packed:
        return StoredPixels(*_clean_frames(received, value, syntax))
    data, changed = _native(received, value, big_endian=big_endian, vr=str(element.VR))
    return StoredPixels(data, ExplicitVRLittleEndian, changed)


def _frames(received: Dataset, value: bytes, expected: int) -> Iterator[bytes]:
    offsets = None
    if "ExtendedOffsetTable" in received and "ExtendedOffsetTableLengths" in received:
        offsets = (received.ExtendedOffsetTable, received.ExtendedOffsetTableLengths)
    return generate_frames(value, number_of_frames=expected, extended_offsets=offsets)


def _decompress_frames(received: Dataset, value: bytes, syntax: UID, limits: DecodingLimits) -> bytes:
    """Decompress frames into native pixels; frames of single bits follow each other without gaps (PS3.5, 8.1.1)."""
    expected = number_of_frames(received)
    cells = int(received.Rows) * int(received.Columns) * int(received.SamplesPerPixel)
    bits = int(received.BitsAllocated)
    length = -(-cells * bits // 8)
    if length * expected > limits.max_inflated_bytes:
        raise Unacceptable(
            f"The pixels of this DICOM file decompress to more than {limits.max_inflated_bytes:,} bytes, which is more "
            "than is accepted. Export it in parts.",
            reason="too-many-pixels",
        )
    decompress = decompress_deflated if syntax == DEFLATED_FRAMES else decompress_rle
    frames: list[bytes] = []
    try:
        for frame in _frames(received, value, expected):
            frames.append(decompress(frame, length))
            if len(frames) == expected:
                break
    except Exception as error:
        raise Unacceptable(
            f"Frame {len(frames) + 1} of {expected} of this DICOM file is damaged: it cannot be decompressed. "
            f"{_RECOPY}",
            reason="damaged",
        ) from error
    if len(frames) < expected:
        raise _too_few(len(frames), expected)
    if bits > 1 or cells % 8 == 0:
        return b"".join(frames)
    planes = [np.unpackbits(np.frombuffer(plane, np.uint8), count=cells, bitorder="little") for plane in frames]
    return np.packbits(np.concatenate(planes), bitorder="little").tobytes()


def _clean_floats(received: Dataset, value: bytes, *, big_endian: bool) -> bytes:
    """Cut floating-point pixels to their length, in little endian; every NaN becomes the same NaN."""
    expected = get_expected_length(received)
    if len(value) < expected:
        raise _too_short(len(value), expected)
    size = int(received.BitsAllocated) // 8
    numbers = np.frombuffer(value[:expected], f"{'>' if big_endian else '<'}f{size}").astype(f"<f{size}")
    # 51 bits of a NaN could hold any text.
    numbers[np.isnan(numbers)] = np.nan
    return numbers.tobytes()


def _too_few(there: int, expected: int) -> Unacceptable:
    return Unacceptable(
        f"This DICOM file has {there} of the {expected} frames that it declares. {_RECOPY}", reason="truncated"
    )


def _too_short(there: int, expected: int) -> Unacceptable:
    return Unacceptable(
        f"The pixels of this DICOM file end too early: {there:,} of {expected:,} bytes are there. {_RECOPY}",
        reason="truncated",
    )


def remove_descriptions_of_embedded_overlays(dataset: Dataset) -> list[BaseTag]:
    """Remove overlay attributes of groups without Overlay Data: their overlays were bits of the pixels (PS3.3, C.9.2).

    Parameters
    ----------
    dataset
        With the pixels as they will be stored; it is changed.

    Returns
    -------
    list of tags
        What was removed.
    """
    tags: list[BaseTag] = list(dataset.keys())
    overlays = [tag for tag in tags if tag.group >> 8 == 0x60]
    with_data = {tag.group for tag in overlays if tag.element == 0x3000}
    without_data = [tag for tag in overlays if tag.group not in with_data]
    for tag in without_data:
        del dataset[tag]
    return without_data


def _clean_frames(received: Dataset, value: bytes, syntax: UID) -> tuple[bytes, UID, bool]:
    """Clean compressed frames; tell whether bits above the stored ones were cleared."""
    expected = number_of_frames(received)
    shape = (int(received.Rows), int(received.Columns), int(received.SamplesPerPixel))
    layout = SampleLayout(*shape, int(received.BitsAllocated), int(received.BitsStored), _is_signed(received))
    frames: list[bytes] = []
    changed = False
    try:
        for number, frame in enumerate(_frames(received, value, expected), start=1):
            if number > expected:
                break
            cleaned = clean_frame(frame, syntax)
            if cleaned.size is not None and cleaned.size != shape:
                raise Unacceptable(
                    f"Frame {number} of this DICOM file has another size than the file declares. {_RECOPY}",
                    reason="damaged",
                )
            cleared = clear_frame(cleaned, syntax, layout)
            changed = changed or cleared is not cleaned.data
            frames.append(cleared)
    except FrameFault as fault:
        raise Unacceptable(
            f"Frame {len(frames) + 1} of {expected} of this DICOM file is damaged: {fault}. {_RECOPY}",
            reason="truncated" if fault.truncated else "damaged",
        ) from fault
    except Unacceptable:
        raise
    except Exception as error:
        raise Unacceptable(
            f"The frames of this DICOM file cannot be told apart. {_RECOPY}", reason="damaged"
        ) from error
    if len(frames) < expected:
        raise _too_few(len(frames), expected)
    return encapsulate(frames), syntax, changed


def _is_signed(received: Dataset) -> bool:
    return int(received.get("PixelRepresentation", 0) or 0) == 1


def _native(received: Dataset, value: bytes, *, big_endian: bool, vr: str) -> tuple[bytes, bool]:
    """Cut native pixels to their length, in little endian, with nothing in the bits that are not stored bits."""
    expected = get_expected_length(received)
    if len(value) < expected:
        raise _too_short(len(value), expected)
    allocated, stored = int(received.BitsAllocated), int(received.BitsStored)
    cell = 16 if allocated <= 8 and vr == "OW" else allocated
    padded = expected + expected % 2
    data = value[:padded] if cell > 8 else value[:expected]
    if big_endian and cell > 8:
        data = data.ljust(padded, b"\x00")
        data = np.frombuffer(data, f">u{cell // 8}").astype(f"<u{cell // 8}").tobytes()
    data = data[:expected]
    changed = False
    if 1 < stored < allocated:
        cells = np.frombuffer(data, f"<{'i' if _is_signed(received) else 'u'}{allocated // 8}")
        cleared = clear_native(cells, stored)
        changed = not np.array_equal(cleared, cells)
        if changed:
            data = cleared.tobytes()
    return data + b"\x00" * (len(data) % 2), changed
