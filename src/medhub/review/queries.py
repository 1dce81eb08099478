# SPDX-License-Identifier: Apache-2.0
"""Finding cases and images, with all that their lists show, in few questions to the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

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
from medhub.records.pathway import all_pathways
from medhub.review.models import Case, Verdict
from medhub.review.rules import waiting_roles


@dataclass(frozen=True)
class ImageFilter:
    """Which images are asked for."""

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
    """An image with what its lists show."""

    image: Image
    patient_code: str
    case: Case | None
    prediction: Prediction | None
    verdict: Verdict | None


def select_images(session: Session, actor: Actor, wanted: ImageFilter) -> Select[Image]:
    """The images that a filter lets through, of the actor's projects."""
    projects = actor.projects("image.read", wanted.project_id)
    known = quick_search.find_by_identifier(session, projects, wanted.query) if wanted.query else None
    chosen = select(Image)
    if wanted.query and known is None:
        chosen = chosen.where(
            quick_search.in_matching_study(session, projects, Image.study_id, Image.project_id, wanted.query)
        )
    else:
        place = {"patient_id": wanted.patient_id, "study_id": wanted.study_id, "series_id": wanted.series_id}
        if known is not None:
            place |= {"patient_id": known.patient_id}
            chosen = chosen.where(known.condition(Image.patient_id, Image.study_id, Image.series_id, Image.id))
        chosen = chosen.where(quick_search.in_projects(session, projects, Image.project_id, **place))
    if wanted.patient_id is not None:
        chosen = chosen.where(Image.patient_id == wanted.patient_id)
    if wanted.study_id is not None:
        chosen = chosen.where(Image.study_id == wanted.study_id)
    if wanted.series_id is not None:
        chosen = chosen.where(Image.series_id == wanted.series_id)
    if wanted.case_id is not None:
        # Only pictures are read in a case; segmentations, reports and plans lie beside them in its study.
        of_case = select(Case.study_id).where(Case.id == wanted.case_id)
        chosen = chosen.where(Image.study_id.in_(of_case), Image.shown_as == "image")
    if wanted.verified is not None:
        chosen = chosen.where(Image.verified == wanted.verified)
    if wanted.pathway is not None:
        chosen = chosen.where(Image.study_id.in_(select(Study.id).where(Study.pathway == wanted.pathway)))
    if wanted.label is not None:
        chosen = chosen.where(_said(session, projects, Prediction.label == wanted.label))
    if wanted.uncertain is not None:
        chosen = chosen.where(_said(session, projects, Prediction.uncertain == wanted.uncertain))
    return chosen


