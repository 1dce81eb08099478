# SPDX-License-Identifier: Apache-2.0
"""Routes of images under review, cases, pathways and the dashboard."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.classification import service as classification
from medhub.classification.registry import label_display_names
from medhub.foundation.http import Id, Page, Paging, Text
from medhub.ingest import service as ingest
from medhub.records import service as records
from medhub.records import studies
from medhub.records.models import Image, Patient
from medhub.records.pathway import Pathway, all_pathways, get_pathway
from medhub.review import queries, rules, service
from medhub.review.models import Case
from medhub.review.queries import CaseFilter, ImageFilter
from medhub.review.schemas import (
    Allowed,
    CaseOut,
    CaseRow,
    CorrectIn,
    Count,
    Dashboard,
    DayCount,
    EventOut,
    ImageChange,
    ImageOut,
    ImageRow,
    LabelCount,
    PathwayOut,
    PatientSummary,
    SignCaseRequest,
    VerdictIn,
    case_fields,
)

images = APIRouter(prefix="/api/images", tags=["images"])
cases = APIRouter(prefix="/api/cases", tags=["cases"])
overview = APIRouter(prefix="/api", tags=["overview"])

FilterText = Annotated[Text | None, Query(max_length=200)]


async def image_filter(
    project_id: Annotated[Id | None, Query()] = None,
    patient_id: Annotated[Id | None, Query()] = None,
    study_id: Annotated[Id | None, Query()] = None,
    series_id: Annotated[Id | None, Query()] = None,
    case_id: Annotated[Id | None, Query()] = None,
    verified: bool | None = None,
    label: FilterText = None,
    uncertain: bool | None = None,
    pathway: FilterText = None,
    query: FilterText = None,
) -> ImageFilter:
    """Which images are asked for; a coroutine, since FastAPI sends plain functions to another thread."""
    return ImageFilter(
        project_id, patient_id, study_id, case_id, verified, label, uncertain, pathway, query or None, series_id
    )


Wanted = Annotated[ImageFilter, Depends(image_filter)]


@images.get("", summary="Images")
def list_images(call: Annotated[Call, allow("image.read")], paging: Paging, wanted: Wanted) -> Page[ImageRow]:
    """Images, the oldest first unless sorted otherwise, as a reading queue goes."""
    with call.reading() as session:
        found, total = queries.list_images(
            session,
            call.actor,
            wanted,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
            known_total=paging.known_total,
        )
        call.actor.record(
            session, "image.list", "patient", wanted.patient_id, patient_id=wanted.patient_id, found=total
        )
        return paging.of([ImageRow.of(facts) for facts in found], total)


@images.get("/count", summary="How many images")
def count_images(call: Annotated[Call, allow("image.read")], wanted: Wanted) -> Count:
    """How many images a filter lets through."""
    with call.reading() as session:
        return Count(count=queries.count_images(session, call.actor, wanted))


def _image_out(session: Session, call: Call, image: Image) -> ImageOut:
    facts = queries.facts_of(session, [image])[0]
    pathway = get_pathway(call.app.settings, facts.case.pathway) if facts.case is not None else None
    return ImageOut.whole(
        facts,
        classification.predictions_of(session, image.id),
        service.history_of_image(session, image.id),
        pathway,
        _display_names(call, pathway),
    )


@images.get("/{id}", summary="One image")
def read_image(call: Annotated[Call, allow("image.read")], id: ItemId) -> ImageOut:
    """An image with its predictions, its verdict and its history."""
    with call.reading() as session:
        image = studies.get_image(session, call.actor, id)
        studies.record_image(session, call.actor, "image.read", image)
        return _image_out(session, call, image)


@images.patch("/{id}", summary="Move an image within its study")
def change_image(call: Annotated[Call, allow("study.change")], id: ItemId, given: ImageChange) -> ImageOut:
    """Give an image another place in its study."""
    with call.writing() as session:
        return _image_out(session, call, studies.change_image(session, call.actor, id, given.number))


@images.delete("/{id}", status_code=204, summary="Delete an image")
def delete_image(call: Annotated[Call, allow("image.delete")], id: ItemId) -> None:
    """Delete an image and all that was made from it, unless it belongs to a signed case."""
    with call.writing() as session:
        studies.delete_image(session, call.actor, id)


@images.put("/{id}/verdict", summary="Give a verdict")
def put_verdict(call: Annotated[Call, allow("verdict.give")], id: ItemId, given: VerdictIn) -> ImageOut:
    """Say what the image shows; a note is needed where the classifier was uncertain."""
    with call.writing() as session:
        image = service.give_verdict(session, call.app.settings, call.actor, id, given.label, given.note)
        session.flush()
        return _image_out(session, call, image)


@images.delete("/{id}/verdict", summary="Take a verdict back")
def delete_verdict(call: Annotated[Call, allow("verdict.give")], id: ItemId) -> ImageOut:
    """Take back one's own verdict, as long as the case is not signed."""
    with call.writing() as session:
        image = service.take_back_verdict(session, call.app.settings, call.actor, id)
        session.flush()
        return _image_out(session, call, image)


