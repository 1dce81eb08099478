# SPDX-License-Identifier: Apache-2.0
"""Lists of cases and images with everything that they show, in few queries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.classification import service as classification
from medhub.classification.models import Prediction
from medhub.foundation import clock, pagination
from medhub.foundation.settings import Settings
from medhub.foundation.sorting import sort_clause
from medhub.records import quick_search
from medhub.records.models import Image, Patient, Study
from medhub.review.case_conditions import awaits_actor, waits_for_signature
from medhub.review.models import Case, Verdict


@dataclass(frozen=True)
class ImageFilter:
    """Conditions of a list of images."""

    project_id: str | None = None
    patient_id: str | None = None
    study_id: str | None = None
    case_id: str | None = None
    verified: bool | None = None
    label: str | None = None
    uncertain: bool | None = None
    pathway: str | None = None
    query: str | None = None
    series_id: str | None = None


@dataclass(frozen=True)
class ImageFacts:
    """An image with the values that lists show."""

    image: Image
    patient_code: str
    case: Case | None
    prediction: Prediction | None
    verdict: Verdict | None


def select_images(session: Session, actor: Actor, filters: ImageFilter) -> Select[Image]:
    """The images in the actor's projects that match a filter."""
    projects = actor.projects("image.read", filters.project_id)
    known = quick_search.find_by_identifier(session, projects, filters.query) if filters.query else None
    query = select(Image)
    if filters.query and known is None:
        query = query.where(
            quick_search.in_matching_study(session, projects, Image.study_id, Image.project_id, filters.query)
        )
    else:
        parents = {"patient_id": filters.patient_id, "study_id": filters.study_id, "series_id": filters.series_id}
        if known is not None:
            parents |= {"patient_id": known.patient_id}
            query = query.where(known.condition(Image.patient_id, Image.study_id, Image.series_id, Image.id))
        query = query.where(quick_search.in_projects(session, projects, Image.project_id, **parents))
    if filters.patient_id is not None:
        query = query.where(Image.patient_id == filters.patient_id)
    if filters.study_id is not None:
        query = query.where(Image.study_id == filters.study_id)
    if filters.series_id is not None:
        query = query.where(Image.series_id == filters.series_id)
    if filters.case_id is not None:
        # A case reviews pictures only, not the segmentations, reports and plans of its study.
        of_case = select(Case.study_id).where(Case.id == filters.case_id)
        query = query.where(Image.study_id.in_(of_case), Image.shown_as == "image")
    if filters.verified is not None:
        query = query.where(Image.verified == filters.verified)
    if filters.pathway is not None:
        query = query.where(Image.study_id.in_(select(Study.id).where(Study.pathway == filters.pathway)))
    if filters.label is not None:
        query = query.where(_has_prediction(session, projects, Prediction.label == filters.label))
    if filters.uncertain is not None:
        query = query.where(_has_prediction(session, projects, Prediction.uncertain == filters.uncertain))
    return query