def _said(session: Session, projects: Collection[str], what: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition that a classifier said something of an image."""
    of = select(Prediction.image_id).where(Prediction.project_id.in_(projects), what)
    if session.get_bind().dialect.name == "sqlite":
        return Image.id.in_(of)
    # PostgreSQL would join all that was said with all images and sort them. What stands within a comparison it looks
    # up, image by image in the order that is asked for, until the page is full.
    return of.where(Prediction.image_id == Image.id).correlate(Image).exists().is_(True)


def count_images(session: Session, actor: Actor, wanted: ImageFilter) -> int:
    """How many images a filter lets through."""
    return pagination.count_rows(session, select_images(session, actor, wanted))


def list_images(
    session: Session,
    actor: Actor,
    wanted: ImageFilter,
    *,
    sort: str | None,
    offset: int,
    limit: int,
    known_total: int | None = None,
) -> tuple[list[ImageFacts], int]:
    """A page of images; unless sorted otherwise the oldest first, as a reading queue goes."""
    confidence = (
        select(func.max(Prediction.confidence))
        .where(Prediction.image_id == Image.id)
        .correlate(Image)
        .scalar_subquery()
    )
    columns = {"created_at": Image.created_at, "confidence": confidence, "number": Image.number}
    chosen = select_images(session, actor, wanted)
    said = _said_alone(actor, wanted)
    if said is not None and sort in {None, "created_at", "-created_at"}:
        page = _page_by_what_was_said(session, said, sort == "-created_at", offset, limit, known_total)
        if page is not None:
            return page
    # What is equal goes on in the same direction, as the index does.
    ties = (Image.number, Image.id) if sort != "-created_at" else (Image.number.desc(), Image.id.desc())
    order = (sort_clause(sort, columns, "created_at"), *ties)
    # The ids alone first: what lies before the page is stepped over in an index, without its rows.
    ids, total = pagination.read_page(
        session,
        chosen.with_only_columns(Image.id),
        order,
        offset=offset,
        limit=limit,
        known=known_total,
        count_statement=_count(said) if said is not None else None,
    )
    on_page = select(Image).where(pagination.in_ids(session, Image.id, ids))
    by_id = {facts.image.id: facts for facts in _read_facts(session, on_page)}
    return [by_id[one] for one in ids], total


def _said_alone(actor: Actor, wanted: ImageFilter) -> Select[str] | None:
    """The images that a label or "uncertain" alone lets through, as predictions tell without the images."""
    said = {"label": wanted.label, "uncertain": wanted.uncertain}
    given = {name: value for name, value in said.items() if value is not None}
    if len(given) != 1 or replace(wanted, label=None, uncertain=None, project_id=None) != ImageFilter():
        return None
    ((name, value),) = given.items()
    projects = actor.projects("image.read", wanted.project_id)
    chosen = select(Prediction.image_id).where(Prediction.project_id.in_(projects), getattr(Prediction, name) == value)
    return chosen.group_by(Prediction.imaged_at, Prediction.image_id)  # several classifiers may have said the same


def _count(chosen: Select[str]) -> Select[int]:
    return select(func.count()).select_from(chosen.subquery())


def _page_by_what_was_said(
    session: Session, chosen: Select[str], descending: bool, offset: int, limit: int, known: int | None
) -> tuple[list[ImageFacts], int] | None:
    """A page in the order of predictions' index; None where images of one moment would need their numbers for it."""
    before = min(offset, 1)  # neighbors of the page too may be of a moment with it
    order = (Prediction.imaged_at, Prediction.image_id)
    ids, total = pagination.read_page(
        session,
        chosen,
        [one.desc() if descending else one.asc() for one in order],
        offset=offset - before,
        limit=before + limit + 1,
        known=known,
        count_statement=_count(chosen),
    )
    on_page = select(Image).where(pagination.in_ids(session, Image.id, ids))
    by_id = {facts.image.id: facts for facts in _read_facts(session, on_page)}
    found = [by_id[one] for one in ids]
    moments = [facts.image.created_at for facts in found]
    if len(set(moments)) < len(moments):
        return None
    return found[before : before + limit], total


def facts_of(session: Session, images: Sequence[Image], case: Case | None = None) -> list[ImageFacts]:
    """Images with their patients' codes, cases, predictions and verdicts; of one case, or of the current ones."""
    chosen = select(Image).where(pagination.in_ids(session, Image.id, [image.id for image in images]))
    by_id = {facts.image.id: facts for facts in _read_facts(session, chosen, case)}
    return [by_id[image.id] for image in images]


def _read_facts(session: Session, chosen: Select[Image], case: Case | None = None) -> list[ImageFacts]:
    """What lists show of images, each kind by a look at its index: joined, PostgreSQL would read whole tables."""
    code = select(Patient.code).where(Patient.id == Image.patient_id).correlate(Image).scalar_subquery()
    rows = session.execute(chosen.add_columns(code)).all()
    ids = [image.id for image, _ in rows]
    of_case = (
        Case.superseded.is_(False) & pagination.in_ids(session, Case.study_id, {image.study_id for image, _ in rows})
        if case is None
        else Case.id == case.id
    )
    given = (Verdict.case_id == Case.id) & pagination.in_ids(session, Verdict.image_id, ids)
    cases: dict[str, Case] = {}
    verdicts: dict[tuple[str, str], Verdict] = {}
    for of, verdict in session.execute(select(Case, Verdict).outerjoin(Verdict, given).where(of_case)):
        cases[of.study_id] = of
        if verdict is not None:
            verdicts[of.id, verdict.image_id] = verdict
    predictions = classification.latest(session, ids)
    found = []
    for image, patient_code in rows:
        current = cases.get(image.study_id)
        of_image = verdicts.get((current.id, image.id)) if current is not None else None
        found.append(ImageFacts(image, patient_code, current, predictions.get(image.id), of_image))
    return found


@dataclass(frozen=True)
class CaseFilter:
    """Which cases are asked for."""

    project_id: str | None = None
    stage: str | None = None
    pathway: str | None = None
    patient_id: str | None = None
    mine: bool | None = None
    query: str | None = None


@dataclass(frozen=True)
class CaseFacts:
    """A case with what its lists show."""

    case: Case
    patient: Patient
    images: int
    waiting: int
    verified: int
    uncertain: int
    superseded_by_id: str | None


def my_turn(settings: Settings, actor: Actor) -> Any:
    """The condition under which a case waits for the actor: the stage leads on by an act of the actor's role."""
    turns = []
    for pathway in all_pathways(settings).values():
        for stage in pathway.stages:
            roles = waiting_roles(pathway, stage.name)
            projects = [project for project, role in actor.roles.items() if role in roles]
            if projects:
                turns.append(
                    (Case.pathway == pathway.name) & (Case.stage == stage.name) & Case.project_id.in_(projects)
                )
    condition: Any = Case.id.is_(None)
    for turn in turns:
        condition = condition | turn
    return condition & Case.superseded.is_(False)


def select_cases(settings: Settings, actor: Actor, wanted: CaseFilter) -> Select[Case]:
    """The cases that a filter lets through, of the actor's projects."""
    chosen = select(Case).where(Case.project_id.in_(actor.projects("case.read", wanted.project_id)))
    if wanted.stage is not None:
        chosen = chosen.where(Case.stage == wanted.stage)
    if wanted.pathway is not None:
        chosen = chosen.where(Case.pathway == wanted.pathway)
    if wanted.patient_id is not None:
        chosen = chosen.where(Case.patient_id == wanted.patient_id)
    if wanted.mine is not None:
        chosen = chosen.where(my_turn(settings, actor) if wanted.mine else ~my_turn(settings, actor))
    if wanted.query:
        matching = select(Patient.id).where(func.lower(Patient.code).contains(wanted.query.lower(), autoescape=True))
        chosen = chosen.where(Case.patient_id.in_(matching) | (Case.id == wanted.query))
    return chosen


def list_cases(
    session: Session,
    settings: Settings,
    actor: Actor,
    wanted: CaseFilter,
    *,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[CaseFacts], int]:
    """A page of cases; unless sorted otherwise the latest opened first."""
    chosen = select_cases(settings, actor, wanted)
    columns = {"opened_at": Case.opened_at, "signed_at": Case.signed_at, "stage": Case.stage, "version": Case.version}
    page = chosen.order_by(sort_clause(sort, columns, "-opened_at"), Case.id).offset(offset).limit(limit)
    found = list(session.scalars(page))
    total = pagination.total_rows(session, chosen, offset=offset, limit=limit, page_rows=len(found))
    return case_facts(session, found), total


def case_facts(session: Session, cases: Sequence[Case]) -> list[CaseFacts]:
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
    """How many images came in on each of the last days, without gaps."""
    today = clock.now().date()
    first = clock.now() - timedelta(days=days)
    per_day: dict[str, int] = {(today - timedelta(days=back)).isoformat(): 0 for back in reversed(range(days))}
    # Grouped by hand: the two databases have no common word for the day of a moment.
    for moment in session.scalars(
        select(Image.created_at).where(Image.project_id.in_(project_ids), Image.created_at >= first)
    ):
        day = moment.date().isoformat()
        if day in per_day:
            per_day[day] += 1
    return list(per_day.items())