def _display_names(call: Call, pathway: Pathway | None) -> dict[str, str]:
    return label_display_names(call.app.settings, pathway.classifier, pathway.labels) if pathway is not None else {}


def _is_mine(call: Call, case: Case, pathway: Pathway) -> bool:
    return not case.superseded and call.actor.roles.get(case.project_id) in rules.waiting_roles(pathway, case.stage)


def case_out(session: Session, call: Call, case: Case) -> CaseOut:
    """A case with its images, its history, and what the asker may do."""
    pathway = get_pathway(call.app.settings, case.pathway)
    facts = queries.case_facts(session, [case])[0]
    pictures = select(Image).where(Image.study_id == case.study_id, Image.shown_as == "image")
    chosen = pictures.order_by(Image.number, Image.id)
    shown = queries.facts_of(session, list(session.scalars(chosen)), case)
    role = call.actor.roles.get(case.project_id)
    acts = {act.act: act for act in pathway.stage(case.stage).acts if role in act.roles and not case.superseded}
    missing = rules.blockers(
        pathway.act(case.stage, "sign"), images=facts.images, waiting=facts.waiting, verified=facts.verified
    )
    return CaseOut(
        **case_fields(facts, call.actor.project_names.get(case.project_id, ""), pathway, _is_mine(call, case, pathway)),
        images_list=[ImageRow.of(one) for one in shown],
        labels=list(pathway.labels),
        display_names=_display_names(call, pathway),
        threshold=pathway.threshold,
        limit=pathway.limit,
        sign_note=case.sign_note,
        history=[EventOut.of(event) for event in service.history(session, case)],
        allowed=Allowed(verdict="verdict" in acts, sign="sign" in acts and not missing, correct="correct" in acts),
        blockers=missing,
    )


