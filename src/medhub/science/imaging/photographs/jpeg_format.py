# SPDX-License-Identifier: Apache-2.0
"""JPEG photographs (ITU-T T.81): the stream is stored unchanged where DICOM can carry it."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medhub.science.imaging.codecs.jpeg import (
    SOF_BASELINE,
    SOF_EXTENDED,
    SOF_LOSSLESS,
    JpegFault,
    JpegStream,
    clean_jpeg,
)
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.photographs.color_conversion import (
    COLOR_NOTE,
    UNREADABLE_PROFILE_NOTE,
    changes_colors,
    color_profile_of,
    convert_printing_colors,
    to_srgb,
)
from medhub.science.imaging.photographs.metadata_tags import read_exif_metadata
from medhub.science.imaging.photographs.photograph import PREVIEW, Photograph, small, turn
from medhub.science.imaging.photographs.photograph_format import ContainerParts, PhotographFormat, starts_with
from medhub.science.imaging.photographs.png_format import PNG, write_png
from medhub.science.imaging.photographs.raster_reader import CMYK_NOTE
from medhub.science.imaging.photographs.refusal_messages import decoding, truncated

# Bits that no image ends with by chance; see _ends_early.
_FILLING = b"\x5a\xa7\x36\xc9" * 64
# Names under which application segments are listed as removed; EXIF tags and the profile are listed by themselves.
_SEGMENT_NAMES = {
    (0xE1, b"Exif\x00"): "",
    (0xE1, b"http:"): "JPEG XMP",
    (0xE2, b"ICC_P"): "",
    (0xE2, b"MPF\x00"): "JPEG further pictures",
    (0xED, b"Photo"): "JPEG IPTC",
}
_ICC_MARK = b"ICC_PROFILE\x00"
_MAX_SEGMENT_BYTES = 65_000


def read_jpeg(data: bytes, limits: DecodingLimits) -> Photograph:
    """Read a JPEG photograph.

    Parameters
    ----------
    data
        The received bytes, which begin as a JPEG does.
    limits
        The largest accepted file.

    Returns
    -------
    Photograph
        With its stream, if that is baseline (ITU-T T.81, process 1) and the right way up; otherwise with its pixels.

    Raises
    ------
    Unacceptable
        When the stream is cut off, damaged, of a rare process, or larger than the limits.
    """
    try:
        header = clean_jpeg(data, metadata=False)
        refuse_oversized(header.rows, header.columns, limits)
        stream = clean_jpeg(data)
    except JpegFault as fault:
        if fault.truncated:
            raise _truncated_jpeg(data) from fault
        raise Unacceptable(
            f"This JPEG file is damaged: {fault}. Copy or export it again from its source.", reason="damaged"
        ) from fault
    if stream.bits != 8 or (stream.process >= SOF_LOSSLESS and stream.process not in (0xC9, 0xCA)):
        raise Unacceptable(
            "This JPEG file uses a rare process (12 bits or lossless) that cannot be read as a photograph. "
            "Save it as PNG or TIFF.",
            reason="unsupported",
        )
    orientation = stream.orientation
    profile = _read_color_profile(data)
    changes = changes_colors(profile, {1: "L", 4: "CMYK"}.get(stream.components, "RGB"))
    notes = [UNREADABLE_PROFILE_NOTE] if changes is None else []
    keep_stream = stream.process == SOF_BASELINE and stream.components in (1, 3) and orientation == 1 and not changes
    with decoding("JPEG"), Image.open(BytesIO(stream.data), formats=("JPEG",)) as image:
        preview = _decode_reduced(stream.data)
        if _ends_early(stream, preview):
            raise truncated("JPEG")
        if keep_stream:
            return Photograph("JPEG", None, stream, preview.convert("RGB"), 8, True, True, tuple(notes))
        pixels, changed = _decode_to_srgb(image, profile if changes else None)
    notes += changed
    if orientation != 1:
        pixels = turn(pixels, orientation)
        notes.append("The picture was turned the right way up, as its camera recorded; no pixel value changed.")
    if stream.process != SOF_BASELINE:
        notes.append("DICOM cannot carry the JPEG process of the file; its decoded pixels are stored.")
    source_profile = profile if changes else None
    return Photograph("JPEG", pixels, None, small(pixels), 8, not changed, True, tuple(notes), source_profile)


def _read_color_profile(data: bytes) -> bytes | None:
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as received:
            return color_profile_of(received)
    except Exception:  # whether the picture can be read is found by decoding it
        return None


def _decode_to_srgb(image: Image.Image, profile: bytes | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Decode an image, converted from its profile if there is one; also return what was done to its colors."""
    if profile is not None and image.mode == "CMYK":
        return convert_printing_colors(image, profile), (COLOR_NOTE,)
    if profile is not None:
        return to_srgb(np.asarray(image), profile), (COLOR_NOTE,)
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB")), (CMYK_NOTE,)
    return np.asarray(image), ()


