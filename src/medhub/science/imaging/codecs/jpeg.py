# SPDX-License-Identifier: Apache-2.0
"""JPEG and JPEG-LS streams as bytes: what they declare, and the same pixels without everything else.

A stream is a row of marker segments and entropy-coded scans (ITU-T T.81, Annex B; T.87, Annex C). Only what a decoder
needs is kept: tables, frame and scan headers, scans, and the fact of a JFIF or Adobe segment or of the color transform
of JPEG-LS, which say how colors are meant. All other application segments (EXIF, XMP, IPTC, ICC, MPF), comments,
thumbnails and whatever follows the end of the image go.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
SOF_BASELINE, SOF_EXTENDED, SOF_PROGRESSIVE, SOF_LOSSLESS, SOF_JPEG_LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {SOF_JPEG_LS}
# DHT, DAC, DQT, DNL, DRI, DHP, EXP, and LSE of JPEG-LS.
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xF8})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# Density and version say nothing about pixels, and a thumbnail may follow them: the segment is written anew.
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
# In a scan 0xFF is followed by 0x00 or a restart marker (T.81, B.1.1.5), in JPEG-LS by a byte below 0x80 (T.87, A.1).
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN_END_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


_FrameHeader = tuple[int, int, int, tuple[int, ...], tuple[tuple[int, int], ...]]


class JpegFault(ValueError):
    """The bytes are no whole JPEG stream; ``truncated`` tells whether they only end too early."""

    def __init__(self, message: str, *, truncated: bool) -> None:
        """Keep the sentence and the kind of fault."""
        super().__init__(message)
        self.truncated = truncated


@dataclass(frozen=True)
class JpegStream:
    """A JPEG stream reduced to its pixels.

    Attributes
    ----------
    data
        The stream from SOI to EOI without metadata; scans are byte for byte as received.
    process
        Marker of the frame header, for example 0xC0 for the baseline process.
    bits, rows, columns
        Precision and size as the frame header has them.
    component_ids
        Identifier of each component.
    sampling
        Horizontal and vertical sampling factors of each component.
    jfif
        Whether a JFIF segment was there.
    adobe_transform
        Color transform of the Adobe segment: 0 none, 1 YCbCr, 2 YCCK; ``None`` without the segment.
    orientation
        EXIF orientation 1 to 8; 1 when there is none.
    another
        Whether a second image follows the end of the stream, other than the pictures of a camera's MPF segment.
    near
        Largest error of a JPEG-LS sample (NEAR, T.87, C.2.3); 0 in other processes.
    scans
        Number of scans; 0 when they were not read.
    removed_bytes
        How many bytes of the input are not in ``data``.
    """

    data: bytes
    process: int
    bits: int
    rows: int
    columns: int
    component_ids: tuple[int, ...]
    sampling: tuple[tuple[int, int], ...]
    jfif: bool
    adobe_transform: int | None
    orientation: int
    scans: int
    removed_bytes: int
    near: int = 0
    another: bool = False

    @property
    def components(self) -> int:
        """Number of color components."""
        return len(self.component_ids)

    @property
    def reversible(self) -> bool:
        """Whether the decoded samples are exactly those that were encoded."""
        return self.process == SOF_LOSSLESS or (self.process == SOF_JPEG_LS and self.near == 0)

    @property
    def rgb(self) -> bool:
        """Whether three components are red, green and blue, by the rules of libjpeg's ``default_decompress_parms``."""
        if self.components != 3 or self.jfif:
            return False
        if self.adobe_transform is not None:
            return self.adobe_transform == 0
        return self.component_ids in ((82, 71, 66), (114, 103, 98))


def clean_jpeg(data: bytes, *, metadata: bool = True) -> JpegStream:
    """Read a JPEG or JPEG-LS stream and leave out everything that its pixels do not need.

    Parameters
    ----------
    data
        Bytes that begin with SOI; what follows EOI is cut off.
    metadata
        ``False`` stops at the first scan: ``data`` of the result is then empty, and a missing end goes unnoticed.

    Returns
    -------
    JpegStream
        The stream and what its headers declare.

    Raises
    ------
    JpegFault
        When the stream is cut off, or is not built as one.
    """
    if data[:2] != b"\xff\xd8":
        raise JpegFault("it does not begin as a JPEG does", truncated=False)
    headers = _Headers()
    segments = [b"\xff\xd8"]
    scans = 0
    at = 2
    while True:
        marker, at = _next_marker(data, at)
        if marker == EOI:
            break
        if marker in _STANDALONE:
            continue
        body, after = _segment(data, at, marker)
        if marker == SOS:
            headers.read_scan_header(body)
            if not metadata:
                break
            end = _end_of_scan(data, after, headers.process)
            segments.append(b"\xff\xda" + _scan_header(data[at:after], headers.process) + data[after:end])
            scans += 1
            after = end
        elif segment := headers.read_segment(marker, body, data[at - 2 : after]):
            segments.append(segment)
        at = after
    if headers.frame is None:
        raise JpegFault("it has no frame header", truncated=False)
    if metadata and not scans:
        raise JpegFault("it has no scan", truncated=False)
    segments.append(b"\xff\xd9")
    cleaned = b"".join(segments) if metadata else b""
    declared = (headers.process, *headers.frame, headers.jfif, headers.adobe_transform, headers.orientation)
    another = metadata and data[at : at + 8].lstrip(b"\x00").startswith(b"\xff\xd8") and b"MPF\x00" not in data[:at]
    return JpegStream(cleaned, *declared, scans, len(data) - len(cleaned), headers.near, another)