@cases.get("", summary="Cases")
def list_cases(
    call: Annotated[Call, allow("case.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    stage: FilterText = None,
    pathway: FilterText = None,
    patient_id: Annotated[Id | None, Query()] = None,
    mine: Annotated[bool | None, Query(description="Only those that wait for the asker, or only the others.")] = None,
) -> Page[CaseRow]:
    """Cases, the latest opened first unless sorted otherwise."""
    wanted = CaseFilter(project_id, stage, pathway, patient_id, mine, paging.query)
    settings = call.app.settings
    with call.reading() as session:
        found, total = queries.list_cases(
            session, settings, call.actor, wanted, sort=paging.sort, offset=paging.offset, limit=paging.page_size
        )
        call.actor.record(session, "case.list", "patient", patient_id, patient_id=patient_id, found=total)
        rows = []
        for facts in found:
            way = get_pathway(settings, facts.case.pathway)
            project = call.actor.project_names.get(facts.case.project_id, "")
            rows.append(CaseRow.of(facts, project, way, _is_mine(call, facts.case, way)))
        return paging.of(rows, total)


@cases.get("/{id}", summary="One case")
def read_case(call: Annotated[Call, allow("case.read")], id: ItemId) -> CaseOut:
    """A case with its images, its history, and what stands in the way of signing."""
    with call.reading() as session:
        case = service.get_case(session, call.actor, id)
        service.record_case(session, call.actor, "case.read", case)
        return case_out(session, call, case)


@cases.post("/{id}/sign", summary="Sign a case")
def sign_case(call: Annotated[Call, allow("case.sign")], id: ItemId, given: SignCaseRequest | None = None) -> CaseOut:
    """Sign a case whose images all have verdicts; from then on it does not change."""
    with call.writing() as session:
        case = service.sign(session, call.app.settings, call.actor, id, given.note if given is not None else None)
        session.flush()
        return case_out(session, call, case)


@cases.post("/{id}/correct", status_code=201, summary="Correct a signed case")
def correct_case(call: Annotated[Call, allow("case.correct")], id: ItemId, given: CorrectIn) -> CaseOut:
    """Open a new version of a signed case; the old one stays as it is and is named by the new one."""
    with call.writing() as session:
        case = service.correct(session, call.app.settings, call.actor, id, given.reason)
        session.flush()
        return case_out(session, call, case)


@overview.get("/pathways", summary="Pathways")
def list_pathways(call: Annotated[Call, allow("pathway.read")]) -> list[PathwayOut]:
    """The pathways of this installation, as their files say."""
    return [
        PathwayOut.of(pathway, _display_names(call, pathway)) for pathway in all_pathways(call.app.settings).values()
    ]


@overview.get("/patients/{id}/summary", tags=["patients"], summary="How much hangs on a patient")
def patient_summary(call: Annotated[Call, allow("patient.read")], id: ItemId) -> PatientSummary:
    """How many images and cases a patient has, and how many are not done."""
    with call.reading() as session:
        patient = records.get_patient(session, call.actor, id)
        call.actor.record(
            session, "patient.read", "patient", patient.id, project_id=patient.project_id, patient_id=patient.id
        )
        counts = records.count_patient_contents(session, [id]).get(id, records.PatientCounts())
        total, unsigned = session.execute(
            select(func.count(), func.count().filter(Case.signed_at.is_(None))).where(Case.patient_id == id)
        ).one()
        return PatientSummary(
            patient_id=id,
            code=patient.code,
            project_id=patient.project_id,
            images=counts.images,
            unverified=counts.unverified,
            cases=total,
            open_cases=unsigned,
            last_upload_at=records.last_upload_at(session, id),
        )


@overview.get("/dashboard", summary="What a person sees first")
def dashboard(
    call: Annotated[Call, allow("dashboard.read")], project_id: Annotated[Id | None, Query()] = None
) -> Dashboard:
    """Counts, the uploads of the last 30 days and what the classifiers said."""
    projects = call.actor.projects("dashboard.read", project_id)
    with call.reading() as session:
        current = (
            select(func.count()).select_from(Case).where(Case.project_id.in_(projects), Case.superseded.is_(False))
        )
        signed = session.scalar(current.where(Case.signed_at.is_not(None))) or 0
        return Dashboard(
            patients=session.scalar(select(func.count()).select_from(Patient).where(Patient.project_id.in_(projects)))
            or 0,
            images=queries.count_images(session, call.actor, ImageFilter(project_id=project_id)),
            unverified=queries.count_images(session, call.actor, ImageFilter(project_id=project_id, verified=False)),
            cases_waiting_for_me=session.scalar(current.where(queries.my_turn(call.app.settings, call.actor))) or 0,
            cases_open=session.scalar(current.where(Case.signed_at.is_(None))) or 0,
            cases_signed=signed,
            reports=signed,
            quarantined=ingest.count_quarantined(session, projects),
            uploads=[DayCount(date=day, count=n) for day, n in queries.uploads_by_day(session, projects)],
            labels=[LabelCount(label=label, count=n) for label, n in classification.label_counts(session, projects)],
        )
