# SPDX-License-Identifier: Apache-2.0
"""Taking a classifier into use: limits fixed beforehand, a request, another person's answer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.accounts.independence import SecondPersonNeeded, require_independent
from medhub.classification import appointments
from medhub.classification.events import ShadowWanted
from medhub.classification.models import Appointment
from medhub.classification.registry import Installed, find_installed
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.events import publish
from medhub.foundation.settings import Settings
from medhub.foundation.sorting import sort_clause
from medhub.foundation.visible_text import require_text
from medhub.records.pathway import Pathway, get_pathway
from medhub.training import live_metrics
from medhub.training.models import Promotion, PromotionLimits
from medhub.training.promotion_criteria import CriterionCheck, PromotionCriteria, check_criteria
from medhub.training.usable_classifiers import require_usable

# So many images with a signed verdict are read in the shadow at once, so that there is something to measure with.
READ_FIRST = 500


class PromotionNotFound(NotFound):
    """There is no such promotion."""

    code = "promotion-not-found"


class LimitsNotFixed(Conflict):
    """Nobody has fixed limits for this pathway."""

    code = "limits-not-fixed"


class LimitsNotMet(Conflict):
    """The classifier does not keep a limit."""

    code = "limits-not-kept"


class PromotionDecided(Conflict):
    """The promotion is decided already."""

    code = "promotion-decided"


class PromotionWaiting(Conflict):
    """Another promotion of this pathway waits for its answer."""

    code = "promotion-waiting"


def limits_of(session: Session, project_id: str, pathway: str) -> PromotionLimits | None:
    """The limits of a pathway in a project, if they were fixed."""
    return session.get(PromotionLimits, (project_id, pathway))


def fix_limits(
    session: Session, actor: Actor, project_id: str, pathway: Pathway, limits: PromotionCriteria
) -> PromotionLimits:
    """Fix what a classifier must keep in a project; requests that wait keep the limits that they were made under."""
    actor.require("limits.change", project_id, "project")
    appointments.lock(session, project_id, pathway)
    row = limits_of(session, project_id, pathway.name)
    if row is None:
        row = PromotionLimits(project_id=project_id, pathway=pathway.name)
        session.add(row)
    row.margin, row.ece, row.abstention, row.images = limits.margin, limits.ece, limits.abstention, limits.images
    row.changed_at, row.changed_by_id, row.changed_by = clock.now(), actor.user_id, actor.name
    actor.record(session, "limits.change", "pathway", pathway.name, project_id=project_id, **vars(limits))
    return row


def start_shadow(
    session: Session, app: AppContext, actor: Actor, project_id: str, pathway: Pathway, digest: str
) -> Appointment:
    """Have a classifier read the new images of a project in the shadow, and those that were signed lately at once."""
    actor.require("classifier.shadow", project_id, "project")
    require_usable(session, app.settings, actor, project_id, digest)
    appointed, installed = appointments.appoint(
        session, actor, app.settings, project_id, pathway, digest, appointments.SHADOW
    )
    image_ids = live_metrics.images_for_shadow(session, project_id, pathway.name, digest, READ_FIRST)
    for image_id in image_ids:
        publish(session, ShadowWanted(image_id=image_id))
    actor.record(
        session,
        "classifier.begin-shadow",
        "pathway",
        pathway.name,
        project_id=project_id,
        digest=digest,
        classifier=installed.card.name,
        images=len(image_ids),
    )
    return appointed


def measure_criteria(
    session: Session, settings: Settings, project_id: str, pathway: Pathway, digest: str, limits: PromotionCriteria
) -> list[CriterionCheck]:
    """Hold a classifier against the one in use on the images of a pathway in a project."""
    in_use = appointments.digest_in_use(session, settings, project_id, pathway)
    signed = live_metrics.signed_images(
        session, settings, digest, in_use, pathway=pathway.name, projects=frozenset({project_id})
    )
    return check_criteria(limits, live_metrics.pairs_of(signed))


def measure_shadow(
    session: Session, settings: Settings, project_id: str, pathway: Pathway
) -> list[CriterionCheck] | None:
    """Measure the classifier in the shadow of a pathway; none without one, or without limits."""
    shadow = appointments.current(session, project_id, pathway.name, appointments.SHADOW)
    fixed = limits_of(session, project_id, pathway.name)
    if shadow is None or fixed is None:
        return None
    limits = PromotionCriteria(fixed.margin, fixed.ece, fixed.abstention, fixed.images)
    return measure_criteria(session, settings, project_id, pathway, shadow.digest, limits)


def request_promotion(
    session: Session,
    app: AppContext,
    actor: Actor,
    *,
    project_id: str,
    digest: str,
    pathway_name: str,
    margin: float | None,
) -> Promotion:
    """Ask for a classifier to be taken into use in a project; the present limits are kept with the request."""
    actor.require("promotion.request", project_id, "project")
    pathway = get_pathway(app.settings, pathway_name)
    require_usable(session, app.settings, actor, project_id, digest)
    installed = find_installed(app.settings, digest)
    appointments.check_labels(pathway, installed.card.labels)
    appointments.lock(session, project_id, pathway)
    fixed = limits_of(session, project_id, pathway.name)
    if fixed is None:
        raise LimitsNotFixed(
            f"Nobody has fixed limits for {pathway.title} yet. An administrator fixes them before a promotion is asked "
            "for, so that no result decides on its own measure."
        )
    if margin is not None and margin > fixed.margin:
        raise Invalid(
            f"The margin of this pathway is {fixed.margin:g}; a request may only ask for less.", field="margin"
        )
    waiting = select(Promotion.id).where(
        Promotion.project_id == project_id, Promotion.pathway == pathway.name, Promotion.state == "waiting"
    )
    if session.scalar(waiting.limit(1)) is not None:
        raise PromotionWaiting("Another promotion of this pathway waits for its answer. Have it decided first.")
    in_use = appointments.digest_in_use(session, app.settings, project_id, pathway)
    if in_use == digest:
        raise appointments.AlreadyAppointed(f"{installed.card.name} is in use on {pathway.title} already.")
    limits = PromotionCriteria(fixed.margin if margin is None else margin, fixed.ece, fixed.abstention, fixed.images)
    checks = measure_criteria(session, app.settings, project_id, pathway, digest, limits)
    promotion = _new_promotion(actor, fixed, limits, checks, installed, in_use)
    session.add(promotion)
    actor.record(
        session,
        "promotion.request",
        "promotion",
        promotion.id,
        project_id=project_id,
        pathway=pathway.name,
        digest=digest,
    )
    return promotion


def _new_promotion(
    actor: Actor,
    fixed: PromotionLimits,
    limits: PromotionCriteria,
    checks: list[CriterionCheck],
    installed: Installed,
    in_use: str,
) -> Promotion:
    return Promotion(
        id=ids.new_id(),
        project_id=fixed.project_id,
        pathway=fixed.pathway,
        classifier=installed.card.name,
        digest=installed.digest,
        replaces=in_use,
        margin=limits.margin,
        state="waiting",
        evidence={
            "limits": vars(limits),
            "fixed_at": clock.iso(fixed.changed_at),
            "fixed_by": fixed.changed_by,
            "requested": [check.as_json() for check in checks],
        },
        requested_at=clock.now(),
        requested_by_id=actor.user_id,
        requested_by=actor.name,
    )


def get_promotion(session: Session, actor: Actor, promotion_id: str, action: str = "training.read") -> Promotion:
    """A promotion in a project of the actor."""
    promotion = session.get(Promotion, promotion_id)
    if promotion is None:
        raise PromotionNotFound("There is no such promotion, or it is not in a project of yours.")
    actor.require(action, promotion.project_id, "promotion")
    return promotion


def list_promotions(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    pathway: str | None,
    state: str | None,
    query: str | None,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[Promotion], int]:
    """A page of the promotions in the actor's projects, the latest first."""
    statement = select(Promotion).where(Promotion.project_id.in_(actor.projects("training.read", project_id)))
    if pathway is not None:
        statement = statement.where(Promotion.pathway == pathway)
    if state is not None:
        statement = statement.where(Promotion.state == state)
    if query:
        statement = statement.where(
            func.lower(Promotion.classifier).contains(query.lower(), autoescape=True)
            | func.lower(Promotion.requested_by).contains(query.lower(), autoescape=True)
            | Promotion.digest.startswith(query.lower(), autoescape=True)
        )
    columns = {"requested_at": Promotion.requested_at, "state": Promotion.state}
    page = statement.order_by(sort_clause(sort, columns, "-requested_at"), Promotion.id).offset(offset).limit(limit)
    promotions = list(session.scalars(page))
    return promotions, pagination.total_rows(session, statement, offset=offset, limit=limit, page_rows=len(promotions))


