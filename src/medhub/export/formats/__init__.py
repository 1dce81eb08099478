# SPDX-License-Identifier: Apache-2.0
"""The registry of export formats: one file and one line of ``FORMATS`` for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from medhub.errors import Invalid
from medhub.export.formats.dicom import DicomFormat
from medhub.export.formats.export_format import ExportFormat
from medhub.export.formats.metadata import MetadataFormat
from medhub.export.formats.training_images import TrainingImagesFormat

FORMATS: dict[str, ExportFormat] = {
    export_format.name: export_format
    for export_format in (
        DicomFormat(),
        TrainingImagesFormat(),
        MetadataFormat(),
    )
}

if TYPE_CHECKING:
    FormatName = str
else:
    # The registry is the single list of formats; the API's schema enumerates it.
    FormatName = Literal[tuple(FORMATS)]


def get_format(name: str) -> ExportFormat:
    """Return a format by its name."""
    try:
        return FORMATS[name]
    except KeyError:
        raise Invalid(
            f"There is no export format {name}. The formats are {', '.join(FORMATS)}.", field="form"
        ) from None
