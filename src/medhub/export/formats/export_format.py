# SPDX-License-Identifier: Apache-2.0
"""The protocol of an export format, and what formats share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medhub.export.exported_records import SelectedImage
from medhub.export.metadata_table import ExportRow
from medhub.foundation.app_context import AppContext
from medhub.records.models import Image

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class PackedImage:
    """An image that is packed, with its path in the ZIP and its row of the metadata table."""

    image: Image
    file: str | None
    row: ExportRow


class FileNaming(Protocol):
    """The paths of one export's files; it sees the images in their order."""

    def name_file(self, number: int, image: SelectedImage) -> str | None:
        """Return the path of an image's file in the ZIP; None where the format has no file per image."""
        ...


class ExportFormat(Protocol):
    """A kind of data set: which images it takes, the file of each image, and the files that describe all of them.

    A format is stateless; one instance is registered in ``medhub.export.formats``. Whatever it writes passes the PHI
    scan: ``read_file`` image by image, ``write_index_files`` before the ZIP is closed.
    """

    name: str
    """Value of ``form`` in the API, the command line and the database; at most 8 characters."""
    title: str
    """Name for people."""
    picture_types: tuple[str, ...]
    """Picture types that an order chooses from (``png``, ``jpeg``); empty if the format has none."""
    has_pixels: bool
    """Whether its files contain pixels, which the PHI scan then reads (OCR)."""
    has_dicom_headers: bool
    """Whether its files carry DICOM headers: their study date counts for k-anonymity, and nodes accept them."""
    compressed: bool
    """Whether the ZIP compresses its files; False for files that are compressed already."""

    def exclusion_reason(self, app: AppContext, image: Image, label: str | None, pathway: str | None) -> str | None:
        """Return why an image cannot be in this format, given its signed label and pathway; None if it can."""
        ...

    def create_naming(self, picture: str | None) -> FileNaming:
        """Return the naming of a new export."""
        ...

    def read_file(self, app: AppContext, image: Image, picture: str | None) -> bytes:
        """Return the file of an image; empty where the format has no file per image."""
        ...

    def write_index_files(
        self, app: AppContext, export_id: str, images: Sequence[PackedImage], picture: str | None
    ) -> dict[str, bytes]:
        """Return the files that describe all images, by path, besides the metadata tables of every format."""
        ...


def neutral_name(prefix: str, number: int) -> str:
    """Return a name of at most eight characters, as DICOM file IDs allow, that does not depend on the patient."""
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"{prefix}_{digits.rjust(4, '0')}"
