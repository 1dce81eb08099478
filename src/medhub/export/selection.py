# SPDX-License-Identifier: Apache-2.0
"""Which images an export holds, with what people signed of them, and in which part of a data set each patient is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.errors import Conflict, Invalid
from medhub.foundation.app_context import AppContext
from medhub.ingest.ingest_settings import settings_of
from medhub.records import dicom_search
from medhub.records.models import Image, Patient, Series, Study
from medhub.records.pathway import get_pathway
from medhub.review.models import Case, Verdict
from medhub.science.learning.patient_splits import Part, part_of_group

Kind = Literal["project", "patients", "studies", "series", "images", "search", "verdicts"]
Form = Literal["dicom", "training", "metadata"]
# Selections that name what they select, and the column by which.
_NAMED = {
    "patients": Image.patient_id,
    "studies": Image.study_id,
    "series": Image.series_id,
    "images": Image.id,
}


class NothingToExport(Conflict):
    """The selection holds no image."""

    code = "nothing-to-export"


@dataclass(frozen=True)
class Selection:
    """What of a project is to leave."""

    kind: Kind
    ids: tuple[str, ...] = ()
    pathway: str | None = None
    wanted: Mapping[str, str] | None = None  # of a search: DICOM keyword to value, as in C-FIND

    def check(self) -> None:
        """Refuse a selection that does not say what it selects."""
        if self.kind in _NAMED and not self.ids:
            raise Invalid(f"Choose the {self.kind} that are to leave.", field="ids")
        if self.kind in {"project", "search", "verdicts"} and self.ids:
            raise Invalid("Only a selection of patients, studies, series or images names them.", field="ids")
        if (self.kind == "search") != bool(self.wanted):
            raise Invalid("A search, and nothing else, says which attributes have which values.", field="wanted")
        if self.kind == "verdicts" and self.pathway is None:
            raise Invalid("Choose the pathway whose signed verdicts are to leave.", field="pathway")
        if self.kind != "verdicts" and self.pathway is not None:
            raise Invalid("Only a selection of signed verdicts names a pathway.", field="pathway")


@dataclass(frozen=True)
class SelectedImage:
    """An image that is to leave."""

    image_id: str
    series_id: str
    study_id: str
    patient_id: str
    label: str | None
    part: Part


def choose(
    session: Session, app: AppContext, project_id: str, selection: Selection, form: Form
) -> tuple[list[SelectedImage], dict[str, int]]:
    """The images of a selection in a settled order, and how many were left out for which reason."""
    selection.check()
    signed = _signed(session, project_id)
    key = app.keys.derive("splits")
    left_out: Counter[str] = Counter()
    chosen = []
    for image in _images(session, project_id, selection):
        label, pathway = signed.get(image.id) or (None, None)
        if selection.kind == "verdicts" and pathway != selection.pathway:
            continue
        if form == "training":
            reason = _not_for_training(app, image, label, pathway)
            if reason is not None:
                left_out[reason] += 1
                continue
        part = part_of_group(key, image.patient_id)
        chosen.append(SelectedImage(image.id, image.series_id, image.study_id, image.patient_id, label, part))
    if not chosen:
        why = " and ".join(f"{count} were left out ({reason})" for reason, count in sorted(left_out.items()))
        raise NothingToExport(f"There are no images to export here{': ' + why if why else ''}. Nothing was ordered.")
    return chosen, dict(sorted(left_out.items()))


def _images(session: Session, project_id: str, selection: Selection) -> Iterable[Image]:
    if selection.wanted:
        attributes = settings_of(session, project_id).attributes
        images = dicom_search.find_images(session, [project_id], selection.wanted, chosen=attributes)
        return sorted(images, key=lambda one: (one.patient_id, one.study_id, one.series_id, one.number, one.id))
    chosen = select(Image).where(Image.project_id == project_id)
    if selection.kind in _NAMED:
        chosen = chosen.where(_NAMED[selection.kind].in_(selection.ids))
    return session.scalars(chosen.order_by(Image.patient_id, Image.study_id, Image.series_id, Image.number, Image.id))


def _signed(session: Session, project_id: str) -> Mapping[str, tuple[str, str]]:
    """The label and the pathway of each image on which a signed case that still holds says something."""
    rows = session.execute(
        select(Verdict.image_id, Verdict.label, Case.pathway)
        .join(Case, Case.id == Verdict.case_id)
        .where(Case.project_id == project_id, Case.superseded.is_(False), Case.signed_at.is_not(None))
    )
    return {image_id: (label, pathway) for image_id, label, pathway in rows}


def _not_for_training(app: AppContext, image: Image, label: str | None, pathway: str | None) -> str | None:
    if label is None or pathway is None:
        return "without a signed verdict"
    if label in get_pathway(app.settings, pathway).not_counted:
        return "not counted"
    if image.shown_as != "image":
        return "no picture"
    return "unreadable" if image.state == "unreadable" else None


@dataclass(frozen=True)
class Facts:
    """All that an export may say of an image beside its file."""

    image: Image
    series: Series
    study: Study
    patient: Patient


def facts_of(session: Session, image_ids: Sequence[str]) -> dict[str, Facts]:
    """The facts of images that are still there."""
    found: dict[str, Facts] = {}
    for start in range(0, len(image_ids), 500):
        rows: Any = session.execute(
            select(Image, Series, Study, Patient)
            .join(Series, Series.id == Image.series_id)
            .join(Study, Study.id == Image.study_id)
            .join(Patient, Patient.id == Image.patient_id)
            .where(Image.id.in_(image_ids[start : start + 500]))
        )
        found |= {image.id: Facts(image, series, study, patient) for image, series, study, patient in rows}
    return found
