# SPDX-License-Identifier: Apache-2.0
"""An export with everything that is needed to scan and pack it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.export import metadata_table
from medhub.export.exported_records import ExportedRecords, load_records
from medhub.export.formats import get_format
from medhub.export.formats.export_format import ExportFormat, PackedImage
from medhub.export.metadata_table import ExportRow
from medhub.export.models import Export, ExportImage
from medhub.foundation.app_context import AppContext
from medhub.records import field_definitions
from medhub.records.models import FieldDefinition


@dataclass(frozen=True)
class ExportContents:
    """An export, its image rows, the records behind them and the project's field definitions."""

    export: Export
    rows: list[ExportImage]
    records: Mapping[str, ExportedRecords]
    definitions: Sequence[FieldDefinition]

    @property
    def format(self) -> ExportFormat:
        """The format of the export."""
        return get_format(self.export.form)

    @property
    def existing_rows(self) -> list[ExportImage]:
        """The rows of images that were not deleted since the order."""
        return [row for row in self.rows if row.image_id in self.records]

    def records_of(self, row: ExportImage) -> ExportedRecords:
        """The records behind a row."""
        return self.records[row.image_id or ""]

    def build_row(self, row: ExportImage) -> ExportRow:
        """The metadata of an image."""
        return metadata_table.build_row(
            self.records_of(row), file=row.file, label=row.label, part=row.part, definitions=self.definitions
        )

    def read_file(self, app: AppContext, row: ExportImage) -> bytes:
        """The file of an image, as it leaves."""
        return self.format.read_file(app, self.records_of(row).image, self.export.picture)

    def packed_images(self) -> list[PackedImage]:
        """The images that are packed."""
        return [PackedImage(self.records_of(row).image, row.file, self.build_row(row)) for row in self.existing_rows]


def load_contents(session: Session, export_id: str, *, unscanned_limit: int | None = None) -> ExportContents:
    """An export with the images that leave, or with the next few that were not scanned yet."""
    export = session.get_one(Export, export_id)
    query = select(ExportImage).where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False))
    if unscanned_limit is not None:
        query = query.where(ExportImage.scanned.is_(False), ExportImage.image_id.is_not(None)).limit(unscanned_limit)
    rows = list(session.scalars(query.order_by(ExportImage.number)))
    records = load_records(session, [row.image_id for row in rows if row.image_id is not None])
    definitions = [
        definition
        for subject in ("patient", "study")
        for definition in field_definitions.list_fields(session, [export.project_id], subject)
    ]
    return ExportContents(export, rows, records, definitions)


def store_anonymity(export: Export, contents: ExportContents) -> None:
    """Measure k-anonymity over the images that leave, and store it in the export."""
    rows = [(row.patient_id, contents.build_row(row), row.study_date) for row in contents.existing_rows]
    export.anonymity = (
        metadata_table.summarize_anonymity(*metadata_table.measure_anonymity(rows, contents.definitions))
        if rows
        else None
    )
