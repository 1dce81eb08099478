# SPDX-License-Identifier: Apache-2.0
"""De-identification of whole slide images (TIFF pyramids: Aperio, Hamamatsu, generic).

A pyramid is large and is not encoded again. In a copy, all bytes that no page of the pyramid refers to become zero:
label and macro image, texts, serial numbers, gaps. TIFF 6.0, and BigTIFF for files above 4 GB.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from medhub.science.deid.attributes.element_context import ActionRecord
from medhub.science.deid.cleaning_result import Result
from medhub.science.deid.color_profiles import clean_color_profile
from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.deid.pixel_cleaning import check_picture
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym, name_of
from medhub.science.deid.tiff_structure import OFFSET_TAGS, SUBPAGES, TiffFile, TiffPage
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable

RULE = "slide"
_SUBFILE, _DESCRIPTION, _ICC_PROFILE = 254, 270, 34675
_COMPRESSION, _TILE_WIDTH = 259, 322
_HAMAMATSU, _SOURCE_LENS = 65420, 65421
# Tags that are needed to decode and measure a page. Of Hamamatsu's tags, numbers only: no reference or serial number.
_ALLOWED_TAGS = frozenset(
    [254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 290, 291, 296, 317, 320, 322]
) | frozenset([323, 324, 325, 330, 338, 339, 340, 341, 347, 529, 530, 531, 532, 32997, *range(65420, 65427), 65432])
_JPEG = (6, 7)
_ASPECT_TOLERANCE = 0.03
_MAX_OCR_PIXELS = 6_000_000
_CHUNK_BYTES = 2**24
_APERIO = re.compile(
    rb"(Aperio [A-Za-z ]{1,40}v[\d.]{1,12})\s*[\r\n]+"
    rb"([\d]{1,7}x\d{1,7}(?: \[[\d, x]{1,60}\])?(?: \(\d{1,5}x\d{1,5}\))?(?: [A-Z0-9/]{1,20})?(?: Q=\d{1,3})?)"
)
_APERIO_PROPERTIES = re.compile(rb"\|((?:AppMag|MPP) = [\d.]{1,12})(?=\||;|\0|$)")
_NAMES = {269: "DocumentName", 270: "ImageDescription", 271: "Make", 272: "Model", 305: "Software", 306: "DateTime"} | {
    315: "Artist", 316: "HostComputer", 700: "XMP", 33432: "Copyright", 33723: "IPTC", 34665: "EXIF", 34853: "GPS"
} | {_ICC_PROFILE: "ICC profile", 65427: "Reference", 65442: "SerialNumber", 65449: "PropertyMap"}  # fmt: skip


def is_slide(data: bytes | mmap.mmap) -> bool:
    """Tell whether a TIFF file is a whole slide image: its first page has tiles, or is from Aperio or Hamamatsu."""
    if data[:4] not in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return False
    try:
        tiff = TiffFile(data if isinstance(data, mmap.mmap) else bytearray(data))
    except (Unacceptable, struct.error, KeyError):
        return False
    if not tiff.pages:
        return False
    first = tiff.pages[0]
    named = _HAMAMATSU in first.values or tiff.text(first, _DESCRIPTION).startswith(b"Aperio")
    return named or (_TILE_WIDTH in first.values and (len(tiff.pages) > 1 or SUBPAGES in first.values))


def clean_slide(data: bytes, profile: Profile, subject: Pseudonym | None, key: bytes, limits: DecodingLimits) -> Result:
    """De-identify a whole slide image.

    Parameters
    ----------
    data
        The received bytes, for which ``is_slide`` is true.
    profile
        Decides whether a small level of the pyramid is searched for text; otherwise a person reviews the slide.
    subject
        The patient, if known.
    key
        Secret of the project, at least 16 bytes; the new name is derived from it.
    limits
        Limits of size.

    Returns
    -------
    Result
        The same pyramid, byte for byte. Quarantined if it contains text, for example from a pen on the glass.

    Raises
    ------
    Unacceptable
        When the file cannot be read, or has pages of which it cannot be told what they show.
    """
    name = name_of(key, "slide", data)
    output_path = (subject.code, name) if subject is not None else (name,)
    tiff = TiffFile(bytearray(data))
    pages, result = _clean_pages(tiff, output_path)
    cleaned = b"".join(_read_chunks(tiff, pages))
    doubt, boxes = _review_reason(BytesIO(cleaned), pages, profile)
    if doubt:
        return replace(result, outcome="quarantined", reason=doubt, boxes=boxes, doubtful=cleaned)
    return replace(result, data=cleaned)


def clean_slide_file(source: Path, target: Path, profile: Profile, key: bytes) -> Result:
    """De-identify a slide that is too large for memory; see ``clean_slide``.

    Parameters
    ----------
    source
        The file, for which ``is_slide`` is true. It is not changed.
    target
        Path of the new file. Only clean bytes are written; it is deleted if the slide is quarantined.
    profile
        Decides whether a small level of the pyramid is searched for text; otherwise a person reviews the slide.
    key
        Secret of the project, at least 16 bytes; the new name is derived from it.

    Returns
    -------
    Result
        Without data, which are in ``target``.

    Raises
    ------
    Unacceptable
        When the file cannot be read, or has pages of which it cannot be told what they show.
    """
    # A private mapping: changes stay in memory and do not reach the file.
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as data:
        output_path = (name_of(key, "slide", data),)
        tiff = TiffFile(data)
        pages, result = _clean_pages(tiff, output_path)
        doubt = "It could not be written."
        try:
            with target.open("w+b") as out:
                for chunk in _read_chunks(tiff, pages):
                    out.write(chunk)
                out.seek(0)
                doubt, boxes = _review_reason(out, pages, profile)
        finally:
            if doubt:
                target.unlink(missing_ok=True)
        return replace(result, outcome="quarantined", reason=doubt, boxes=boxes) if doubt else result


def _clean_pages(tiff: TiffFile, output_path: tuple[str, ...]) -> tuple[list[TiffPage], Result]:
    """Remove pages and texts; return the pages that stay, and the result."""
    pages, removed = _split_pages(tiff)
    suffix = ".ndpi" if _HAMAMATSU in pages[0].values else ".tif"
    if tiff.text(pages[0], _DESCRIPTION).startswith(b"Aperio"):
        suffix = ".svs"
    actions = [ActionRecord(f"page {page.number + 1}", _page_type(tiff, page), "", "removed", RULE) for page in removed]
    for page in pages:
        actions += _remove_metadata(tiff, page)
    chain = [page for page in pages if not page.sub]
    for page, after in zip(chain, [*chain[1:], None], strict=True):
        tiff.write_entries(page, page.entries, after.at if after is not None else 0)
    actions.append(ActionRecord("bytes that no page refers to", "gaps", "", "removed", RULE))
    return pages, Result("cleaned", "", b"", output_path, tuple(dict.fromkeys(actions)), suffix=suffix)


def _split_pages(tiff: TiffFile) -> tuple[list[TiffPage], list[TiffPage]]:
    """Split the pages into those of the pyramid and all others."""
    base = max((page for page in tiff.pages), key=lambda page: page.width * page.height)
    if base is not tiff.pages[0]:
        raise Unacceptable(
            "The first page of this slide is not its largest; a person must review it.", reason="unsupported"
        )
    pages, removed = [base, *tiff.subpages(base)], []
    for page in tiff.pages[1:]:
        if _page_type(tiff, page) != "page" or not _has_aspect_of(base, page):
            removed.append(page)
        else:
            pages += [page, *tiff.subpages(page)]
    sizes = [(page.width, page.height) for page in pages]
    if len(set(sizes)) < len(sizes):
        raise Unacceptable(
            "This TIFF file has several pages of one size, as stacks have. Save each page as a file of its own.",
            reason="unsupported",
        )
    return pages, removed


def _page_type(tiff: TiffFile, page: TiffPage) -> str:
    """Read the type of a page: label, macro, or page."""
    description = tiff.text(page, _DESCRIPTION)[:4000].lower()
    for word in (b"label", b"macro"):
        if word in description:
            return word.decode()
    if page.values.get(_SUBFILE, (0,))[0] & 8:
        return "macro"
    # Hamamatsu's lens is -1 for the macro, -2 for a map of the slide, as a float.
    lens = next((entry for entry in page.entries if entry.tag == _SOURCE_LENS), None)
    if lens is not None and lens.kind == 11:
        (value,) = struct.unpack_from(f"{tiff.order}f", tiff.data, lens.at)
        return "macro" if value < 0 else "page"
    return "page"


def _has_aspect_of(base: TiffPage, page: TiffPage) -> bool:
    """Whether a page has the aspect ratio of the largest one, as its smaller levels have."""
    shape, other = base.width / base.height, page.width / page.height
    # The sizes of small levels are rounded to integers.
    return abs(shape / other - 1) <= _ASPECT_TOLERANCE + 1 / min(page.width, page.height)


def _remove_metadata(tiff: TiffFile, page: TiffPage) -> list[ActionRecord]:
    """Remove the metadata of a page, and list what was removed."""
    entries, actions = [], []
    page_name = f"page {page.number + 1}"
    for entry in page.entries:
        if entry.tag in _ALLOWED_TAGS:
            entries.append(entry)
            continue
        name = _NAMES.get(entry.tag, f"tag {entry.tag}")
        value = bytes(tiff.data[entry.at : entry.at + entry.length])
        cleaned = None
        if entry.tag == _DESCRIPTION:
            cleaned = _clean_aperio_description(value)
        elif entry.tag == _ICC_PROFILE:
            cleaned = clean_color_profile(value)
        if cleaned is not None and len(cleaned) <= len(value):
            entries.append(tiff.write_shorter_value(entry, cleaned))
            actions.append(ActionRecord(f"{page_name} {name}", name, "", "cleaned", RULE))
        else:
            actions.append(ActionRecord(f"{page_name} {name}", name, "", "removed", RULE))
    tiff.write_entries(page, entries, 0)
    if page.values.get(_COMPRESSION, (1,))[0] in _JPEG and _blank_comments(tiff, page):
        actions.append(ActionRecord(f"{page_name} JPEG comments", "comments", "", "removed", RULE))
    return actions


def _clean_aperio_description(value: bytes) -> bytes | None:
    """Reduce Aperio's description to geometry, magnification and pixel size; readers identify the format by it."""
    match = _APERIO.match(value)
    if match is None:
        return None
    properties = list(dict.fromkeys(_APERIO_PROPERTIES.findall(value)))
    return b"|".join([b"\r\n".join(match.groups()), *properties]) + b"\x00"


