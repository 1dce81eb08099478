# SPDX-License-Identifier: Apache-2.0
"""Pixel data as they will be stored: the pixels as they are, and nothing beside them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from medhub.science.imaging.codestreams import FrameFault, clean_frame
from medhub.science.imaging.limits import Unacceptable
from medhub.science.imaging.received_dicom import number_of_frames

_RECOPY = "Copy or export it again from its source."


class StoredPixels(NamedTuple):
    """Pixel data as they will be stored."""

    data: bytes
    transfer_syntax: UID
    changed: bool


def clean_pixels(received: Dataset, syntax: UID) -> StoredPixels:
    """Take over pixel data without what hides beside the pixels.

    Comments and application data of compressed frames, bytes after the last frame, and the bits of a cell that are not
    stored bits, where old overlays hide, are left out. The pixels themselves stay as they are.

    Parameters
    ----------
    received
        A dataset that ``received_dicom.check_image`` accepts.
    syntax
        Its transfer syntax.

    Returns
    -------
    StoredPixels

    Raises
    ------
    Unacceptable
        When the frames cannot be told apart, are damaged, or fewer than declared.
    """
    element = received["PixelData"]
    value = element.value
    if not isinstance(value, bytes) or bool(element.is_undefined_length) != syntax.is_encapsulated:
        raise Unacceptable(
            f"The pixels of this DICOM file are not encoded as its transfer syntax says. {_RECOPY}", reason="damaged"
        )
    if syntax.is_encapsulated:
        return StoredPixels(_clean_frames(received, value, syntax), syntax, False)
    data, changed = _native(received, value, big_endian=syntax == ExplicitVRBigEndian, vr=str(element.VR))
    return StoredPixels(data, ExplicitVRLittleEndian, changed)


def _clean_frames(received: Dataset, value: bytes, syntax: UID) -> bytes:
    expected = number_of_frames(received)
    shape = (int(received.Rows), int(received.Columns), int(received.SamplesPerPixel))
    offsets = None
    if "ExtendedOffsetTable" in received and "ExtendedOffsetTableLengths" in received:
        offsets = (received.ExtendedOffsetTable, received.ExtendedOffsetTableLengths)
    frames: list[bytes] = []
    try:
        for number, frame in enumerate(
            generate_frames(value, number_of_frames=expected, extended_offsets=offsets), start=1
        ):
            if number > expected:
                break
            cleaned = clean_frame(frame, syntax)
            if cleaned.size is not None and cleaned.size != shape:
                raise Unacceptable(
                    f"Frame {number} of this DICOM file has another size than the file declares. {_RECOPY}",
                    reason="damaged",
                )
            frames.append(cleaned.data)
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
        raise Unacceptable(
            f"This DICOM file has {len(frames)} of the {expected} frames that it declares. {_RECOPY}",
            reason="truncated",
        )
    return encapsulate(frames)


def _native(received: Dataset, value: bytes, *, big_endian: bool, vr: str) -> tuple[bytes, bool]:
    """Cut native pixels to their length, in little endian, with nothing in the bits that are not stored bits."""
    expected = get_expected_length(received)
    if len(value) < expected:
        raise Unacceptable(
            f"The pixels of this DICOM file end too early: {len(value):,} of {expected:,} bytes are there. {_RECOPY}",
            reason="truncated",
        )
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
        kind = "i" if int(received.get("PixelRepresentation", 0) or 0) == 1 else "u"
        cells = np.frombuffer(data, f"<{kind}{allocated // 8}")
        shift = allocated - stored
        cleared = cells << shift >> shift
        changed = not np.array_equal(cleared, cells)
        if changed:
            data = cleared.tobytes()
    return data + b"\x00" * (len(data) % 2), changed