def _decode_reduced(data: bytes) -> Image.Image:
    """Decode a JPEG to the size of the preview: every coefficient is read, but few pixels are computed."""
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        image.draft(image.mode, (PREVIEW, PREVIEW))
        image.load()
        return image


def _ends_early(stream: JpegStream, preview: Image.Image) -> bool:
    """Whether a stream has its end marker but not all of its image data, as after a careless repair.

    A decoder fills missing data silently. It never reads bits that follow a complete image; where image data are
    missing, it decodes these bits instead, and the picture changes.
    """
    if stream.process not in (SOF_BASELINE, SOF_EXTENDED) or stream.scans != 1:
        return False
    filled = _decode_reduced(stream.data[:-2] + _FILLING + stream.data[-2:])
    return filled.tobytes() != preview.tobytes()


def _truncated_jpeg(data: bytes) -> Unacceptable:
    share = _decoded_share(data)
    return truncated("JPEG", f" About {share:.0%} of its rows can be decoded." if share is not None else "")


def _decoded_share(data: bytes) -> float | None:
    """Share of the rows that can be decoded from a cut-off JPEG; ``None`` where a row count means nothing."""
    try:
        header = clean_jpeg(data, metadata=False)
        if header.process not in (SOF_BASELINE, 0xC1) or header.rows * header.columns > 25_000_000:
            return None
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            with suppress(OSError):
                image.load()
            # Without tiles left to decode, Pillow returns what it has decoded; the other rows are black.
            image.tile = []
            rows = np.asarray(image).reshape(header.rows, -1).any(axis=1)
    except Exception:
        return None
    filled = np.flatnonzero(rows)
    return float(filled[-1] + 1) / header.rows if filled.size else 0.0


def split_jpeg(data: bytes) -> ContainerParts:
    """Split a JPEG into its stream and what is beside it; its orientation stays as the only tag of a new EXIF segment.

    Raises
    ------
    Unacceptable
        When the stream is damaged.
    """
    try:
        stream = clean_jpeg(data)
    except JpegFault as fault:
        raise Unacceptable(f"This JPEG file is damaged: {fault}.", reason="damaged") from fault
    removed: list[str] = []
    profile_segments: list[tuple[bytes, bytes]] = []
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] != 0xDA:
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        body = data[position + 4 : position + 2 + length]
        if marker == 0xE2 and body.startswith(_ICC_MARK):
            profile_segments.append((body[12:13], body[14:]))
        if marker == 0xFE:
            removed.append("JPEG comment")
        elif 0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xEE):
            removed.append(_SEGMENT_NAMES.get((marker, body[:5]), f"JPEG application segment {marker - 0xE0}"))
        position += 2 + length
    end = data.rfind(b"\xff\xd9")
    if len(data) > end + 2:
        removed.append("after the end")
    color_profile = b"".join(body for _, body in sorted(profile_segments, key=lambda segment: segment[0])) or None

    def without_metadata(profile: bytes | None) -> bytes:
        segments = b""
        if stream.orientation != 1:
            segments += _build_orientation_segment(stream.orientation)
        if profile:
            segments += _build_profile_segments(profile)
        # A JFIF segment, if there is one, comes first.
        start = 20 if stream.data[2:4] == b"\xff\xe0" else 2
        return stream.data[:start] + segments + stream.data[start:]

    return ContainerParts(
        without_metadata, tuple(name for name in removed if name), color_profile, keeps_appearance=True
    )


def _build_orientation_segment(orientation: int) -> bytes:
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _build_profile_segments(profile: bytes) -> bytes:
    parts = [profile[start : start + _MAX_SEGMENT_BYTES] for start in range(0, len(profile), _MAX_SEGMENT_BYTES)]
    if len(parts) > 255:
        return b""
    segments = []
    for number, part in enumerate(parts, 1):
        body = _ICC_MARK + bytes((number, len(parts))) + part
        segments.append(b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body)
    return b"".join(segments)


JPEG = PhotographFormat(
    name="JPEG",
    media_type="image/jpeg",
    extensions=(".jpg", ".jpeg"),
    matches=starts_with(b"\xff\xd8\xff"),
    read=read_jpeg,
    read_metadata=read_exif_metadata,
    # Another JPEG would change the pixels beside those that are made black.
    write=write_png,
    rewritten_as=PNG,
    split_container=split_jpeg,
)
