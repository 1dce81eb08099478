# SPDX-License-Identifier: Apache-2.0
"""PHI scan of images in DICOM objects and photographs: text in each frame, and metadata."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageSequence
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels

from medhub.science import pixel_decoders
from medhub.science.deid.phi_scan.findings import PhiFinding, excerpt_of
from medhub.science.deid.phi_scan.phi_patterns import PhiPatterns
from medhub.science.deid.phi_scan.text_reader import RecognizedText, is_mark, text_recognizer

pixel_decoders.register()

_MAX_PIXELS = 120_000_000
# Number of frames that are read; of longer series, the maximum and minimum of each pixel are read as well.
_MAX_FRAMES = 24
_MIN_SCORE = 0.75  # score from which a word is a finding that is neither a known name nor of a known kind
_MIN_LETTERS = 3

# Tags of photographs about people, locations, dates or one certain device. Others are settings of the camera.
_IDENTIFYING_TAGS = frozenset(
    (
        *("Artist", "BodySerialNumber", "CameraOwnerName", "CameraSerialNumber", "Copyright", "DateTime"),
        *("DateTimeDigitized", "DateTimeOriginal", "DocumentName", "HostComputer", "ImageDescription", "ImageUniqueID"),
        *("LensSerialNumber", "MakerNote", "OwnerName", "PageName", "UserComment", "XPAuthor", "XPComment"),
        *("XPKeywords", "XPSubject", "XPTitle", "IPTCNAA", "ImageResources", "XMLPacket", "PreviewDateTime"),
    )
)
_JPEG = b"\xff\xd8\xff"
_MAX_TRAILING_BYTES = 1024**2
_GPS, _EXIF = 0x8825, 0x8769
_TAGS = {int(tag): tag.name for tag in ExifTags.Base}


def scan_text_in_picture(patterns: PhiPatterns, location: str, picture: NDArray[np.uint8]) -> Iterator[PhiFinding]:
    """Read the text in an image (H x W x 3, RGB), and report what is not a marker."""
    marks: list[RecognizedText] = []
    candidates: list[tuple[RecognizedText, str | None, bool]] = []
    for line in text_recognizer().read(picture):
        known = patterns.find_misread(line.text)
        identifying = known is not None or any(patterns.scan("", line.text))
        if not identifying and is_mark(line.text):
            marks.append(line)
        elif identifying or (line.score >= _MIN_SCORE and sum(map(str.isalnum, line.text)) >= _MIN_LETTERS):
            candidates.append((line, known, identifying))
    reported: list[RecognizedText] = []
    for line, known, identifying in candidates:
        # The same text in the other rendering, read as a marker with a higher score, or with the same words.
        if not identifying and any(_overlap(line, mark) and mark.score >= line.score for mark in marks):
            continue
        if any(_overlap(line, earlier) and earlier.text == line.text for earlier in reported):
            continue
        reported.append(line)
        kind = "writing in pixels" if known is None else "known identity"
        box = ",".join(map(str, line.box))
        yield PhiFinding(f"{location}, box {box}", kind, excerpt_of(line.text if known is None else known))


def _overlap(first: RecognizedText, second: RecognizedText) -> bool:
    """Whether most of the smaller of two boxes lies in the other."""
    low = np.maximum(first.box[:2], second.box[:2])
    high = np.minimum(first.box[2:], second.box[2:])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first.box, second.box)]
    return bool(np.prod(np.maximum(high - low, 0)) > 0.6 * min(areas))


def scan_dicom_pixels(patterns: PhiPatterns, location: str, dataset: Dataset) -> Iterator[PhiFinding]:
    """Scan the frames of a DICOM image; one that cannot be decoded is a finding."""
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        count = int(dataset.get("NumberOfFrames", None) or 1)
        if rows * columns > _MAX_PIXELS:
            yield PhiFinding(location, "cannot be read whole", f"{rows} x {columns} pixels")
            return
        frame_numbers = set(np.linspace(0, count - 1, min(count, _MAX_FRAMES)).round().astype(int).tolist())
        last_values = b""
        extremes: list[NDArray[Any]] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number, frame in enumerate(iter_pixels(dataset)):
                if count > _MAX_FRAMES:
                    extremes = (
                        [np.maximum(extremes[0], frame), np.minimum(extremes[1], frame)]
                        if extremes
                        else [frame.copy(), frame.copy()]
                    )
                if number not in frame_numbers or (values := frame.tobytes()) == last_values:
                    continue
                last_values = values
                yield from scan_text_in_picture(patterns, f"{location}, frame {number + 1}", _to_rgb(frame, dataset))
            for name, extreme in zip(("brightest", "darkest"), extremes, strict=False):
                yield from scan_text_in_picture(
                    patterns, f"{location}, {name} of all frames", _to_rgb(extreme, dataset)
                )
    # A decoder of hostile bytes may raise anything; the image was not checked then.
    except Exception as error:
        yield PhiFinding(location, "cannot be read", f"{type(error).__name__}")


def _to_rgb(frame: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    """Convert a frame to RGB; gray values between the 0.1 and 99.9 percentiles take the complete range."""
    if str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
    if frame.ndim == 3:
        return _bytes(frame, 0, float(np.iinfo(frame.dtype).max) if frame.dtype.kind == "u" else float(frame.max()))
    low, high = np.percentile(frame, (0.1, 99.9))
    if high - low < 2:  # text of few pixels in an empty image
        low, high = float(frame.min()), float(frame.max())
    return np.repeat(_bytes(frame, float(low), float(high))[:, :, None], 3, 2)


def _bytes(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    spread = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    return np.asarray(np.clip(spread, 0, 255), np.uint8)


def scan_photograph(
    patterns: PhiPatterns, location: str, data: bytes, *, read_pixels: bool, dates: bool
) -> Iterator[PhiFinding]:
    """Scan a photograph: its metadata, and text in its pixels."""
    yield from scan_jpeg_metadata(patterns, location, data, dates=dates)
    if data[:3] == _JPEG and (rest := _trailing_bytes(data).strip(b"\0\xff\r\n ")):
        yield PhiFinding(location, "bytes after the picture", excerpt_of(rest[:60]))
        yield from patterns.scan(
            f"{location}, after the picture", rest[:_MAX_TRAILING_BYTES].decode("latin-1"), dates=dates
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data)) as image:
                yield from _scan_tags(patterns, location, image, dates)
                for number, page in enumerate(ImageSequence.Iterator(image), start=1):
                    if number > _MAX_FRAMES:
                        yield PhiFinding(location, "cannot be read whole", f"more than {_MAX_FRAMES} pictures")
                        return
                    if page.width * page.height > _MAX_PIXELS:
                        yield PhiFinding(f"{location}, picture {number}", "cannot be read whole", f"{page.size} pixels")
                    elif read_pixels:
                        yield from scan_text_in_picture(patterns, f"{location}, pixels, picture {number}", _rgb(page))
                    if number > 1:
                        yield from _scan_tags(patterns, f"{location}, picture {number}", page, dates)
    # What cannot be read cannot be checked.
    except Exception as error:
        yield PhiFinding(location, "cannot be read whole", type(error).__name__)


def _trailing_bytes(data: bytes) -> bytes:
    """Bytes after the end marker of a JPEG image; the marker cannot occur within the scan."""
    scan_start = data.rfind(b"\xff\xda", 0, data.find(b"\xff\xd9") + 1) if b"\xff\xd9" in data else -1
    end = data.find(b"\xff\xd9", max(scan_start, 0))
    return data[end + 2 :] if end >= 0 else b""


def _rgb(page: Image.Image) -> NDArray[np.uint8]:
    if page.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
        grey = np.asarray(page)
        low, high = np.percentile(grey, (0.1, 99.9))
        return np.repeat(_bytes(grey, float(low), float(high))[:, :, None], 3, 2)
    # Transparent pixels can be made visible again, so transparency is ignored.
    return np.asarray(page.convert("RGBA").convert("RGB") if "A" in page.mode else page.convert("RGB"))


def _scan_tags(patterns: PhiPatterns, location: str, image: Image.Image, dates: bool) -> Iterator[PhiFinding]:
    exif = image.getexif()
    groups = [("", dict(exif)), ("", dict(exif.get_ifd(_EXIF)))]
    if any(exif.get_ifd(_GPS).values()):
        yield PhiFinding(f"{location}, GPS", "position", excerpt_of(dict(exif.get_ifd(_GPS))))
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        groups.append(("", {tag: tags[tag] for tag in tags}))
    for _, group in groups:
        for tag, value in group.items():
            name = _TAGS.get(int(tag), f"tag {int(tag)}")
            yield from _scan_metadata_value(patterns, f"{location}, {name}", name in _IDENTIFYING_TAGS, value, dates)
    for key, value in ((str(key), value) for key, value in image.info.items()):
        if isinstance(value, str) or key in ("comment", "xmp", "photoshop", "XML:com.adobe.xmp"):
            may_identify = key.lower() in (
                "comment",
                "author",
                "description",
                "title",
                "copyright",
                "creation time",
                "xmp",
            )
            yield from _scan_metadata_value(patterns, f"{location}, {key}", may_identify, value, dates)


def _scan_metadata_value(
    patterns: PhiPatterns, location: str, may_identify: bool, value: Any, dates: bool
) -> Iterator[PhiFinding]:
    if isinstance(value, bytes):
        wide = len(value) > 3 and value[1::2].count(0) > len(value) // 3
        value = value.decode("utf-16-le" if wide else "latin-1", "replace").replace("\0", " ")
    if not isinstance(value, str) or not value.strip():
        return
    findings = list(patterns.scan(location, value, dates=dates))
    yield from findings
    if may_identify and not findings:
        yield PhiFinding(location, "text or data beside the picture", excerpt_of(value.strip()))


def scan_jpeg_metadata(
    patterns: PhiPatterns, location: str, data: bytes, *, dates: bool = True
) -> Iterator[PhiFinding]:
    """Scan the metadata of JPEG streams: comments and application segments."""
    at = data.find(_JPEG)
    while 0 <= at < len(data) - 4:
        at += 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xDA, 0xD9):
            marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
            body = data[at + 4 : at + 2 + length]
            # Adobe's color space, JFIF's resolution and a color profile identify nobody.
            if marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != 0xEE and body[:11] != b"ICC_PROFILE"):
                yield PhiFinding(location, "text or data beside the picture", excerpt_of(body[:60]))
                yield from patterns.scan(location, body.decode("latin-1"), dates=dates)
                yield from patterns.find_known_in_bytes(location, body)
            at += 2 + max(2, length)
        at = data.find(_JPEG, at)
