# SPDX-License-Identifier: Apache-2.0
"""What an export says of its images: columns, values as they leave, neutral names of files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medhub.export.selection import Facts, SelectedImage
from medhub.records.field_values import Value
from medhub.records.models import FieldDefinition
from medhub.science.deid.anonymity import Anonymity, k_anonymity

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OWN_COLUMNS = (
    "file", "label", "patient", "split", "sex", "birth_year", "study", "study_description", "series",
    "series_description", "image", "modality", "kind", "width", "height", "frames",
)  # fmt: skip
# What people or devices wrote freely; all other columns are made by the hub.
_WRITTEN = ("study_description", "series_description", "label")


@dataclass(frozen=True)
class ExportRow:
    """What leaves of one image beside its file, column by column."""

    values: Mapping[str, Value]

    @property
    def written(self) -> dict[str, str]:
        """The values that a person or a device wrote, which is where somebody may be named."""
        return {
            column: str(value)
            for column, value in self.values.items()
            if value not in (None, "") and (column in _WRITTEN or column.startswith("field."))
        }


def field_column(definition: FieldDefinition) -> str:
    """The column of a field that the project defined."""
    return f"field.{definition.subject}.{definition.key}"


def row_of(
    facts: Facts, *, file: str | None, label: str | None, part: str, definitions: Sequence[FieldDefinition]
) -> ExportRow:
    """What leaves of one image beside its file."""
    image, series, study, patient = facts.image, facts.series, facts.study, facts.patient
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
        given = patient.fields if definition.subject == "patient" else study.fields
        values[field_column(definition)] = given.get(definition.key)
    return ExportRow(values)


def as_csv(rows: Sequence[ExportRow], columns: Sequence[str]) -> bytes:
    """The rows as CSV in UTF-8; no value is taken for a formula by a spreadsheet."""
    buffer = io.StringIO(newline="")
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows([_cell(row.values.get(column)) for column in columns] for row in rows)
    return buffer.getvalue().encode()


def as_json(about: Mapping[str, Any], rows: Sequence[ExportRow]) -> bytes:
    """What the export is, and the rows, as JSON in UTF-8."""
    content = {**about, "images": [dict(row.values) for row in rows]}
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def typed(columns: Sequence[str], definitions: Sequence[FieldDefinition]) -> list[list[str]]:
    """Each column and the kind of its values."""
    kinds = dict.fromkeys(("birth_year", "width", "height", "frames"), "integer")
    kinds |= {field_column(one): one.kind for one in definitions}
    return [[column, kinds.get(column, "text")] for column in columns]


def as_values(rows: Sequence[ExportRow], columns: Sequence[str]) -> bytes:
    """The values of the rows in the order of the columns, as JSON."""
    return json.dumps([[row.values.get(column) for column in columns] for row in rows]).encode()


def listing(rows: Sequence[ExportRow]) -> bytes:
    """The list from which a training reads its images: path, label, group, split."""
    buffer = io.StringIO(newline="")
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(("path", "label", "group", "split"))
    lines.writerows([_cell(row.values[column]) for column in ("file", "label", "patient", "split")] for row in rows)
    return buffer.getvalue().encode()


def _cell(value: Value) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def anonymity(
    rows: Sequence[tuple[str, ExportRow, str | None]], definitions: Sequence[FieldDefinition]
) -> tuple[Anonymity, list[str]]:
    """Among how many people each patient hides, from patient, row and study date of each image; and by which columns.

    A study date counts where it leaves unmoved. Of the fields those count that take one of a few values.
    """
    quasi = ["sex", "birth_year"]
    quasi += [field_column(one) for one in definitions if one.kind in {"choice", "boolean"}]
    if any(date for _, _, date in rows):
        quasi.append("study_date")
    told = [{**row.values, "patient": patient_id, "study_date": date} for patient_id, row, date in rows]
    return k_anonymity(told, quasi), quasi


def figures(found: Anonymity, quasi: Sequence[str]) -> dict[str, Any]:
    """The figure as it is kept and shown; ``alone`` is the number of patients who share their values with nobody."""
    return {
        "k": found.k,
        "patients": found.patients,
        "classes": found.classes,
        "alone": dict(found.sizes).get(1, 0),
        "below": found.below,
        "least": found.least,
        "columns": list(quasi),
    }


def _numbered(prefix: str, number: int) -> str:
    """A name of eight letters at most, as DICOM allows it, in which nobody sees the number of a person."""
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"{prefix}_{digits.rjust(4, '0')}"


class Names:
    """Neutral names in the order in which images come: by patient, study and series in DICOM, by number elsewhere."""

    def __init__(self, form: str, picture: str | None) -> None:
        self._form = form
        self._ending = {"png": ".png", "jpeg": ".jpg"}.get(picture or "", "")
        self._known: dict[tuple[str, ...], dict[str, str]] = {}

    def of(self, number: int, image: SelectedImage) -> str | None:
        """The path of an image's file in what leaves; none where no file leaves."""
        if self._form == "metadata":
            return None
        if self._form == "training":
            return f"images/{_numbered('IMG', number)}{self._ending}"
        path: tuple[str, ...] = ("DICOM",)
        for prefix, one in (
            ("PAT", image.patient_id),
            ("STU", image.study_id),
            ("SER", image.series_id),
            ("IMG", image.image_id),
        ):
            known = self._known.setdefault(path, {})
            path = (*path, known.setdefault(one, _numbered(prefix, len(known) + 1)))
        return "/".join(path)
