# SPDX-License-Identifier: Apache-2.0
"""The images of an export, with their signed labels and the split (train, val, test) of each patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.errors import Conflict, Invalid
from medhub.export.exported_records import SelectedImage
from medhub.export.formats.export_format import ExportFormat
from medhub.foundation.app_context import AppContext
from medhub.ingest.ingest_settings import settings_of
from medhub.records import dicom_search
from medhub.records.models import Image
from medhub.review.models import Case, Verdict
from medhub.science.learning.patient_splits import part_of_group

SelectionKind = Literal["project", "patients", "studies", "series", "images", "search", "verdicts"]
# Selections by id, with the column that holds the id.
_ID_COLUMNS = {
    "patients": Image.patient_id,
    "studies": Image.study_id,
    "series": Image.series_id,
    "images": Image.id,
}


class NothingToExport(Conflict):
    """The selection contains no image."""

    code = "nothing-to-export"


@dataclass(frozen=True)
class Selection:
    """The part of a project that an export contains."""

    kind: SelectionKind
    ids: tuple[str, ...] = ()
    pathway: str | None = None
    search: Mapping[str, str] | None = None  # DICOM keyword to value, as in C-FIND

    def check(self) -> None:
        """Raise ``Invalid`` if the selection is incomplete or contradicts itself."""
        if self.kind in _ID_COLUMNS and not self.ids:
            raise Invalid(f"Choose the {self.kind} to export.", field="ids")
        if self.kind in {"project", "search", "verdicts"} and self.ids:
            raise Invalid("Ids are for a selection of patients, studies, series or images.", field="ids")
        if (self.kind == "search") != bool(self.search):
            raise Invalid("Attribute values are required for a selection by search, and only there.", field="wanted")
        if self.kind == "verdicts" and self.pathway is None:
            raise Invalid("Choose the pathway whose signed verdicts to export.", field="pathway")
        if self.kind != "verdicts" and self.pathway is not None:
            raise Invalid("A pathway is for a selection of signed verdicts only.", field="pathway")


def select_images(
    session: Session, app: AppContext, project_id: str, selection: Selection, export_format: ExportFormat
) -> tuple[list[SelectedImage], dict[str, int]]:
    """The images of a selection in a fixed order, and the number of images left out for each reason."""
    selection.check()
    signed_labels = _load_signed_labels(session, project_id)
    key = app.keys.derive("splits")
    left_out: Counter[str] = Counter()
    selected = []
    for image in _query_images(session, project_id, selection):
        label, pathway = signed_labels.get(image.id) or (None, None)
        if selection.kind == "verdicts" and pathway != selection.pathway:
            continue
        reason = export_format.exclusion_reason(app, image, label, pathway)
        if reason is not None:
            left_out[reason] += 1
            continue
        part = part_of_group(key, image.patient_id)
        selected.append(SelectedImage(image.id, image.series_id, image.study_id, image.patient_id, label, part))
    if not selected:
        reasons = " and ".join(f"{count} were left out ({reason})" for reason, count in sorted(left_out.items()))
        raise NothingToExport(
            f"The selection contains no images to export{': ' + reasons if reasons else ''}. Nothing was ordered."
        )
    return selected, dict(sorted(left_out.items()))


def _query_images(session: Session, project_id: str, selection: Selection) -> Iterable[Image]:
    if selection.search:
        attributes = settings_of(session, project_id).attributes
        images = dicom_search.search_images(session, [project_id], selection.search, extra_keywords=attributes)
        return sorted(
            images, key=lambda image: (image.patient_id, image.study_id, image.series_id, image.number, image.id)
        )
    query = select(Image).where(Image.project_id == project_id)
    if selection.kind in _ID_COLUMNS:
        query = query.where(_ID_COLUMNS[selection.kind].in_(selection.ids))
    return session.scalars(query.order_by(Image.patient_id, Image.study_id, Image.series_id, Image.number, Image.id))


def _load_signed_labels(session: Session, project_id: str) -> Mapping[str, tuple[str, str]]:
    """The label and the pathway of each image with a verdict in a signed case that is not superseded."""
    rows = session.execute(
        select(Verdict.image_id, Verdict.label, Case.pathway)
        .join(Case, Case.id == Verdict.case_id)
        .where(Case.project_id == project_id, Case.superseded.is_(False), Case.signed_at.is_not(None))
    )
    return {image_id: (label, pathway) for image_id, label, pathway in rows}
