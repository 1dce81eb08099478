# SPDX-License-Identifier: Apache-2.0
"""De-identification of photographs: the picture stays, and what a camera or program wrote beside it is removed.

What the picture needs stays byte for byte where the format of the file can be split; other files are written anew
without loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medhub.science.deid.attributes.element_context import ActionRecord
from medhub.science.deid.cleaning_result import Result
from medhub.science.deid.color_profiles import clean_color_profile
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.deid.pixel_cleaning import PixelCheck, check_picture
from medhub.science.deid.profile import Profile
from medhub.science.deid.pseudonym import Pseudonym, name_of
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.photographs.color_conversion import COLOR_NOTE
from medhub.science.imaging.photographs.format_registry import identify_format, refuse_unknown
from medhub.science.imaging.photographs.photograph import Photograph, rgb
from medhub.science.imaging.photographs.photograph_format import ContainerParts, MetadataTag, PhotographFormat

RULE = "photograph"
_MODALITY = "XC"
# Tags in which people write names: these texts are searched for in the picture too.
_TEXT_TAGS = frozenset(("Artist", "Copyright", "ImageDescription", "DocumentName", "CameraOwnerName")) | frozenset(
    ("XPAuthor", "XPTitle", "XPComment", "XPSubject")
)


@dataclass(frozen=True)
class _RemovedMetadata:
    """What is removed beside the picture: its actions, its identifying texts, and the color profile that stays."""

    actions: tuple[ActionRecord, ...]
    identity: IdentifyingText
    color_profile: bytes | None


def clean_photograph(
    data: bytes, profile: Profile, subject: Pseudonym | None, key: bytes, limits: DecodingLimits
) -> Result:
    """De-identify a photograph.

    Parameters
    ----------
    data
        The received bytes.
    profile
        Whether text in the picture is made black, or a person reviews each picture.
    subject
        The patient, if known.
    key
        Secret of the project, at least 16 bytes; the new file name is derived from it.
    limits
        The largest accepted file.

    Returns
    -------
    Result
        An image file of the same format, or of the format's ``rewritten_as`` where samples are written anew. A JPEG
        keeps its stream, or becomes a PNG when pixels change, so that no other pixel does. Boxes are in the picture as
        it is shown, the right way up.

    Raises
    ------
    Unacceptable
        When the file is in none of the accepted formats, is damaged, animated, of several pages, or larger than the
        limits.
    """
    source = identify_format(data)
    if source is None:
        raise refuse_unknown(data)
    photograph = source.read(data, limits)
    container = source.split_container(data) if source.split_container is not None else None
    metadata = _list_metadata(data, source, container)
    clean = _write_without_metadata(photograph, source, container, metadata)
    name = name_of(key, "photograph", data)
    path = (subject.code, name) if subject is not None else (name,)
    check, mask = _check_pixels(photograph, profile, metadata.identity)
    result = Result("cleaned", "", clean.data, path, clean.actions, check.boxes, check.allowed, suffix=clean.extension)
    if check.doubt:
        return replace(result, outcome="quarantined", reason=check.doubt, data=b"", doubtful=clean.data)
    if mask.any():
        redacted = _write_redacted(photograph, source, clean, mask, metadata.color_profile)
        return replace(result, data=redacted.data, actions=redacted.actions, suffix=redacted.extension)
    return result


@dataclass(frozen=True)
class _CleanFile:
    """A file without metadata, its format, and what was done to the received one."""

    data: bytes
    format: PhotographFormat
    actions: tuple[ActionRecord, ...]

    @property
    def extension(self) -> str:
        return self.format.extension


def _write_without_metadata(
    photograph: Photograph, source: PhotographFormat, container: ContainerParts | None, metadata: _RemovedMetadata
) -> _CleanFile:
    """Keep what the picture needs byte for byte, or write its samples again where the file cannot be split."""
    if container is not None and (container.keeps_appearance or not set(photograph.notes) - {COLOR_NOTE}):
        # Adobe RGB that only EXIF names is written as a profile.
        profile = metadata.color_profile or photograph.source_profile
        return _CleanFile(container.without_metadata(profile), source, metadata.actions)
    actions = [
        *metadata.actions,
        _record("pixels", "kept", " ".join(("written anew without loss.", *photograph.notes))),
    ]
    output = source.rewritten_as or source
    if output is not source:
        actions.append(_record(f"{source.name} file", "replaced", f"{output.name}, which loses nothing"))
    # Samples that were converted to sRGB need no profile.
    profile = None if photograph.source_profile else metadata.color_profile
    return _CleanFile(source.write(_samples(photograph), profile), output, tuple(actions))


def _write_redacted(
    photograph: Photograph,
    source: PhotographFormat,
    clean: _CleanFile,
    mask: NDArray[np.bool_],
    color_profile: bytes | None,
) -> _CleanFile:
    """Write the samples again, black where the mask is set."""
    samples = _samples(photograph).copy()
    samples[mask] = 0
    actions = [*clean.actions, _record("pixels", "cleaned", "text made black")]
    output = source.rewritten_as or source
    if output is not clean.format:
        rule = f"{output.name}, so that no pixel beside the boxes changes"
        actions.append(_record(f"{source.name} stream", "replaced", rule))
    profile = None if photograph.source_profile else color_profile
    return _CleanFile(source.write(samples, profile), output, tuple(actions))


def _check_pixels(
    photograph: Photograph, profile: Profile, identity: IdentifyingText
) -> tuple[PixelCheck, NDArray[np.bool_]]:
    picture = rgb(photograph)
    empty_mask = np.zeros(picture.shape[:2], bool)
    if not profile.pixels.clean:
        return PixelCheck(doubt="Photographs may show text in their pixels; a person must review them."), empty_mask
    try:
        return check_picture(picture, _MODALITY, identity)
    except OcrUnavailable as error:
        return PixelCheck(doubt=f"Its pixels were not searched for text. {error}"), empty_mask


def _list_metadata(data: bytes, source: PhotographFormat, container: ContainerParts | None) -> _RemovedMetadata:
    """List what lies beside the picture, without its values, and clean the color profile."""
    color_profile = container.color_profile if container is not None else None
    tags: list[MetadataTag] = []
    try:
        tags, profile_in_file = source.read_metadata(data)
        names = [f"{tag.block} {tag.name}" for tag in tags]
        color_profile = color_profile or profile_in_file
    # A parser of hostile bytes may raise anything; what it could not read is removed as well.
    except Exception:
        names = ["EXIF (cannot be read)"]
    names += container.removed if container is not None else ()
    actions = [_record(name, "removed", RULE) for name in dict.fromkeys(names)]
    clean_profile = clean_color_profile(color_profile) if color_profile else None
    if color_profile:
        actions.append(_record("ICC profile", "cleaned" if clean_profile else "removed", RULE))
    words = Dataset()
    words.OtherPatientNames = [_tag_text(tag.value) for tag in tags if tag.name in _TEXT_TAGS]
    return _RemovedMetadata(tuple(actions), identifying_text_of(words), clean_profile)


def _tag_text(value: Any) -> str:
    text = value.decode("utf-16-le", "ignore") if isinstance(value, bytes) else str(value)
    return " ".join(text.replace("\\", " ").replace("=", " ").split("\0"))[:1000]


def _record(name: str, done: Any, rule: str) -> ActionRecord:
    return ActionRecord(name, name.split()[-1] if name.startswith(("EXIF", "TIFF")) else name, "", done, rule)


def _samples(photograph: Photograph) -> NDArray[Any]:
    """The samples of a photograph, grey or RGB; of a JPEG stream as it is decoded, the right way up."""
    if photograph.pixels is not None:
        return photograph.pixels
    pixels = rgb(photograph)
    assert photograph.stream is not None  # noqa: S101 - a photograph has pixels or a stream
    return pixels[..., 0] if photograph.stream.components == 1 else pixels
