# SPDX-License-Identifier: Apache-2.0
"""A data set for training: a picture of each signed image, with a list of labels and splits."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image as PillowImage

from medhub.export.exported_records import SelectedImage
from medhub.export.formats.export_format import FileNaming, PackedImage, neutral_name
from medhub.export.metadata_table import write_label_list
from medhub.foundation.app_context import AppContext
from medhub.records import isolated_calls
from medhub.records.models import Image
from medhub.records.pathway import get_pathway

_EXTENSIONS = {"png": ".png", "jpeg": ".jpg"}


class TrainingImagesFormat:
    """PNG or JPEG pictures of signed images, with ``labels.csv``."""

    name = "training"
    title = "Data set for training"
    picture_types: tuple[str, ...] = ("png", "jpeg")
    has_pixels = True
    has_dicom_headers = False
    compressed = False

    def exclusion_reason(self, app: AppContext, image: Image, label: str | None, pathway: str | None) -> str | None:
        """Training needs a signed label that counts, and a picture."""
        if label is None or pathway is None:
            return "without a signed verdict"
        if label in get_pathway(app.settings, pathway).not_counted:
            return "not counted"
        if image.shown_as != "image":
            return "no picture"
        return "unreadable" if image.state == "unreadable" else None

    def create_naming(self, picture: str | None) -> FileNaming:
        """Number the pictures."""
        return _PictureNaming(_EXTENSIONS[picture or "png"])

    def read_file(self, app: AppContext, image: Image, picture: str | None) -> bytes:
        """Return the first frame as a PNG or JPEG without metadata."""
        buffer = io.BytesIO()
        frame = PillowImage.fromarray(isolated_calls.read_stored_frame(app, image.blob))
        if picture == "png":
            frame.save(buffer, "PNG", compress_level=4)
        else:
            frame.save(buffer, "JPEG", quality=95)
        return buffer.getvalue()

    def write_index_files(
        self, app: AppContext, export_id: str, images: Sequence[PackedImage], picture: str | None
    ) -> dict[str, bytes]:
        """Return the list that ``medhub train`` reads."""
        return {"labels.csv": write_label_list([packed.row for packed in images])}


class _PictureNaming:
    def __init__(self, extension: str) -> None:
        self._extension = extension

    def name_file(self, number: int, image: SelectedImage) -> str | None:
        return f"images/{neutral_name('IMG', number)}{self._extension}"
