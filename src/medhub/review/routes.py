# SPDX-License-Identifier: Apache-2.0
"""Routes of images under review, cases, pathways and the dashboard."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.classification import service as classification
from medhub.classification.registry import label_display_names
from medhub.errors import Invalid
from medhub.foundation.etags import include_current_state
from medhub.foundation.http import Id, IfMatch, Page, Paging, Text
from medhub.ingest import service as ingest
from medhub.records import service as records
from medhub.records import studies
from medhub.records.models import Image
from medhub.records.pathway import Pathway, all_pathways, get_pathway
from medhub.review import image_cursor, queries, rules, service
from medhub.review.models import Case, case_etag
from medhub.review.overview_schemas import Dashboard, DayCount, LabelCount, PatientSummary
from medhub.review.queries import CaseFilter, ImageFilter
from medhub.review.schemas import (
    Allowed,
    CaseOut,
    CaseRow,
    CorrectIn,
    Count,
    EventOut,
    ImageChange,
    ImageOut,
    ImagePage,
    ImageRow,
    PathwayOut,
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
    """Conditions of a list of images; a coroutine, since FastAPI runs plain functions in another thread."""
    return ImageFilter(
        project_id, patient_id, study_id, case_id, verified, label, uncertain, pathway, query or None, series_id
    )


Filters = Annotated[ImageFilter, Depends(image_filter)]


@images.get("", summary="Images")
def list_images(
    call: Annotated[Call, allow("image.read")],
    paging: Paging,
    filters: Filters,
    cursor: Annotated[
        Text | None,
        Query(max_length=200, description="From `next_cursor`: the images after that page, whatever was read since."),
    ] = None,
) -> ImagePage:
    """Images, by default the oldest first, as in a reading queue."""
    by_time = paging.sort in {None, "created_at"}
    if cursor is not None and (not by_time or paging.page > 1):
        raise Invalid("A cursor is for the order by created_at, without a page.", field="cursor")
    with call.reading() as session:
        next_cursor = None
        if cursor is not None:
            total = queries.count_images(session, call.actor, filters)
            rows, next_cursor = image_cursor.read_images_after(
                session, call.actor, filters, cursor=cursor, limit=paging.page_size
            )
        else:
            rows, total = queries.list_images(
                session,
                call.actor,
                filters,
                sort=paging.sort,
                offset=paging.offset,
                limit=paging.page_size,
                known_total=paging.known_total,
            )
            if by_time and rows and total > paging.offset + len(rows):
                next_cursor = image_cursor.write_cursor(rows[-1].image)
        call.actor.record(
            session, "image.list", "patient", filters.patient_id, patient_id=filters.patient_id, found=total
        )
        return ImagePage(
            items=[ImageRow.of(facts) for facts in rows],
            total=total,
            page=paging.page,
            page_size=paging.page_size,
            next_cursor=next_cursor,
        )


@images.get("/count", summary="Number of images")
def count_images(call: Annotated[Call, allow("image.read")], filters: Filters) -> Count:
    """The number of images that match a filter."""
    with call.reading() as session:
        return Count(count=queries.count_images(session, call.actor, filters))


def _current_image(session: Session, call: Call, image_id: str) -> ImageOut:
    return _image_out(session, call, studies.get_image(session, call.actor, image_id))


def _image_out(session: Session, call: Call, image: Image) -> ImageOut:
    facts = queries.load_image_facts(session, [image])[0]
    pathway = get_pathway(call.app.settings, facts.case.pathway) if facts.case is not None else None
    return ImageOut.with_history(
        facts,
        classification.predictions_of(session, image.id),
        service.image_history(session, image.id),
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
def change_image(call: Annotated[Call, allow("study.change")], id: ItemId, body: ImageChange) -> ImageOut:
    """Change the position of an image in its study."""
    with call.writing() as session:
        return _image_out(session, call, studies.change_image(session, call.actor, id, body.number))


@images.delete("/{id}", status_code=204, summary="Delete an image")
def delete_image(call: Annotated[Call, allow("image.delete")], id: ItemId) -> None:
    """Delete an image with its predictions and renditions, unless it belongs to a signed case."""
    with call.writing() as session:
        studies.delete_image(session, call.actor, id)


@images.put("/{id}/verdict", summary="Give a verdict")
def put_verdict(
    call: Annotated[Call, allow("verdict.give")], id: ItemId, body: VerdictIn, if_match: IfMatch = None
) -> ImageOut:
    """Give a verdict on an image; a note is required if the classifier was uncertain."""
    with call.writing() as session, include_current_state(lambda: _current_image(session, call, id)):
        image = service.give_verdict(session, call.app.settings, call.actor, id, body.label, body.note, if_match)
        return _image_out(session, call, image)


@images.delete("/{id}/verdict", summary="Withdraw a verdict")
def delete_verdict(call: Annotated[Call, allow("verdict.give")], id: ItemId, if_match: IfMatch = None) -> ImageOut:
    """Withdraw one's own verdict while the case is not signed; the verdict before it applies again."""
    with call.writing() as session, include_current_state(lambda: _current_image(session, call, id)):
        image = service.withdraw_verdict(session, call.app.settings, call.actor, id, if_match)
        return _image_out(session, call, image)


