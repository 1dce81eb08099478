# SPDX-License-Identifier: Apache-2.0
"""Routes of promotions, and of the classifiers of a pathway."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.classification import appointments
from medhub.classification.registry import get_classifier
from medhub.foundation.http import Id, Line, Page, Paging, Text
from medhub.records.pathway import Pathway, get_pathway
from medhub.training import live_metrics
from medhub.training import promotions as service
from medhub.training.drift import Step
from medhub.training.models import Promotion
from medhub.training.promotion_criteria import PromotionCriteria
from medhub.training.promotion_schemas import (
    AgreementOut,
    AgreementsOut,
    AppointmentOut,
    ApproveIn,
    CheckOut,
    DriftOut,
    LimitsIn,
    LimitsOut,
    PathwayClassifiers,
    PromotionCreate,
    PromotionOut,
    RejectIn,
    ShadowIn,
)

promotions = APIRouter(prefix="/api/promotions", tags=["promotions"])
pathways = APIRouter(prefix="/api/pathways", tags=["promotions"])

ProjectId = Annotated[Id | None, Query(description="Id of the project, if you have several.")]
PathwayName = Annotated[Line, Path(description="Name of the pathway.")]


def _promotion_out(session: Session, call: Call, promotion: Promotion) -> PromotionOut:
    now = None
    if promotion.state == "waiting":
        now = service.measure_now(session, call.app.settings, promotion)
    return PromotionOut.of(promotion, call.actor, now)


@promotions.get("", summary="Promotions")
def list_promotions(
    call: Annotated[Call, allow("training.read")],
    paging: Paging,
    pathway: Annotated[Text | None, Query(max_length=60)] = None,
    state: Literal["waiting", "approved", "rejected"] | None = None,
    project_id: Annotated[Id | None, Query()] = None,
) -> Page[PromotionOut]:
    """Requests to take a classifier into use and their answers, the latest first."""
    with call.reading() as session:
        page, total = service.list_promotions(
            session,
            call.actor,
            project_id=project_id,
            pathway=pathway,
            state=state,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([_promotion_out(session, call, promotion) for promotion in page], total)


@promotions.post("", status_code=201, summary="Ask for a promotion")
def request_promotion(call: Annotated[Call, allow("promotion.request")], given: PromotionCreate) -> PromotionOut:
    """Ask for a classifier to be taken into use; another person approves it."""
    project_id = call.actor.choose_project("promotion.request", given.project_id)
    with call.writing() as session:
        promotion = service.request_promotion(
            session,
            call.app,
            call.actor,
            project_id=project_id,
            digest=given.digest,
            pathway_name=given.pathway,
            margin=given.margin,
        )
        session.flush()
        return _promotion_out(session, call, promotion)


@promotions.get("/{id}", summary="One promotion")
def read_promotion(call: Annotated[Call, allow("training.read")], id: ItemId) -> PromotionOut:
    """A promotion with each limit: what is demanded, what was measured, whether that is met."""
    with call.reading() as session:
        return _promotion_out(session, call, service.get_promotion(session, call.actor, id))


@promotions.post("/{id}/approve", summary="Approve a promotion")
def approve_promotion(call: Annotated[Call, allow("promotion.decide")], id: ItemId, given: ApproveIn) -> PromotionOut:
    """Take the classifier into use, with the reason, if it keeps every limit and somebody else asked for it."""
    with call.writing() as session:
        return _promotion_out(session, call, service.approve_promotion(session, call.app, call.actor, id, given.reason))


@promotions.post("/{id}/reject", summary="Reject a promotion")
def reject_promotion(call: Annotated[Call, allow("promotion.decide")], id: ItemId, given: RejectIn) -> PromotionOut:
    """Say no to a promotion, and why."""
    with call.writing() as session:
        return _promotion_out(session, call, service.reject_promotion(session, call.app, call.actor, id, given.reason))


def _pathway_classifiers(session: Session, call: Call, project_id: str, pathway: Pathway) -> PathwayClassifiers:
    settings = call.app.settings
    appointed = appointments.current(session, project_id, pathway.name, appointments.IN_USE)
    shadow = appointments.current(session, project_id, pathway.name, appointments.SHADOW)
    fixed = service.limits_of(session, project_id, pathway.name)
    checks = service.measure_shadow(session, settings, project_id, pathway)
    if appointed is not None:
        in_use = AppointmentOut.of(appointed)
    else:
        own = get_classifier(settings, pathway.classifier)
        in_use = AppointmentOut(
            project_id=project_id,
            pathway=pathway.name,
            part="in use",
            classifier=own.card.name,
            digest=own.digest,
            since=None,
            until=None,
            by=None,
        )
    past = appointments.history(session, project_id, pathway.name)
    return PathwayClassifiers(
        project_id=project_id,
        pathway=pathway.name,
        title=pathway.title,
        in_use=in_use,
        shadow=AppointmentOut.of(shadow) if shadow is not None else None,
        can_roll_back=appointments.can_roll_back(session, settings, project_id, pathway),
        history=[AppointmentOut.of(appointment) for appointment in past],
        limits=LimitsOut.of(fixed) if fixed is not None else None,
        checks=[CheckOut.of(check) for check in checks] if checks is not None else None,
    )


def _read_pathway(call: Call, project_id: str, pathway: Pathway) -> PathwayClassifiers:
    """What is known of a pathway; after a change, so that nobody waits with writing until it is measured."""
    with call.reading() as session:
        return _pathway_classifiers(session, call, project_id, pathway)


@pathways.get("/{name}/classifiers", summary="Classifiers of a pathway")
def read_pathway_classifiers(
    call: Annotated[Call, allow("training.read")], name: PathwayName, project_id: ProjectId = None
) -> PathwayClassifiers:
    """The classifier in use in a project, the one in the shadow, those before, and the limits of a promotion."""
    pathway = get_pathway(call.app.settings, name)
    return _read_pathway(call, call.actor.choose_project("training.read", project_id), pathway)


@pathways.put("/{name}/limits", summary="Fix the limits of a promotion")
def fix_limits(
    call: Annotated[Call, allow("limits.change")], name: PathwayName, given: LimitsIn, project_id: ProjectId = None
) -> PathwayClassifiers:
    """Fix what a classifier must keep in a project; requests that wait keep the limits under which they were made."""
    pathway = get_pathway(call.app.settings, name)
    project_id = call.actor.choose_project("limits.change", project_id)
    with call.writing() as session:
        service.fix_limits(session, call.actor, project_id, pathway, PromotionCriteria(**given.model_dump()))
    return _read_pathway(call, project_id, pathway)


@pathways.put("/{name}/shadow", summary="Start the shadow mode of a classifier")
def start_shadow(
    call: Annotated[Call, allow("classifier.shadow")], name: PathwayName, given: ShadowIn, project_id: ProjectId = None
) -> PathwayClassifiers:
    """Classify new and recently signed images of a project by a second classifier, without showing its answers."""
    pathway = get_pathway(call.app.settings, name)
    project_id = call.actor.choose_project("classifier.shadow", project_id)
    with call.writing() as session:
        service.start_shadow(session, call.app, call.actor, project_id, pathway, given.digest)
    return _read_pathway(call, project_id, pathway)


@pathways.delete("/{name}/shadow", summary="End shadow mode")
def end_shadow(
    call: Annotated[Call, allow("classifier.shadow")], name: PathwayName, project_id: ProjectId = None
) -> PathwayClassifiers:
    """End shadow mode in a project; the answers so far stay."""
    pathway = get_pathway(call.app.settings, name)
    project_id = call.actor.choose_project("classifier.shadow", project_id)
    with call.writing() as session:
        appointments.end_shadow(session, call.actor, project_id, pathway)
    return _read_pathway(call, project_id, pathway)


@pathways.post("/{name}/rollback", summary="Bring back the classifier before")
def roll_back(
    call: Annotated[Call, allow("classifier.roll-back")], name: PathwayName, project_id: ProjectId = None
) -> PathwayClassifiers:
    """Bring back the classifier that was in use in a project before; it reads the images that are uploaded from now."""
    pathway = get_pathway(call.app.settings, name)
    project_id = call.actor.choose_project("classifier.roll-back", project_id)
    with call.writing() as session:
        appointments.roll_back(session, call.actor, call.app.settings, project_id, pathway)
    return _read_pathway(call, project_id, pathway)


@pathways.get("/{name}/agreement", summary="Agreement with signed verdicts")
def read_agreement(
    call: Annotated[Call, allow("training.read")], name: PathwayName, project_id: ProjectId = None
) -> AgreementsOut:
    """Week by week, how often the classifier in use and the one in the shadow said what was signed."""
    pathway = get_pathway(call.app.settings, name)
    project_id = call.actor.choose_project("training.read", project_id)
    with call.reading() as session:
        in_use = appointments.digest_in_use(session, call.app.settings, project_id, pathway)
        shadow = appointments.current(session, project_id, pathway.name, appointments.SHADOW)
        weeks: list[live_metrics.Agreement] = []
        if shadow is not None:
            signed = live_metrics.signed_images(
                session, call.app.settings, shadow.digest, in_use, pathway=pathway.name, projects=[project_id]
            )
            weeks = live_metrics.weekly_agreement(signed)
        return AgreementsOut(
            pathway=pathway.name,
            in_use=in_use,
            shadow=shadow.digest if shadow is not None else None,
            weeks=[AgreementOut.of(week) for week in weeks],
        )


@pathways.get("/{name}/drift", summary="Drift")
def read_drift(
    call: Annotated[Call, allow("training.read")],
    name: PathwayName,
    step: Annotated[Step, Query(description="Span of a point.")] = "week",
    project_id: ProjectId = None,
) -> DriftOut:
    """What the classifier in use says over time, held against the first images that it read; an alarm if it changed."""
    pathway = get_pathway(call.app.settings, name)
    project_id = call.actor.choose_project("training.read", project_id)
    with call.reading() as session:
        digest = appointments.digest_in_use(session, call.app.settings, project_id, pathway)
        drift = live_metrics.measure_drift(session, pathway, digest, [project_id], step)
        return DriftOut.of(pathway.name, digest, drift)
