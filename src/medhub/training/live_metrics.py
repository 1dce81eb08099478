# SPDX-License-Identifier: Apache-2.0
"""What stored predictions tell of classifiers: on the same images, over the weeks, and against what was signed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Select, select, union_all
from sqlalchemy.orm import Session, aliased

from medhub.classification.models import Prediction, ShadowPrediction
from medhub.foundation.settings import Settings
from medhub.records.models import Image, Study
from medhub.records.pathway import Pathway, get_pathway
from medhub.review.models import Case, Verdict
from medhub.training.drift import Drift, PredictionPoint, Step, measure, start_of
from medhub.training.models import DataSetRow, TrainingRun
from medhub.training.promotion_criteria import ClassifierAnswers, Pair


def _answers_of(digest: str) -> Any:
    """What a classifier said of images, shown or in the shadow."""
    columns = ("image_id", "label", "likeliest", "confidence", "uncertain", "novel", "created_at")
    parts: list[Select[Any]] = [
        select(*(getattr(table, name) for name in columns)).where(table.digest == digest)
        for table in (Prediction, ShadowPrediction)
    ]
    return aliased(union_all(*parts).subquery())


@dataclass(frozen=True)
class Signed:
    """What was signed of an image, and what two classifiers said of it."""

    image_id: str
    truth: str
    signed_at: datetime
    first: ClassifierAnswers
    second: ClassifierAnswers
    first_label: str
    second_label: str


def signed_images(
    session: Session,
    settings: Settings,
    first: str,
    second: str,
    *,
    pathway: str | None = None,
    projects: Collection[str] | None = None,
) -> list[Signed]:
    """The images with a signed verdict that both classifiers have read; none of what either learned from."""
    first_answers, second_answers = _answers_of(first), _answers_of(second)
    statement = (
        select(Verdict, Case, Image.patient_id, first_answers, second_answers)
        .join(Case, (Case.id == Verdict.case_id) & Case.superseded.is_(False) & Case.signed_at.is_not(None))
        .join(Image, Image.id == Verdict.image_id)
        .join(first_answers, first_answers.c.image_id == Verdict.image_id)
        .join(second_answers, second_answers.c.image_id == Verdict.image_id)
        .order_by(Case.signed_at, Verdict.image_id)
    )
    if pathway is not None:
        statement = statement.where(Case.pathway == pathway)
    if projects is not None:
        statement = statement.where(Case.project_id.in_(projects))
    learned_from = _training_patients(session, {first, second})
    not_counted: dict[str, Collection[str]] = {}
    signed: dict[str, Signed] = {}
    for row in session.execute(statement):
        verdict, case = row[0], row[1]
        if row[2] in learned_from or case.signed_at is None:
            continue
        if case.pathway not in not_counted:
            not_counted[case.pathway] = get_pathway(settings, case.pathway).not_counted
        if verdict.label in not_counted[case.pathway]:
            continue
        a, b = row[3:10], row[10:17]
        signed[verdict.image_id] = Signed(
            verdict.image_id,
            verdict.label,
            case.signed_at,
            ClassifierAnswers(a[2], a[3], a[4]),
            ClassifierAnswers(b[2], b[3], b[4]),
            a[1],
            b[1],
        )
    return list(signed.values())


def _training_patients(session: Session, digests: Collection[str]) -> set[str]:
    """The patients from whose images one of some classifiers was learned or tuned."""
    rows = session.scalars(
        select(DataSetRow.patient_id)
        .join(TrainingRun, TrainingRun.dataset_id == DataSetRow.dataset_id)
        .where(TrainingRun.digest.in_(digests), DataSetRow.part != "test", DataSetRow.patient_id.is_not(None))
        .distinct()
    )
    return {patient_id for patient_id in rows if patient_id is not None}


def pairs_of(signed: Collection[Signed]) -> list[Pair]:
    """The images as pairs of what two classifiers said."""
    return [Pair(image.truth, image.first, image.second) for image in signed]


@dataclass(frozen=True)
class Agreement:
    """In a week of signatures: how often each classifier said what was signed, and how often it abstained."""

    starts: date
    n: int
    in_use: float
    shadow: float
    in_use_uncertain: float
    shadow_uncertain: float


def weekly_agreement(signed: Collection[Signed]) -> list[Agreement]:
    """Agreement with the signed verdicts week by week; the first classifier is the one in the shadow."""
    weeks: dict[date, list[Signed]] = {}
    for image in signed:
        weeks.setdefault(start_of(image.signed_at, "week"), []).append(image)
    return [
        Agreement(
            starts=starts,
            n=len(week),
            in_use=sum(image.second_label == image.truth for image in week) / len(week),
            shadow=sum(image.first_label == image.truth for image in week) / len(week),
            in_use_uncertain=sum(image.second.uncertain for image in week) / len(week),
            shadow_uncertain=sum(image.first.uncertain for image in week) / len(week),
        )
        for starts, week in sorted(weeks.items())
    ]


def measure_drift(session: Session, pathway: Pathway, digest: str, projects: Collection[str], step: Step) -> Drift:
    """Hold what a classifier says of the images of a pathway against the first that it read."""
    rows = session.execute(
        select(Prediction.created_at, Prediction.label, Prediction.confidence, Prediction.uncertain, Prediction.novel)
        .join(Image, Image.id == Prediction.image_id)
        .join(Study, Study.id == Image.study_id)
        .where(Prediction.digest == digest, Study.pathway == pathway.name, Image.project_id.in_(projects))
        .order_by(Prediction.created_at, Prediction.id)
    )
    return measure([PredictionPoint(*row) for row in rows], step)


def images_for_shadow(session: Session, project_id: str, pathway: str, digest: str, most: int) -> list[str]:
    """The latest signed images of a pathway in a project that a classifier did not learn from, to measure it first."""
    rows = session.execute(
        select(Verdict.image_id, Image.patient_id)
        .join(Case, (Case.id == Verdict.case_id) & Case.superseded.is_(False) & Case.signed_at.is_not(None))
        .join(Image, (Image.id == Verdict.image_id) & (Image.state == "read"))
        .where(Case.project_id == project_id, Case.pathway == pathway)
        .order_by(Case.signed_at.desc(), Verdict.image_id)
    )
    learned = _training_patients(session, {digest})
    return [image_id for image_id, patient_id in rows if patient_id not in learned][:most]
