# SPDX-License-Identifier: Apache-2.0
"""Image files taken apart: what their picture needs, kept byte for byte, and all else, of which only names are told.

JPEG by ITU-T T.81, Annex B; PNG by the W3C's third edition; WebP by RFC 9649.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from medhub.science.imaging.codecs.jpeg import JpegFault, clean_jpeg
from medhub.science.imaging.decoding_limits import Unacceptable

_PNG_KEPT = frozenset((b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"cICP", b"pHYs"))
_APPLICATION = {
    (0xE1, b"Exif\x00"): "",  # its tags are told one by one
    (0xE1, b"http:"): "JPEG XMP",
    (0xE2, b"ICC_P"): "",
    (0xE2, b"MPF\x00"): "JPEG further pictures",
    (0xED, b"Photo"): "JPEG IPTC",
}
# Names of other chunks are the writer's own words, and are not told.
_PNG_TOLD = frozenset((b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf", b"bKGD", b"hIST", b"sPLT", b"acTL"))
_ICC_MARK = b"ICC_PROFILE\x00"
_MOST_IN_SEGMENT = 65_000
_MOST_PROFILE = 4 * 1024**2


@dataclass(frozen=True)
class Parts:
    """A file taken apart.

    Attributes
    ----------
    without_metadata
        Writes the file with nothing but its picture and, if one is given, a color profile.
    removed
        Names of what lies beside the picture; never what it says.
    profile
        The color profile as received.
    """

    without_metadata: Callable[[bytes | None], bytes]
    removed: tuple[str, ...]
    profile: bytes | None


def jpeg_parts(data: bytes) -> Parts:
    """Take a JPEG apart; its orientation stays, as the one tag of a new EXIF segment."""
    try:
        stream = clean_jpeg(data)
    except JpegFault as fault:
        raise Unacceptable(f"This JPEG file is damaged: {fault}.", reason="damaged") from fault
    removed, pieces = [], []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if marker == 0xE2 and body.startswith(_ICC_MARK):
            pieces.append((body[12:13], body[14:]))
        if marker == 0xFE:
            removed.append("JPEG comment")
        elif 0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xEE):
            removed.append(_APPLICATION.get((marker, body[:5]), f"JPEG application segment {marker - 0xE0}"))
        at += 2 + length
    end = data.rfind(b"\xff\xd9")
    if len(data) > end + 2:
        removed.append("after the end")
    icc = b"".join(piece for _, piece in sorted(pieces, key=lambda one: one[0])) or None

    def written(profile: bytes | None) -> bytes:
        beside = b""
        if stream.orientation != 1:
            beside += _orientation_segment(stream.orientation)
        if profile:
            beside += _icc_segments(profile)
        # A JFIF segment, if there is one, comes first.
        after = 20 if stream.data[2:4] == b"\xff\xe0" else 2
        return stream.data[:after] + beside + stream.data[after:]

    return Parts(written, tuple(name for name in removed if name), icc)


def _orientation_segment(orientation: int) -> bytes:
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\x00\x00II*\x00" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _icc_segments(profile: bytes) -> bytes:
    pieces = [profile[at : at + _MOST_IN_SEGMENT] for at in range(0, len(profile), _MOST_IN_SEGMENT)]
    if len(pieces) > 255:
        return b""
    segments = []
    for number, piece in enumerate(pieces, 1):
        body = _ICC_MARK + bytes((number, len(pieces))) + piece
        segments.append(b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body)
    return b"".join(segments)


def png_parts(data: bytes) -> Parts:
    """Take a PNG apart, whose length and checks were looked at before."""
    kept, removed = [], []
    icc = None
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, chunk = data[at + 4 : at + 8], data[at : at + 12 + length]
        at += 12 + length
        if name[:1].isupper() or name in _PNG_KEPT:
            kept.append((name, chunk))
        elif name == b"iCCP":
            icc = _unfolded(chunk[8:-4])
        elif name != b"eXIf":
            removed.append(f"PNG {name.decode()}" if name in _PNG_TOLD else "PNG private chunk")
        if name == b"IEND":
            break
    if at < len(data):
        removed.append("after the end")

    def written(profile: bytes | None) -> bytes:
        chunks = [chunk for _, chunk in kept]
        if profile:
            chunks.insert(1, _chunk(b"iCCP", b"profile\x00\x00" + zlib.compress(profile)))
            chunks = [one for one in chunks if one[4:8] not in (b"sRGB", b"cICP")]
        return data[:8] + b"".join(chunks)

    return Parts(written, tuple(removed), icc)


def _unfolded(body: bytes) -> bytes | None:
    cut = body.find(b"\x00")
    try:
        return zlib.decompressobj().decompress(body[cut + 2 :], _MOST_PROFILE)
    except zlib.error:
        return None


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def webp_parts(data: bytes) -> Parts:
    """Take a WebP apart, which shows one picture."""
    kept: list[tuple[bytes, bytes]] = []
    removed = []
    icc = None
    end = min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    at = 12
    while at + 8 <= end:
        name, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
        if name in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH"):
            kept.append((name, body))
        elif name == b"ICCP":
            icc = body
        elif name != b"EXIF":
            removed.append("WebP XMP" if name == b"XMP " else "WebP private chunk")
    if end < len(data):
        removed.append("after the end")

    def written(profile: bytes | None) -> bytes:
        chunks = []
        for name, body in kept:
            if name == b"VP8X":
                # Of its flags, those of a color profile and of transparency; none of EXIF, XMP and animation.
                body = bytes(((body[0] & 0x10) | (0x20 if profile else 0),)) + bytes(3) + body[4:10]
                chunks += [(name, body)] + ([(b"ICCP", profile)] if profile else [])
            else:
                chunks.append((name, body))
        packed = b"".join(name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for name, body in chunks)
        return b"RIFF" + struct.pack("<I", len(packed) + 4) + b"WEBP" + packed

    return Parts(written, tuple(removed), icc)
