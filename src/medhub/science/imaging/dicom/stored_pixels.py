# SPDX-License-Identifier: Apache-2.0
"""Pixel data as they will be stored: the pixels as they are, and nothing beside them."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets
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
# SOI of JPEG and JPEG-LS, SOC and SIZ of JPEG 2000, and the signature of a JP2 container.
_STREAM_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
_OVERLAY_WITHOUT_DATA = "its overlay has no data of its own"
_OTHER_OFFSETS = "the frames have other offsets in the new file"


class StoredPixels(NamedTuple):
    """Pixel data as they will be stored.

    Attributes
    ----------
    data
        Value of the element.
    transfer_syntax
        In which they are.
    frames
        How many frames there are; ``None`` where the dataset says it rightly.
    photometric
        What the values mean; empty where the dataset says it rightly.
    notes
        What was changed, one sentence each.
    """

    data: bytes
    transfer_syntax: UID
    frames: int | None = None
    photometric: str = ""
    notes: tuple[str, ...] = ()


_CLEARED = "Bits beside the stored bits of the pixels, which can hold overlays, were cleared."
_DECOMPRESSED = "Its frames were decompressed without loss, because few programs read their compression."


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
        When the frames cannot be told apart, are damaged, or fewer or more than declared.
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
        return StoredPixels(_clean_floats(received, value, big_endian=big_endian), ExplicitVRLittleEndian)
    if syntax == DEFLATED_FRAMES or (syntax == RLELossless and int(received.BitsAllocated) == 1):
        decompressed, frames = _decompress_frames(received, value, syntax, limits or DecodingLimits())
        stored = _clean_native(received, decompressed, frames, big_endian=False, vr="OB")
        return stored._replace(frames=_undeclared(received, frames), notes=(*stored.notes, _DECOMPRESSED))
    if packed:
        return _clean_frames(received, value, syntax, limits or DecodingLimits())
    return _clean_native(received, value, number_of_frames(received), big_endian=big_endian, vr=str(element.VR))


def put_pixels(dataset: Dataset, pixels: StoredPixels, keyword: PixelKeyword = "PixelData") -> dict[BaseTag, str]:
    """Put pixel data into a dataset, and remove the attributes that described others.

    Parameters
    ----------
    dataset
        The de-identified dataset, without pixel data; it is changed.
    pixels
        As ``clean_pixels`` returns them.
    keyword
        Under which they lie.

    Returns
    -------
    dict of tag to text
        Removed attributes, each with the reason.
    """
    encapsulated = pixels.transfer_syntax.is_encapsulated
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(keyword)
    element = DataElement(
        keyword, vr or ("OB" if encapsulated or int(dataset.BitsAllocated) <= 8 else "OW"), pixels.data
    )
    element.is_undefined_length = encapsulated
    dataset[keyword] = element
    if pixels.frames is not None:
        dataset.NumberOfFrames = pixels.frames
    if pixels.photometric:
        dataset.PhotometricInterpretation = pixels.photometric
    removed = dict.fromkeys(_remove_embedded_overlays(dataset), _OVERLAY_WITHOUT_DATA)
    for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if name in dataset:
            removed[dataset[name].tag] = _OTHER_OFFSETS
            delattr(dataset, name)
    return removed


def _split_frames(received: Dataset, value: bytes, syntax: UID) -> list[bytes]:
    """Join the fragments of each frame: as many frames as there are, which may be more than are declared.

    A frame starts at a fragment with the header of a stream. The offset tables are used only where this does not tell
    frames apart, because some are wrong.
    """
    expected = number_of_frames(received)
    try:
        stream = BytesIO(value)
        parse_basic_offsets(stream)
        fragments = [fragment for fragment in generate_fragments(stream) if fragment]
        if len(fragments) <= expected:
            return fragments
        starts = [number for number, fragment in enumerate(fragments) if _starts_frame(fragment, syntax)]
        if len(starts) >= expected and starts[0] == 0:
            return [b"".join(fragments[start:end]) for start, end in pairwise([*starts, len(fragments)])]
        if syntax == DEFLATED_FRAMES:  # each frame is one fragment (PS3.5, A.4.13)
            return fragments
        offsets = None
        if "ExtendedOffsetTable" in received and "ExtendedOffsetTableLengths" in received:
            offsets = (received.ExtendedOffsetTable, received.ExtendedOffsetTableLengths)
        return list(generate_frames(value, number_of_frames=expected, extended_offsets=offsets))
    except Exception as error:
        raise Unacceptable(
            f"The frames of this DICOM file cannot be told apart. {_RECOPY}", reason="damaged"
        ) from error


def _starts_frame(fragment: bytes, syntax: UID) -> bool:
    if syntax == RLELossless:
        # A header: the number of segments, and the first of them after it (PS3.5, G.5).
        return len(fragment) >= 64 and 1 <= fragment[0] <= 15 and fragment[1:8] == b"\x00\x00\x00\x40\x00\x00\x00"
    return fragment.startswith(_STREAM_STARTS)


def _check_count(received: Dataset, frame_count: int, limits: DecodingLimits) -> None:
    """Refuse fewer frames than expected, and more than a declared number."""
    expected = number_of_frames(received)
    if frame_count < expected:
        raise _too_few(frame_count, expected)
    if frame_count > expected and received.get("NumberOfFrames") not in (None, ""):
        raise _too_many(frame_count, expected)
    if frame_count > limits.max_frames:
        raise Unacceptable(
            f"The file has {frame_count:,} frames; at most {limits.max_frames:,} are taken. Export it in parts.",
            reason="too-many-pixels",
        )


def _undeclared(received: Dataset, frames: int) -> int | None:
    """How many frames there are, if the dataset does not say so."""
    return frames if frames != number_of_frames(received) else None


def _decompress_frames(received: Dataset, value: bytes, syntax: UID, limits: DecodingLimits) -> tuple[bytes, int]:
    """Decompress frames into native pixels; frames of single bits follow each other without gaps (PS3.5, 8.1.1)."""
    streams = _split_frames(received, value, syntax)
    _check_count(received, len(streams), limits)
    cells = int(received.Rows) * int(received.Columns) * int(received.SamplesPerPixel)
    bits = int(received.BitsAllocated)
    length = -(-cells * bits // 8)
    if length * len(streams) > limits.max_inflated_bytes:
        raise Unacceptable(
            f"The pixels of this DICOM file decompress to more than {limits.max_inflated_bytes:,} bytes, which is more "
            "than is accepted. Export it in parts.",
            reason="too-many-pixels",
        )
    decompress = decompress_deflated if syntax == DEFLATED_FRAMES else decompress_rle
    frames: list[bytes] = []
    try:
        for stream in streams:
            frames.append(decompress(stream, length))
    except Exception as error:
        raise Unacceptable(
            f"Frame {len(frames) + 1} of {len(streams)} of this DICOM file is damaged: it cannot be decompressed. "
            f"{_RECOPY}",
            reason="damaged",
        ) from error
    if bits > 1 or cells % 8 == 0:
        return b"".join(frames), len(frames)
    planes = [np.unpackbits(np.frombuffer(plane, np.uint8), count=cells, bitorder="little") for plane in frames]
    return np.packbits(np.concatenate(planes), bitorder="little").tobytes(), len(frames)


def _clean_floats(received: Dataset, value: bytes, *, big_endian: bool) -> bytes:
    """Cut floating-point pixels to their length, in little endian; every NaN becomes the same NaN."""
    expected = get_expected_length(received)
    if len(value) < expected:
        raise _too_short(len(value), expected)
    frames = number_of_frames(received)
    if len(value) - expected >= expected // frames:
        raise _too_many(len(value) * frames // expected, frames)
    size = int(received.BitsAllocated) // 8
    numbers = np.frombuffer(value[:expected], f"{'>' if big_endian else '<'}f{size}").astype(f"<f{size}")
    # 51 bits of a NaN could hold any text.
    numbers[np.isnan(numbers)] = np.nan
    return numbers.tobytes()


def _too_few(there: int, expected: int) -> Unacceptable:
    return Unacceptable(
        f"This DICOM file has {there} of the {expected} frames that it declares. {_RECOPY}", reason="truncated"
    )


def _too_many(there: int, expected: int) -> Unacceptable:
    return Unacceptable(
        f"This DICOM file has {there} frames and declares {expected} (Number of Frames), so that nobody can say which "
        "of them belong to the image. Export it again from its source.",
        reason="damaged",
    )


def _too_short(there: int, expected: int) -> Unacceptable:
    return Unacceptable(
        f"The pixels of this DICOM file end too early: {there:,} of {expected:,} bytes are there. {_RECOPY}",
        reason="truncated",
    )


def _remove_embedded_overlays(dataset: Dataset) -> list[BaseTag]:
    """Remove overlay attributes of groups without Overlay Data: their overlays were bits of the pixels."""
    tags: list[BaseTag] = list(dataset.keys())
    overlays = [tag for tag in tags if tag.group >> 8 == 0x60]
    with_data = {tag.group for tag in overlays if tag.element == 0x3000}
    without_data = [tag for tag in overlays if tag.group not in with_data]
    for tag in without_data:
        del dataset[tag]
    return without_data


def _clean_frames(received: Dataset, value: bytes, syntax: UID, limits: DecodingLimits) -> StoredPixels:
    streams = _split_frames(received, value, syntax)
    _check_count(received, len(streams), limits)
    shape = (int(received.Rows), int(received.Columns), int(received.SamplesPerPixel))
    layout = SampleLayout(*shape, int(received.BitsAllocated), int(received.BitsStored), _is_signed(received))
    frames: list[bytes] = []
    changed = False
    transforms = set()
    for number, stream in enumerate(streams, start=1):
        try:
            cleaned = clean_frame(stream, syntax)
            if cleaned.size is not None and cleaned.size != shape:
                raise Unacceptable(
                    f"Frame {number} of this DICOM file has another size than the file declares. {_RECOPY}",
                    reason="damaged",
                )
            cleared = clear_frame(cleaned, syntax, layout)
        except FrameFault as fault:
            raise Unacceptable(
                f"Frame {number} of {len(streams)} of this DICOM file is damaged: {fault}. {_RECOPY}",
                reason="truncated" if fault.truncated else "damaged",
            ) from fault
        changed = changed or cleared is not cleaned.data
        transforms.add(cleaned.color_transform and ("YBR_RCT" if cleaned.reversible else "YBR_ICT"))
        frames.append(cleared)
    notes: tuple[str, ...] = (_CLEARED,) if changed else ()
    more = _undeclared(received, len(frames))
    if more is not None:
        notes += (f"The file has {more} frames and did not declare how many (Number of Frames); all are kept.",)
    photometric = ""
    if str(received.PhotometricInterpretation).startswith(("YBR_FULL", "YBR_PARTIAL")) and False not in transforms:
        # PS3.5, 8.2.4: the decoder undoes the transform, and returns RGB.
        photometric = str(max(transforms))
        notes += ("Its colors are transformed by JPEG 2000, which the file does not declare; this was corrected.",)
    return StoredPixels(encapsulate(frames), syntax, more, photometric, notes)


def _is_signed(received: Dataset) -> bool:
    return int(received.get("PixelRepresentation", 0) or 0) == 1


def _clean_native(received: Dataset, value: bytes, frames: int, *, big_endian: bool, vr: str) -> StoredPixels:
    """Cut native pixels to their length, in little endian, with nothing in the bits that are not stored bits."""
    allocated, stored = int(received.BitsAllocated), int(received.BitsStored)
    expected, photometric, notes = _native_length(received, value, frames)
    cell = 16 if allocated <= 8 and vr == "OW" else allocated
    padded = expected + expected % 2
    data = value[:padded] if cell > 8 else value[:expected]
    if big_endian and cell > 8:
        data = data.ljust(padded, b"\x00")
        data = np.frombuffer(data, f">u{cell // 8}").astype(f"<u{cell // 8}").tobytes()
    data = data[:expected]
    if 1 < stored < allocated:
        cells = np.frombuffer(data, f"<{'i' if _is_signed(received) else 'u'}{allocated // 8}")
        cleared = clear_native(cells, stored)
        if not np.array_equal(cleared, cells):
            data = cleared.tobytes()
            notes = (_CLEARED, *notes)
    return StoredPixels(data + b"\x00" * (len(data) % 2), ExplicitVRLittleEndian, None, photometric, notes)


def _native_length(received: Dataset, value: bytes, frames: int) -> tuple[int, str, tuple[str, ...]]:
    """How many bytes of native pixels are the image, what their values mean if not as declared, and notes."""
    declared = int(received.Rows) * int(received.Columns) * int(received.SamplesPerPixel)
    samples = declared * frames
    allocated = int(received.BitsAllocated)
    full = -(-samples * allocated // 8)
    subsampled = str(received.PhotometricInterpretation) in ("YBR_FULL_422", "YBR_PARTIAL_422") and allocated > 1
    expected = full // 3 * 2 if subsampled else full
    photometric = ""
    notes: tuple[str, ...] = ()
    if subsampled and full <= len(value) <= full + 1:
        # Some writers declare the subsampling of a JPEG stream that they have decoded.
        expected, photometric = full, str(received.PhotometricInterpretation).removesuffix("_422")
        notes = ("Its colors are not subsampled, as the file declares they are; what it declares was corrected.",)
    if len(value) < expected:
        raise _too_short(len(value), expected)
    left = len(value) - expected
    frame = expected // frames
    if frame and left >= frame:
        raise _too_many(len(value) // frame, frames)
    if left > 1 and value[expected:].strip(b"\x00"):
        notes += (f"{left:,} bytes after the last frame, which are no pixels, were removed.",)
    return expected, photometric, notes