def _blank_comments(tiff: TiffFile, page: TiffPage) -> bool:
    """Blank comments and application segments of the JPEG streams of a page, except those of the color space."""
    blanked = False
    for offset_tag, length_tag in OFFSET_TAGS.items():
        for at, length in zip(page.values.get(offset_tag, ()), page.values.get(length_tag, ()), strict=True):
            position, end = at + 2, at + length
            while position + 4 <= end and tiff.data[position] == 0xFF and tiff.data[position + 1] != 0xDA:
                marker = tiff.data[position + 1]
                (size,) = struct.unpack_from(">H", tiff.data, position + 2)
                segment_end = min(end, position + 2 + size)
                if (marker == 0xFE or 0xE1 <= marker <= 0xED or marker == 0xEF) and any(
                    tiff.data[position + 4 : segment_end]
                ):
                    tiff.data[position + 4 : segment_end] = bytes(segment_end - position - 4)
                    blanked = True
                position = max(segment_end, position + 4)
    return blanked


def _read_chunks(tiff: TiffFile, pages: list[TiffPage]) -> Iterator[bytes]:
    """Yield the file up to its last used byte, with zeros in place of bytes that these pages do not refer to."""
    at = 0
    for start, end in sorted(
        [(0, tiff.head), *(byte_range for page in pages for byte_range in tiff.byte_ranges(page))]
    ):
        if start > at:
            yield from (bytes(min(_CHUNK_BYTES, start - position)) for position in range(at, start, _CHUNK_BYTES))
        for position in range(max(at, start), end, _CHUNK_BYTES):
            yield bytes(tiff.data[position : min(end, position + _CHUNK_BYTES)])
        at = max(at, end)