def measure_now(session: Session, settings: Settings, promotion: Promotion) -> list[CriterionCheck]:
    """What the limits of a request say of what is known now."""
    pathway = get_pathway(settings, promotion.pathway)
    return measure_criteria(
        session,
        settings,
        promotion.project_id,
        pathway,
        promotion.digest,
        PromotionCriteria(**promotion.evidence["limits"]),
    )


def _get_waiting(session: Session, app: AppContext, actor: Actor, promotion_id: str) -> Promotion:
    promotion = get_promotion(session, actor, promotion_id, "promotion.decide")
    appointments.lock(session, promotion.project_id, get_pathway(app.settings, promotion.pathway))
    session.refresh(promotion)
    if promotion.state != "waiting":
        raise PromotionDecided(f"This promotion is decided already: it was {promotion.state}.")
    return promotion


def approve_promotion(session: Session, app: AppContext, actor: Actor, promotion_id: str, reason: str) -> Promotion:
    """Take the classifier into use; what is uploaded from now on is read by it."""
    reason = require_text(reason, "Say why the promotion is approved.", "reason")
    promotion = _get_waiting(session, app, actor, promotion_id)
    if promotion.requested_by_id == actor.user_id:
        raise SecondPersonNeeded(
            "You asked for this promotion; another administrator approves it.", action="promotion.decide"
        )
    days = app.settings.second_person_days
    require_independent(session, promotion.requested_by_id, actor.user_id, days, "promotion.decide")
    pathway = get_pathway(app.settings, promotion.pathway)
    if appointments.digest_in_use(session, app.settings, promotion.project_id, pathway) != promotion.replaces:
        raise Conflict(
            "Another classifier is in use than at the request. Reject this promotion and ask again: what was measured "
            "against the old one says nothing of the new one."
        )
    checks = measure_now(session, app.settings, promotion)
    if failed := [check for check in checks if not check.met]:
        raise LimitsNotMet(
            "The classifier does not keep every limit: " + "; ".join(_describe_check(check) for check in failed) + ".",
            failed=[check.name for check in failed],
        )
    appointments.appoint(
        session, actor, app.settings, promotion.project_id, pathway, promotion.digest, appointments.IN_USE
    )
    _decide(promotion, actor, "approved", reason, checks)
    actor.record(
        session,
        "promotion.approve",
        "promotion",
        promotion.id,
        project_id=promotion.project_id,
        pathway=pathway.name,
        digest=promotion.digest,
        instead_of=promotion.replaces,
    )
    return promotion


def _describe_check(check: CriterionCheck) -> str:
    value = "not known" if check.value is None else f"{check.value:.4g}"
    return f"{check.words.removesuffix(', at most')}: {value} (limit {check.limit:g})"


def reject_promotion(session: Session, app: AppContext, actor: Actor, promotion_id: str, reason: str) -> Promotion:
    """Reject a promotion, with the reason."""
    promotion = _get_waiting(session, app, actor, promotion_id)
    reason = require_text(reason, "Say why the promotion is rejected.", "reason")
    _decide(promotion, actor, "rejected", reason, None)
    actor.record(
        session,
        "promotion.reject",
        "promotion",
        promotion.id,
        project_id=promotion.project_id,
        pathway=promotion.pathway,
    )
    return promotion


def _decide(
    promotion: Promotion, actor: Actor, state: str, reason: str | None, checks: list[CriterionCheck] | None
) -> None:
    promotion.state, promotion.reason = state, reason
    promotion.decided_at, promotion.decided_by_id, promotion.decided_by = clock.now(), actor.user_id, actor.name
    if checks is not None:
        evidence: dict[str, Any] = {**promotion.evidence, "decided": [check.as_json() for check in checks]}
        promotion.evidence = evidence
