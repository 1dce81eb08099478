# SPDX-License-Identifier: Apache-2.0
"""The metadata tables alone, without a file of any image."""

from __future__ import annotations

from collections.abc import Sequence

from medhub.export.exported_records import SelectedImage
from medhub.export.formats.export_format import FileNaming, PackedImage
from medhub.foundation.app_context import AppContext
from medhub.records.models import Image


class MetadataFormat:
    """The metadata tables alone."""

    name = "metadata"
    title = "Metadata only"
    picture_types: tuple[str, ...] = ()
    has_pixels = False
    has_dicom_headers = False
    compressed = True

    def exclusion_reason(self, app: AppContext, image: Image, label: str | None, pathway: str | None) -> str | None:
        """Every image has metadata."""
        return None

    def create_naming(self, picture: str | None) -> FileNaming:
        """There are no files to name."""
        return _NoFiles()

    def read_file(self, app: AppContext, image: Image, picture: str | None) -> bytes:
        """There is no file per image."""
        return b""

    def write_index_files(
        self, app: AppContext, export_id: str, images: Sequence[PackedImage], picture: str | None
    ) -> dict[str, bytes]:
        """The metadata tables of every format are enough."""
        return {}


class _NoFiles:
    def name_file(self, number: int, image: SelectedImage) -> str | None:
        return None