@dataclass
class _Headers:
    """What the segments before and between the scans declare."""

    frame: _FrameHeader | None = None
    process: int = 0
    jfif: bool = False
    adobe_transform: int | None = None
    orientation: int = 1
    near: int = 0

    def read_segment(self, marker: int, body: bytes, segment: bytes) -> bytes:
        """Read a segment other than a scan, and return what a decoder needs of it; empty if it needs nothing."""
        if marker == 0xE0 and body[:5] == b"JFIF\x00" and not self.jfif:
            self.jfif = True
            return _JFIF
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12 and self.adobe_transform is None:
            self.adobe_transform = body[11]
            return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([self.adobe_transform])
        if marker == 0xE8 and body[:4] == b"mrfx" and len(body) == 5 and body[4] <= 3:
            # The color transform of a JPEG-LS encoder: without it, a decoder returns other colors.
            return segment
        if marker == 0xE1 and body[:6] == b"Exif\x00\x00":
            self.orientation = exif_orientation(body[6:]) or self.orientation
        elif marker in _FRAME_HEADERS:
            if self.frame is not None:
                raise JpegFault("it has two frame headers", truncated=False)
            self.frame, self.process = _frame_header(body), marker
            return segment
        elif marker in _TABLES:
            return segment
        return b""

    def read_scan_header(self, body: bytes) -> None:
        """Read the header of a scan."""
        if self.frame is None:
            raise JpegFault("its scan comes before its frame header", truncated=False)
        if self.process == SOF_JPEG_LS and len(body) >= 3:
            self.near = max(self.near, body[-3])


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """Find the next marker from ``at`` on; bytes before it are skipped, as decoders do."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise JpegFault("it ends before its end marker", truncated=True)
        code = data[at + 1]
        if code == 0xFF:
            at += 1
        elif code == 0x00:
            at += 2
        else:
            return code, at + 2


def _segment(data: bytes, at: int, marker: int) -> tuple[bytes, int]:
    if at + 2 > len(data):
        raise JpegFault("it ends in a header", truncated=True)
    length = int.from_bytes(data[at : at + 2], "big")
    if length < 2:
        raise JpegFault(f"the segment of marker {marker:#04x} is shorter than its own length", truncated=False)
    if at + length > len(data):
        raise JpegFault("it ends in a header", truncated=True)
    return data[at + 2 : at + length], at + length


def _end_of_scan(data: bytes, at: int, process: int) -> int:
    match = (_SCAN_END_LS if process == SOF_JPEG_LS else _SCAN_END).search(data, at)
    if match is None:
        raise JpegFault("it ends in the middle of its image data", truncated=True)
    end = match.start()
    # Fill bytes before a marker (T.81, B.1.1.2) are no part of the scan.
    while end > at and data[end - 1] == 0xFF:
        end -= 1
    return end


def _scan_header(header: bytes, process: int) -> bytes:
    """Correct a scan header: some old writers left the band of sequential scans 0 (T.81, B.2.3, B.3)."""
    if process in (SOF_BASELINE, SOF_EXTENDED) and len(header) > 5 and header[-3:] == bytes(3):
        return header[:-3] + b"\x00\x3f\x00"
    return header


def _frame_header(body: bytes) -> _FrameHeader:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise JpegFault("its frame header is too short", truncated=False)
    bits, rows, columns, count = struct.unpack(">BHHB", body[:6])
    specifications = [body[6 + 3 * n : 9 + 3 * n] for n in range(count)]
    return (
        bits,
        rows,
        columns,
        tuple(s[0] for s in specifications),
        tuple((s[1] >> 4, s[1] & 15) for s in specifications),
    )


def exif_orientation(tiff: bytes) -> int | None:
    """Read the orientation out of an EXIF block.

    Parameters
    ----------
    tiff
        The block from its byte-order mark on (EXIF 2.32, section 4.6.4; tag 0x0112 of the first directory).

    Returns
    -------
    int or None
        1 to 8, or ``None`` when there is none that can be read.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (directory,) = struct.unpack(order + "I", tiff[4:8])
    if directory + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(min(count, (len(tiff) - directory - 2) // 12)):
        tag, kind, values = struct.unpack_from(order + "HHI", tiff, directory + 2 + 12 * entry)
        if tag == 0x0112 and kind == 3 and values == 1:
            (value,) = struct.unpack_from(order + "H", tiff, directory + 10 + 12 * entry)
            return value if 1 <= value <= 8 else None
    return None