def _has_prediction(session: Session, projects: Collection[str], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition that an image has a prediction that meets a condition."""
    image_ids = select(Prediction.image_id).where(Prediction.project_id.in_(projects), condition)
    if session.get_bind().dialect.name == "sqlite":
        return Image.id.in_(image_ids)
    # PostgreSQL would join all predictions with all images and sort them. With a comparison it evaluates the condition
    # image by image in the requested order until the page is full.
    return image_ids.where(Prediction.image_id == Image.id).correlate(Image).exists().is_(True)


def count_images(session: Session, actor: Actor, filters: ImageFilter) -> int:
    """The number of images that match a filter."""
    return pagination.count_rows(session, select_images(session, actor, filters))


def list_images(
    session: Session,
    actor: Actor,
    filters: ImageFilter,
    *,
    sort: str | None,
    offset: int,
    limit: int,
    known_total: int | None = None,
) -> tuple[list[ImageFacts], int]:
    """A page of images; by default the oldest first, as in a reading queue."""
    confidence = (
        select(func.max(Prediction.confidence))
        .where(Prediction.image_id == Image.id)
        .correlate(Image)
        .scalar_subquery()
    )
    columns = {"created_at": Image.created_at, "confidence": confidence, "number": Image.number}
    query = select_images(session, actor, filters)
    predictions = _query_predictions(actor, filters)
    if predictions is not None and sort in {None, "created_at", "-created_at"}:
        page = _page_by_prediction(session, predictions, sort == "-created_at", offset, limit, known_total)
        if page is not None:
            return page
    # Ties have the same direction as the index.
    ties = (Image.number, Image.id) if sort != "-created_at" else (Image.number.desc(), Image.id.desc())
    order = (sort_clause(sort, columns, "created_at"), *ties)
    # The ids first: the index alone skips the rows before the page.
    ids, total = pagination.read_page(
        session,
        query.with_only_columns(Image.id),
        order,
        offset=offset,
        limit=limit,
        known=known_total,
        count_statement=_count_rows(predictions) if predictions is not None else None,
    )
    on_page = select(Image).where(pagination.in_ids(session, Image.id, ids))
    by_id = {facts.image.id: facts for facts in load_facts(session, on_page)}
    return [by_id[image_id] for image_id in ids], total


def _query_predictions(actor: Actor, filters: ImageFilter) -> Select[str] | None:
    """The ids of images by a label or by "uncertain", if no other condition needs the images themselves."""
    conditions = {"label": filters.label, "uncertain": filters.uncertain}
    used = {name: value for name, value in conditions.items() if value is not None}
    if len(used) != 1 or replace(filters, label=None, uncertain=None, project_id=None) != ImageFilter():
        return None
    ((name, value),) = used.items()
    projects = actor.projects("image.read", filters.project_id)
    query = select(Prediction.image_id).where(Prediction.project_id.in_(projects), getattr(Prediction, name) == value)
    return query.group_by(Prediction.imaged_at, Prediction.image_id)  # several classifiers may agree


def _count_rows(query: Select[str]) -> Select[int]:
    return select(func.count()).select_from(query.subquery())


def _page_by_prediction(
    session: Session, query: Select[str], descending: bool, offset: int, limit: int, known: int | None
) -> tuple[list[ImageFacts], int] | None:
    """A page in the order of the index of predictions; None if images with equal times need their numbers to sort."""
    before = min(offset, 1)  # the neighbors of the page may have equal times too
    order = (Prediction.imaged_at, Prediction.image_id)
    ids, total = pagination.read_page(
        session,
        query,
        [column.desc() if descending else column.asc() for column in order],
        offset=offset - before,
        limit=before + limit + 1,
        known=known,
        count_statement=_count_rows(query),
    )
    on_page = select(Image).where(pagination.in_ids(session, Image.id, ids))
    by_id = {facts.image.id: facts for facts in load_facts(session, on_page)}
    rows = [by_id[image_id] for image_id in ids]
    times = [facts.image.created_at for facts in rows]
    if len(set(times)) < len(times):
        return None
    return rows[before : before + limit], total


def load_image_facts(session: Session, images: Sequence[Image], case: Case | None = None) -> list[ImageFacts]:
    """Images with patient code, case, prediction and verdict; of a given case, or of the current cases."""
    query = select(Image).where(pagination.in_ids(session, Image.id, [image.id for image in images]))
    by_id = {facts.image.id: facts for facts in load_facts(session, query, case)}
    return [by_id[image.id] for image in images]


def load_facts(session: Session, query: Select[Image], case: Case | None = None) -> list[ImageFacts]:
    """The values that lists show, each table by its index: for a join PostgreSQL would read complete tables."""
    code = select(Patient.code).where(Patient.id == Image.patient_id).correlate(Image).scalar_subquery()
    rows = session.execute(query.add_columns(code)).all()
    ids = [image.id for image, _ in rows]
    of_case = (
        Case.superseded.is_(False) & pagination.in_ids(session, Case.study_id, {image.study_id for image, _ in rows})
        if case is None
        else Case.id == case.id
    )
    of_images = (Verdict.case_id == Case.id) & pagination.in_ids(session, Verdict.image_id, ids)
    cases: dict[str, Case] = {}
    verdicts: dict[tuple[str, str], Verdict] = {}
    for image_case, verdict in session.execute(select(Case, Verdict).outerjoin(Verdict, of_images).where(of_case)):
        cases[image_case.study_id] = image_case
        if verdict is not None:
            verdicts[image_case.id, verdict.image_id] = verdict
    predictions = classification.latest(session, ids)
    facts = []
    for image, patient_code in rows:
        current = cases.get(image.study_id)
        of_image = verdicts.get((current.id, image.id)) if current is not None else None
        facts.append(ImageFacts(image, patient_code, current, predictions.get(image.id), of_image))
    return facts


def load_case_images(session: Session, case: Case) -> list[ImageFacts]:
    """The pictures of a case, in their order in the study."""
    pictures = select(Image).where(Image.study_id == case.study_id, Image.shown_as == "image")
    return load_image_facts(session, list(session.scalars(pictures.order_by(Image.number, Image.id))), case)


@dataclass(frozen=True)
class CaseFilter:
    """Conditions of a list of cases."""

    project_id: str | None = None
    stage: str | None = None
    pathway: str | None = None
    patient_id: str | None = None
    mine: bool | None = None
    query: str | None = None
    ready: bool | None = None


@dataclass(frozen=True)
class CaseFacts:
    """A case with the values that lists show."""

    case: Case
    patient: Patient
    images: int
    waiting: int
    verified: int
    uncertain: int
    superseded_by_id: str | None


def select_cases(settings: Settings, actor: Actor, filters: CaseFilter) -> Select[Case]:
    """The cases in the actor's projects that match a filter."""
    query = select(Case).where(Case.project_id.in_(actor.projects("case.read", filters.project_id)))
    if filters.stage is not None:
        query = query.where(Case.stage == filters.stage)
    if filters.pathway is not None:
        query = query.where(Case.pathway == filters.pathway)
    if filters.patient_id is not None:
        query = query.where(Case.patient_id == filters.patient_id)
    if filters.mine is not None:
        query = query.where(awaits_actor(settings, actor) if filters.mine else ~awaits_actor(settings, actor))
    if filters.ready is not None:
        query = query.where(waits_for_signature(settings) if filters.ready else ~waits_for_signature(settings))
    if filters.query:
        matching = select(Patient.id).where(func.lower(Patient.code).contains(filters.query.lower(), autoescape=True))
        query = query.where(Case.patient_id.in_(matching) | (Case.id == filters.query))
    return query


def list_cases(
    session: Session,
    settings: Settings,
    actor: Actor,
    filters: CaseFilter,
    *,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[CaseFacts], int]:
    """A page of cases; by default the most recently opened first."""
    query = select_cases(settings, actor, filters)
    columns = {"opened_at": Case.opened_at, "signed_at": Case.signed_at, "stage": Case.stage, "version": Case.version}
    page = query.order_by(sort_clause(sort, columns, "-opened_at"), Case.id).offset(offset).limit(limit)
    cases = list(session.scalars(page))
    total = pagination.total_rows(session, query, offset=offset, limit=limit, page_rows=len(cases))
    return load_case_facts(session, cases), total


def load_case_facts(session: Session, cases: Sequence[Case]) -> list[CaseFacts]:
    """Cases with their patients and counts."""
    study_ids = {case.study_id for case in cases}
    case_ids = [case.id for case in cases]
    patients = {
        patient.id: patient
        for patient in session.scalars(select(Patient).where(Patient.id.in_({case.patient_id for case in cases})))
    }
    image_rows = session.execute(
        select(Image.study_id, func.count(), func.count().filter(Image.state == "waiting"))
        .where(Image.study_id.in_(study_ids), Image.shown_as == "image")
        .group_by(Image.study_id)
    )
    images = {study_id: (total, waiting) for study_id, total, waiting in image_rows}
    uncertain = dict(
        session.execute(
            select(Image.study_id, func.count(func.distinct(Image.id)))
            .join(Prediction, Prediction.image_id == Image.id)
            .where(Image.study_id.in_(study_ids), Prediction.uncertain)
            .group_by(Image.study_id)
        ).all()
    )
    verified = dict(
        session.execute(
            select(Verdict.case_id, func.count()).where(Verdict.case_id.in_(case_ids)).group_by(Verdict.case_id)
        ).all()
    )
    successors = dict(
        session.execute(select(Case.supersedes_id, Case.id).where(Case.supersedes_id.in_(case_ids))).all()
    )
    return [
        CaseFacts(
            case,
            patients[case.patient_id],
            *images.get(case.study_id, (0, 0)),
            verified=verified.get(case.id, 0),
            uncertain=uncertain.get(case.study_id, 0),
            superseded_by_id=successors.get(case.id),
        )
        for case in cases
    ]


def uploads_by_day(session: Session, project_ids: frozenset[str], days: int = 30) -> list[tuple[str, int]]:
    """The number of images received on each of the last days, without gaps."""
    today = clock.now().date()
    first = clock.now() - timedelta(days=days)
    per_day: dict[str, int] = {(today - timedelta(days=back)).isoformat(): 0 for back in reversed(range(days))}
    # Grouped here: the two databases have no common function for the date of a timestamp.
    for received_at in session.scalars(
        select(Image.created_at).where(Image.project_id.in_(project_ids), Image.created_at >= first)
    ):
        day = received_at.date().isoformat()
        if day in per_day:
            per_day[day] += 1
    return list(per_day.items())


def count_patient_cases(session: Session, patient_id: str) -> tuple[int, int]:
    """The numbers of a patient's cases, and of those that are not signed."""
    total, unsigned = session.execute(
        select(func.count(), func.count().filter(Case.signed_at.is_(None))).where(Case.patient_id == patient_id)
    ).one()
    return total, unsigned


@dataclass(frozen=True)
class ReviewCounts:
    """The counts of the dashboard."""

    patients: int
    images: int
    unverified: int
    waiting_for_actor: int
    ready_to_sign: int
    open_cases: int
    signed_cases: int


def count_review_work(session: Session, settings: Settings, actor: Actor, project_id: str | None) -> ReviewCounts:
    """The counts of the dashboard, of a project or of all projects of the actor."""
    projects = actor.projects("dashboard.read", project_id)
    current = select(func.count()).select_from(Case).where(Case.project_id.in_(projects), Case.superseded.is_(False))
    patients = select(func.count()).select_from(Patient).where(Patient.project_id.in_(projects))
    return ReviewCounts(
        patients=session.scalar(patients) or 0,
        images=count_images(session, actor, ImageFilter(project_id=project_id)),
        unverified=count_images(session, actor, ImageFilter(project_id=project_id, verified=False)),
        waiting_for_actor=session.scalar(current.where(awaits_actor(settings, actor))) or 0,
        ready_to_sign=session.scalar(current.where(waits_for_signature(settings))) or 0,
        open_cases=session.scalar(current.where(Case.signed_at.is_(None))) or 0,
        signed_cases=session.scalar(current.where(Case.signed_at.is_not(None))) or 0,
    )