def _review_reason(
    clean: IO[bytes], pages: list[TiffPage], profile: Profile
) -> tuple[str, tuple[tuple[int, int, int, int, int], ...]]:
    """Search for text in the largest level that is small enough for OCR; return the reason for a review, and boxes."""
    if not profile.pixels.clean:
        return "Slides may have text on their glass; a person must review them.", ()
    small = [page for page in pages if page.width * page.height <= _MAX_OCR_PIXELS and not page.sub]
    if not small:
        return "The slide has no small level that could be searched for text; a person must review it.", ()
    page = max(small, key=lambda page: page.width * page.height)
    number = [main_page for main_page in pages if not main_page.sub].index(page)
    try:
        with Image.open(clean, formats=("TIFF",)) as image:
            image.seek(number)
            picture = np.asarray(image.convert("RGB"))
        check, _ = check_picture(picture, "SM", IdentifyingText())
    except OcrUnavailable as error:
        return f"Its pixels were not searched for text. {error}", ()
    except (OSError, ValueError, SyntaxError):
        return "Its small levels cannot be decoded and searched for text; a person must review it.", ()
    x, y = pages[0].width / page.width, pages[0].height / page.height
    boxes = tuple((1, int(x0 * x), int(y0 * y), int(x1 * x), int(y1 * y)) for _, x0, y0, x1, y1 in check.boxes)
    if check.doubt or boxes:
        return check.doubt or "The scan seems to contain text; a person must review it.", boxes
    return "", ()