def _display_names(call: Call, pathway: Pathway | None) -> dict[str, str]:
    return label_display_names(call.app.settings, pathway.classifier, pathway.labels) if pathway is not None else {}


def _is_mine(call: Call, case: Case, pathway: Pathway) -> bool:
    return not case.superseded and call.actor.roles.get(case.project_id) in rules.waiting_roles(pathway, case.stage)


def case_out(session: Session, call: Call, case: Case) -> CaseOut:
    """A case with its images, its history and the permitted acts."""
    pathway = get_pathway(call.app.settings, case.pathway)
    facts = queries.load_case_facts(session, [case])[0]
    image_facts = queries.load_case_images(session, case)
    role = call.actor.roles.get(case.project_id)
    acts = {act.act: act for act in pathway.stage(case.stage).acts if role in act.roles and not case.superseded}
    missing = rules.signing_blockers(
        pathway.act(case.stage, "sign"), images=facts.images, waiting=facts.waiting, verified=facts.verified
    )
    return CaseOut(
        **case_fields(facts, call.actor.project_names.get(case.project_id, ""), pathway, _is_mine(call, case, pathway)),
        images_list=[ImageRow.of(image) for image in image_facts],
        labels=list(pathway.labels),
        display_names=_display_names(call, pathway),
        threshold=pathway.threshold,
        limit=pathway.limit,
        sign_note=case.sign_note,
        etag=case_etag(case, [image.verdict for image in image_facts if image.verdict is not None]),
        history=[EventOut.of(event) for event in service.case_history(session, case)],
        allowed=Allowed(verdict="verdict" in acts, sign="sign" in acts and not missing, correct="correct" in acts),
        blockers=missing,
    )


def _current_case(session: Session, call: Call, case_id: str) -> CaseOut:
    return case_out(session, call, service.get_case(session, call.actor, case_id))


