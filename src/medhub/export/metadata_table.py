# SPDX-License-Identifier: Apache-2.0
"""The metadata table of an export: its columns, the row of each image, and the table as CSV, JSON and JSON values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medhub.export.exported_records import ExportedRecords
from medhub.foundation.spreadsheet_cells import spreadsheet_cell
from medhub.records.field_values import Value
from medhub.records.models import FieldDefinition
from medhub.science.deid.anonymity import Anonymity, k_anonymity

FIXED_COLUMNS = (
    "file", "label", "patient", "split", "sex", "birth_year", "study", "study_description", "series",
    "series_description", "image", "modality", "kind", "width", "height", "frames",
)  # fmt: skip
# Columns with text that people or devices wrote, besides the project's fields; the hub generates all others.
_FREE_TEXT_COLUMNS = ("study_description", "series_description", "label")


@dataclass(frozen=True)
class ExportRow:
    """The values of one image, by column."""

    values: Mapping[str, Value]

    @property
    def free_text(self) -> dict[str, str]:
        """The values that a person or a device wrote, in which a name may occur."""
        return {
            column: str(value)
            for column, value in self.values.items()
            if value not in (None, "") and (column in _FREE_TEXT_COLUMNS or column.startswith("field."))
        }


def field_column(definition: FieldDefinition) -> str:
    """The column of a field that the project defined."""
    return f"field.{definition.subject}.{definition.key}"


def build_row(
    records: ExportedRecords,
    *,
    file: str | None,
    label: str | None,
    part: str,
    definitions: Sequence[FieldDefinition],
) -> ExportRow:
    """The row of one image."""
    image, series, study, patient = records.image, records.series, records.study, records.patient
    values: dict[str, Value] = {
        "file": file,
        "label": label,
        "patient": patient.code,
        "split": part,
        "sex": patient.sex,
        "birth_year": patient.birth_year,
        "study": study.study_uid,
        "study_description": study.description,
        "series": series.series_uid,
        "series_description": series.description,
        "image": image.sop_instance_uid,
        "modality": image.modality,
        "kind": image.kind,
        "width": image.width,
        "height": image.height,
        "frames": image.frames,
    }
    for definition in definitions:
        fields = patient.fields if definition.subject == "patient" else study.fields
        values[field_column(definition)] = fields.get(definition.key)
    return ExportRow(values)


def write_csv(rows: Sequence[ExportRow], columns: Sequence[str]) -> bytes:
    """The rows as CSV in UTF-8; a spreadsheet takes no value for a formula."""
    buffer = io.StringIO(newline="")
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows([_format_cell(row.values.get(column)) for column in columns] for row in rows)
    return buffer.getvalue().encode()


def write_json(header: Mapping[str, Any], rows: Sequence[ExportRow]) -> bytes:
    """A header and the rows as JSON in UTF-8."""
    content = {**header, "images": [dict(row.values) for row in rows]}
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def column_types(columns: Sequence[str], definitions: Sequence[FieldDefinition]) -> list[list[str]]:
    """Each column with the type of its values."""
    types = dict.fromkeys(("birth_year", "width", "height", "frames"), "integer")
    types |= {field_column(definition): definition.kind for definition in definitions}
    return [[column, types.get(column, "text")] for column in columns]


def write_values(rows: Sequence[ExportRow], columns: Sequence[str]) -> bytes:
    """The values of the rows in the order of the columns, as JSON."""
    return json.dumps([[row.values.get(column) for column in columns] for row in rows]).encode()


def write_label_list(rows: Sequence[ExportRow]) -> bytes:
    """The CSV from which a training reads its images: path, label, group, split; every label exactly as it is."""
    buffer = io.StringIO(newline="")
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(("path", "label", "group", "split"))
    lines.writerows([row.values[column] for column in ("file", "label", "patient", "split")] for row in rows)
    return buffer.getvalue().encode()


def _format_cell(value: Value) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return spreadsheet_cell(value)


def measure_anonymity(
    rows: Sequence[tuple[str, ExportRow, str | None]], definitions: Sequence[FieldDefinition]
) -> tuple[Anonymity, list[str]]:
    """K-anonymity from the patient, row and study date of each image, with the quasi-identifying columns.

    A study date counts if it leaves unmodified. Fields with a few possible values count.
    """
    columns = ["sex", "birth_year"]
    columns += [field_column(definition) for definition in definitions if definition.kind in {"choice", "boolean"}]
    if any(date for _, _, date in rows):
        columns.append("study_date")
    values = [{**row.values, "patient": patient_id, "study_date": date} for patient_id, row, date in rows]
    return k_anonymity(values, columns), columns


def summarize_anonymity(result: Anonymity, columns: Sequence[str]) -> dict[str, Any]:
    """K-anonymity as it is stored and shown; ``alone`` counts the patients whose values nobody shares."""
    return {
        "k": result.k,
        "patients": result.patients,
        "classes": result.classes,
        "alone": dict(result.sizes).get(1, 0),
        "below": result.below,
        "least": result.least,
        "columns": list(columns),
    }
