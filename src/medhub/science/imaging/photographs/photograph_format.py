# SPDX-License-Identifier: Apache-2.0
"""What a photograph format provides: one ``PhotographFormat`` object for each format that the hub reads.

To add a format, write a module that defines one such object and add the object to ``FORMATS`` in ``format_registry``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.photographs.photograph import Photograph


class MetadataTag(NamedTuple):
    """One entry that a camera or program wrote beside the picture.

    Attributes
    ----------
    block
        The block that holds it: "EXIF", "EXIF thumbnail" or "TIFF".
    name
        Name of the tag, or its number where it has no name.
    value
        Its value, in memory alone: it may identify a person.
    """

    block: str
    name: str
    value: Any


class PhotographMetadata(NamedTuple):
    """What a file holds beside its picture: its tags, and its color profile as received."""

    tags: list[MetadataTag]
    color_profile: bytes | None


@dataclass(frozen=True)
class ContainerParts:
    """A file split into what its picture needs and the rest.

    Attributes
    ----------
    without_metadata
        Writes the file with its picture, byte for byte, and a color profile if one is passed; nothing else.
    removed
        Names of what lies beside the picture; never its content.
    color_profile
        The color profile as received.
    keeps_appearance
        Whether the picture alone is shown as it was read. Where it is not (an orientation tag is removed, transparent
        parts lie on white), the samples are written anew.
    """

    without_metadata: Callable[[bytes | None], bytes]
    removed: tuple[str, ...]
    color_profile: bytes | None
    keeps_appearance: bool


@dataclass(frozen=True)
class PhotographFormat:
    """A format of photographs: how it is recognized, read, de-identified and written.

    Attributes
    ----------
    name
        As it is shown to people, for example "JPEG".
    media_type
        Its media type (RFC 6838).
    extensions
        Endings of file names in lower case; files are written with the first.
    matches
        Whether the first bytes of a file are those of this format.
    read
        Reads a received file into pixels that are the right way up. Raises ``Unacceptable`` for a file that is cut off,
        damaged, of several pictures, or larger than the limits; sizes are checked before pixels are decoded.
    read_metadata
        Lists what lies beside the picture; may raise any error on a damaged file.
    write
        Writes samples (rows, columns[, 3]; uint8 or uint16) without loss and a color profile, if one is passed, into a
        file of this format or, where it cannot hold them without loss, of ``rewritten_as``.
    split_container
        Splits a file that ``read`` has accepted, so that its picture can stay byte for byte; ``None`` for a format
        whose files are always written anew.
    rewritten_as
        The format of what ``write`` returns; ``None`` for this one.
    """

    name: str
    media_type: str
    extensions: tuple[str, ...]
    matches: Callable[[bytes], bool]
    read: Callable[[bytes, DecodingLimits], Photograph]
    read_metadata: Callable[[bytes], PhotographMetadata]
    write: Callable[[NDArray[Any], bytes | None], bytes]
    split_container: Callable[[bytes], ContainerParts] | None = None
    rewritten_as: PhotographFormat | None = None

    @property
    def extension(self) -> str:
        """Ending of the files that are written."""
        return self.extensions[0]


def starts_with(*signatures: bytes) -> Callable[[bytes], bool]:
    """Make a ``matches`` function of the byte strings with which files of a format begin."""
    return lambda data: data[:16].startswith(signatures)