@cases.get("", summary="Cases")
def list_cases(
    call: Annotated[Call, allow("case.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    stage: FilterText = None,
    pathway: FilterText = None,
    patient_id: Annotated[Id | None, Query()] = None,
    mine: Annotated[bool | None, Query(description="Only cases that wait for the caller, or only the others.")] = None,
    ready: Annotated[bool | None, Query(description="Only cases that are ready to sign, or only the others.")] = None,
) -> Page[CaseRow]:
    """Cases, by default the most recently opened first."""
    filters = CaseFilter(project_id, stage, pathway, patient_id, mine, paging.query, ready)
    settings = call.app.settings
    with call.reading() as session:
        cases, total = queries.list_cases(
            session, settings, call.actor, filters, sort=paging.sort, offset=paging.offset, limit=paging.page_size
        )
        call.actor.record(session, "case.list", "patient", patient_id, patient_id=patient_id, found=total)
        rows = []
        for facts in cases:
            case_pathway = get_pathway(settings, facts.case.pathway)
            project = call.actor.project_names.get(facts.case.project_id, "")
            rows.append(CaseRow.of(facts, project, case_pathway, _is_mine(call, facts.case, case_pathway)))
        return paging.of(rows, total)


@cases.get("/{id}", summary="One case")
def read_case(call: Annotated[Call, allow("case.read")], id: ItemId) -> CaseOut:
    """A case with its images, its history, and the reasons why it cannot be signed yet."""
    with call.reading() as session:
        case = service.get_case(session, call.actor, id)
        service.record_case(session, call.actor, "case.read", case)
        return case_out(session, call, case)


@cases.post("/{id}/sign", summary="Sign a case")
def sign_case(
    call: Annotated[Call, allow("case.sign")],
    id: ItemId,
    body: SignCaseRequest | None = None,
    if_match: IfMatch = None,
) -> CaseOut:
    """Sign a case whose images all have verdicts; a signed case does not change."""
    note = body.note if body is not None else None
    with call.writing() as session, include_current_state(lambda: _current_case(session, call, id)):
        case = service.sign_case(session, call.app.settings, call.actor, id, note, if_match)
        accepted = body is not None and body.accept_unprintable
        service.run_signing_checks(session, call.app.keys, call.actor, case, accepted=accepted)
        return case_out(session, call, case)


@cases.post("/{id}/correct", status_code=201, summary="Correct a signed case")
def correct_case(
    call: Annotated[Call, allow("case.correct")], id: ItemId, body: CorrectIn, if_match: IfMatch = None
) -> CaseOut:
    """Open a new version of a signed case; the old version stays and the new one refers to it."""
    with call.writing() as session, include_current_state(lambda: _current_case(session, call, id)):
        case = service.correct_case(session, call.app.settings, call.actor, id, body.reason, if_match)
        return case_out(session, call, case)


@overview.get("/pathways", summary="Pathways")
def list_pathways(call: Annotated[Call, allow("pathway.read")]) -> list[PathwayOut]:
    """The pathways of this installation."""
    return [
        PathwayOut.of(pathway, _display_names(call, pathway)) for pathway in all_pathways(call.app.settings).values()
    ]


@overview.get("/patients/{id}/summary", tags=["patients"], summary="Counts of a patient")
def patient_summary(call: Annotated[Call, allow("patient.read")], id: ItemId) -> PatientSummary:
    """The numbers of a patient's images and cases, and of those that are not done."""
    with call.reading() as session:
        patient = records.get_patient(session, call.actor, id)
        call.actor.record(
            session, "patient.read", "patient", patient.id, project_id=patient.project_id, patient_id=patient.id
        )
        counts = records.count_patient_contents(session, [id]).get(id, records.PatientCounts())
        cases, open_cases = queries.count_patient_cases(session, id)
        return PatientSummary(
            patient_id=id,
            code=patient.code,
            project_id=patient.project_id,
            images=counts.images,
            unverified=counts.unverified,
            cases=cases,
            open_cases=open_cases,
            last_upload_at=records.last_upload_at(session, id),
        )


@overview.get("/dashboard", summary="Dashboard")
def dashboard(
    call: Annotated[Call, allow("dashboard.read")], project_id: Annotated[Id | None, Query()] = None
) -> Dashboard:
    """Counts, the uploads of the last 30 days, and the predictions by label."""
    projects = call.actor.projects("dashboard.read", project_id)
    with call.reading() as session:
        counts = queries.count_review_work(session, call.app.settings, call.actor, project_id)
        return Dashboard(
            patients=counts.patients,
            images=counts.images,
            unverified=counts.unverified,
            cases_waiting_for_me=counts.waiting_for_actor,
            cases_ready_to_sign=counts.ready_to_sign,
            cases_open=counts.open_cases,
            cases_signed=counts.signed_cases,
            reports=counts.signed_cases,
            quarantined=ingest.count_quarantined(session, projects),
            uploads=[DayCount(date=day, count=n) for day, n in queries.uploads_by_day(session, projects)],
            labels=[LabelCount(label=label, count=n) for label, n in classification.label_counts(session, projects)],
        )
