# SPDX-License-Identifier: Apache-2.0
"""DICOM files as they are stored, under neutral names, with a DICOMDIR."""

from __future__ import annotations

from collections.abc import Sequence

from medhub.export.exported_records import SelectedImage
from medhub.export.formats.export_format import FileNaming, PackedImage, neutral_name
from medhub.foundation.app_context import AppContext
from medhub.records.models import Image
from medhub.science.imaging.dicom.dicomdir import directory_facts, write_dicomdir

DICOM_FOLDER = "DICOM"


class DicomFormat:
    """DICOM files as they are stored, as a DICOM file-set."""

    name = "dicom"
    title = "DICOM files"
    picture_types: tuple[str, ...] = ()
    has_pixels = True
    has_dicom_headers = True
    compressed = True

    def exclusion_reason(self, app: AppContext, image: Image, label: str | None, pathway: str | None) -> str | None:
        """Every stored image is a DICOM file."""
        return None

    def create_naming(self, picture: str | None) -> FileNaming:
        """Name files by patient, study, series and image."""
        return _FileSetNaming()

    def read_file(self, app: AppContext, image: Image, picture: str | None) -> bytes:
        """Return the stored file."""
        return app.blobs.get(image.blob)

    def write_index_files(
        self, app: AppContext, export_id: str, images: Sequence[PackedImage], picture: str | None
    ) -> dict[str, bytes]:
        """Return the DICOMDIR."""
        entries = [
            (packed.file or "", app.isolation.run(directory_facts, app.blobs.get(packed.image.blob)))
            for packed in images
        ]
        digest = app.keys.fingerprint("export-uids", export_id.encode())
        return {"DICOMDIR": write_dicomdir(entries, f"2.25.{int(digest[:32], 16)}")}


class _FileSetNaming:
    """Numbers patients, their studies, series and images in the order in which they come."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], dict[str, str]] = {}

    def name_file(self, number: int, image: SelectedImage) -> str | None:
        path: tuple[str, ...] = (DICOM_FOLDER,)
        for prefix, record_id in (
            ("PAT", image.patient_id),
            ("STU", image.study_id),
            ("SER", image.series_id),
            ("IMG", image.image_id),
        ):
            names = self._names.setdefault(path, {})
            path = (*path, names.setdefault(record_id, neutral_name(prefix, len(names) + 1)))
        return "/".join(path)
