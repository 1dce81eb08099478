# SPDX-License-Identifier: Apache-2.0
"""A photograph made into one without identity: its pixels, and nothing that a camera or program wrote beside them.

What the picture needs stays byte for byte where a file can be taken apart; other files are written anew, without loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydicom import Dataset

from medhub.science.deid.cleaning_result import Result
from medhub.science.deid.color_profiles import clean_color_profile
from medhub.science.deid.engine import Action
from medhub.science.deid.file_containers import Parts, jpeg_parts, png_parts, webp_parts
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.deid.pixel_cleaning import PixelCheck, check_picture
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym, name_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.formats import identify, read_photograph
from medhub.science.imaging.photographs.photograph import Photograph, rgb

RULE = "photograph"
_MODALITY = "XC"
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "BMP": ".bmp", "WebP": ".webp"}
_TAKE_APART = {"JPEG": jpeg_parts, "PNG": png_parts, "WebP": webp_parts}
_SUBDIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop, ExifTags.IFD.IFD1)
# What says how samples lie in a TIFF file, which is written anew, and so is no metadata.
_LAYOUT = frozenset(
    [254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 290, 296, 317, 320, 322, 323]
) | frozenset([324, 325, 338, 339, 347, 529, 530, 531, 532, 34675])
# Where people write names: what stands there is looked for in the picture too.
_TEXTS = frozenset(("Artist", "Copyright", "ImageDescription", "DocumentName", "CameraOwnerName")) | frozenset(
    ("XPAuthor", "XPTitle", "XPComment", "XPSubject")
)


@dataclass(frozen=True)
class _Beside:
    """What a file says beside its picture."""

    actions: tuple[Action, ...]
    identity: IdentifyingText
    profile: bytes | None


def clean_photograph(
    data: bytes, profile: Profile, subject: Pseudonym | None, key: bytes, limits: DecodingLimits
) -> Result:
    """Make a photograph into one without identity.

    Parameters
    ----------
    data
        The received bytes, of a kind that ``identify`` knows.
    profile
        Whether writing in the picture becomes black, or a person looks at each picture.
    subject
        Whose photograph it is, if that is known.
    key
        Secret of the project, at least 16 bytes; the new name comes from it.
    limits
        What is taken.

    Returns
    -------
    Result
        An image file of the same kind. A JPEG keeps its stream, or becomes a PNG when pixels change, so that no other
        pixel does. Boxes are in the picture as it is shown, the right way up.

    Raises
    ------
    Unacceptable
        When the file cannot be read, is damaged, animated, of several pages, or larger than the limits.
    """
    photograph = read_photograph(data, limits)
    kind = photograph.kind
    parts = _TAKE_APART[kind](data) if kind in _TAKE_APART else None
    beside = _beside(data, kind, parts)
    actions = list(beside.actions)
    name = name_of(key, "photograph", data)
    place = (subject.code, name) if subject is not None else (name,)
    if parts is not None and (kind == "JPEG" or not photograph.notes):
        clean = parts.without_metadata(beside.profile)
    else:
        clean = _written(_samples(photograph), kind, beside.profile)
        actions.append(_done("pixels", "kept", " ".join(("written anew without loss.", *photograph.notes))))
    look, mask = _look(photograph, profile, beside.identity)
    if look.doubt:
        waiting = Result("quarantined", look.doubt, b"", place, tuple(actions), look.boxes, look.kept)
        return replace(waiting, doubtful=clean, suffix=_SUFFIXES[kind])
    if mask.any():
        samples = _samples(photograph).copy()
        samples[mask] = 0
        actions.append(_done("pixels", "cleaned", "writing made black"))
        if kind == "JPEG":
            kind = "PNG"
            actions.append(_done("JPEG stream", "replaced", "PNG, so that no pixel beside the boxes changes"))
        clean = _written(samples, kind, beside.profile)
    return Result("cleaned", "", clean, place, tuple(actions), look.boxes, look.kept, suffix=_SUFFIXES[kind])


def _look(photograph: Photograph, profile: Profile, identity: IdentifyingText) -> tuple[PixelCheck, NDArray[np.bool_]]:
    picture = rgb(photograph)
    nothing = np.zeros(picture.shape[:2], bool)
    if not profile.pixels.clean:
        return PixelCheck(doubt="Photographs may have writing in their pixels; a person must look."), nothing
    try:
        return check_picture(picture, _MODALITY, identity)
    except OcrUnavailable as error:
        return PixelCheck(doubt=f"Nobody looked for writing in its pixels. {error}"), nothing


def _beside(data: bytes, kind: str, parts: Parts | None) -> _Beside:
    """List what lies beside the picture, without its values, and what of it is needed."""
    texts: list[str] = []
    icc = parts.profile if parts is not None else None
    try:
        with Image.open(BytesIO(data)) as image:
            names = list(_exif(image, texts)) if kind != "TIFF" else list(_tiff(image, texts))
            icc = icc or image.info.get("icc_profile")
    # A parser of hostile bytes may raise anything; nothing of what it could not read is kept either.
    except Exception:
        names = ["EXIF (cannot be read)"]
    actions = [_done(name, "removed", RULE) for name in dict.fromkeys(names)]
    actions += [_done(name, "removed", RULE) for name in dict.fromkeys(parts.removed if parts is not None else ())]
    profile = clean_color_profile(icc) if icc else None
    if icc:
        actions.append(_done("ICC profile", "cleaned" if profile else "removed", RULE))
    words = Dataset()
    words.OtherPatientNames = texts
    return _Beside(tuple(actions), identifying_text_of(words), profile)


def _exif(image: Image.Image, texts: list[str]) -> Iterator[str]:
    exif = image.getexif()
    yield from _named("EXIF", exif.items(), ExifTags.TAGS, texts)
    for part in _SUBDIRECTORIES:
        with suppress(KeyError, ValueError, TypeError):
            where = "EXIF thumbnail" if part == ExifTags.IFD.IFD1 else "EXIF"
            names = ExifTags.GPSTAGS if part == ExifTags.IFD.GPSInfo else ExifTags.TAGS
            yield from _named(where, exif.get_ifd(part).items(), names, texts)


def _tiff(image: Image.Image, texts: list[str]) -> Iterator[str]:
    tags = [(tag, value) for tag, value in image.tag_v2.items() if tag not in _LAYOUT]  # type: ignore[attr-defined]
    yield from _named("TIFF", tags, ExifTags.TAGS, texts)
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        with suppress(KeyError, ValueError, TypeError):
            names = ExifTags.GPSTAGS if part == ExifTags.IFD.GPSInfo else ExifTags.TAGS
            yield from _named("EXIF", image.getexif().get_ifd(part).items(), names, texts)


def _named(where: str, tags: Iterable[tuple[int, Any]], names: dict[int, str], texts: list[str]) -> Iterator[str]:
    for tag, value in tags:
        name = names.get(tag, f"{tag:#06x}")
        if name in _TEXTS:
            text = value.decode("utf-16-le", "ignore") if isinstance(value, bytes) else str(value)
            texts.append(" ".join(text.replace("\\", " ").replace("=", " ").split("\0"))[:1000])
        yield f"{where} {name}"


def _done(name: str, done: Any, rule: str) -> Action:
    return Action(name, name.split()[-1] if name.startswith(("EXIF", "TIFF")) else name, "", done, rule)


def _samples(photograph: Photograph) -> NDArray[Any]:
    """The samples of a photograph, grey or RGB; of a kept stream as it is decoded, the right way up."""
    if photograph.pixels is not None:
        return photograph.pixels
    pixels = rgb(photograph)
    assert photograph.stream is not None  # noqa: S101 - a photograph has pixels or a stream
    return pixels[..., 0] if photograph.stream.components == 1 else pixels


def _written(samples: NDArray[Any], kind: str, icc: bytes | None) -> bytes:
    """Write samples without loss and with nothing beside them but a color profile of numbers."""
    out = BytesIO()
    samples = np.ascontiguousarray(samples)
    if samples.dtype == np.uint16 and samples.ndim == 3:
        return _written_deep(samples, kind)
    options: dict[str, Any] = {"icc_profile": icc} if icc and kind != "BMP" else {}
    if kind == "WebP":
        options |= {"lossless": True, "quality": 50, "method": 3}
    elif kind == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    Image.fromarray(samples).save(out, {"WebP": "WEBP"}.get(kind, kind), **options)
    return out.getvalue()


def _written_deep(samples: NDArray[Any], kind: str) -> bytes:
    """Colors of sixteen bits, which Pillow does not write."""
    try:
        import cv2
    except ImportError as error:
        raise Unacceptable(
            "Colors of sixteen bits cannot be written anew without opencv.", reason="unsupported"
        ) from error
    done, found = cv2.imencode(".png" if kind == "PNG" else ".tif", samples[:, :, ::-1])
    if not done or identify(found.tobytes()) != kind:
        raise Unacceptable("Colors of sixteen bits of this kind cannot be written anew.", reason="unsupported")
    return found.tobytes()
