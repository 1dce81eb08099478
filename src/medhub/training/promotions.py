# SPDX-License-Identifier: Apache-2.0
"""Taking a classifier into use: limits fixed beforehand, a request, another person's answer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.classification import appointments
from medhub.classification.events import ShadowWanted
from medhub.classification.models import Appointment
from medhub.classification.registry import find_installed
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.settings import Settings
from medhub.foundation.sorting import sort_clause
from medhub.foundation.visible_text import require_text
from medhub.records.pathway import Pathway, get_pathway
from medhub.training import live_metrics
from medhub.training.models import Promotion, PromotionLimits
from medhub.training.promotion_criteria import CriterionCheck, PromotionCriteria, check_criteria

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


class SecondPersonNeeded(NotAllowed):
    """Who asks for a promotion does not approve it."""

    code = "second-person-needed"


def limits_of(session: Session, pathway: str) -> PromotionLimits | None:
    """The limits of a pathway, if they were fixed."""
    return session.get(PromotionLimits, pathway)


def fix_limits(session: Session, actor: Actor, pathway: Pathway, limits: PromotionCriteria) -> PromotionLimits:
    """Fix what a classifier must keep; requests that wait keep the limits that they were made under."""
    serialize_writers(session, f"pathway {pathway.name}")
    row = session.get(PromotionLimits, pathway.name)
    if row is None:
        row = PromotionLimits(pathway=pathway.name)
        session.add(row)
    row.margin, row.ece, row.abstention, row.images = limits.margin, limits.ece, limits.abstention, limits.images
    row.changed_at, row.changed_by_id, row.changed_by = clock.now(), actor.user_id, actor.name
    actor.record(session, "limits.change", "pathway", pathway.name, **vars(limits))
    return row


def start_shadow(session: Session, app: AppContext, actor: Actor, pathway: Pathway, digest: str) -> Appointment:
    """Have a classifier read in the shadow from now on, and what was signed lately at once."""
    appointed, installed = appointments.appoint(session, actor, app.settings, pathway, digest, appointments.SHADOW)
    image_ids = live_metrics.images_for_shadow(session, pathway.name, digest, READ_FIRST)
    for image_id in image_ids:
        publish(session, ShadowWanted(image_id=image_id))
    actor.record(
        session,
        "classifier.begin-shadow",
        "pathway",
        pathway.name,
        digest=digest,
        classifier=installed.card.name,
        images=len(image_ids),
    )
    return appointed


def measure_criteria(
    session: Session, settings: Settings, pathway: Pathway, digest: str, limits: PromotionCriteria
) -> list[CriterionCheck]:
    """Hold a classifier against the one in use on the images of a pathway."""
    in_use = appointments.digest_in_use(session, settings, pathway)
    signed = live_metrics.signed_images(session, settings, digest, in_use, pathway=pathway.name)
    return check_criteria(limits, live_metrics.pairs_of(signed))


def measure_shadow(session: Session, settings: Settings, pathway: Pathway) -> list[CriterionCheck] | None:
    """Measure the classifier in the shadow of a pathway; none without one, or without limits."""
    shadow = appointments.current(session, pathway.name, appointments.SHADOW)
    fixed = limits_of(session, pathway.name)
    if shadow is None or fixed is None:
        return None
    limits = PromotionCriteria(fixed.margin, fixed.ece, fixed.abstention, fixed.images)
    return measure_criteria(session, settings, pathway, shadow.digest, limits)


def request_promotion(
    session: Session, app: AppContext, actor: Actor, *, digest: str, pathway_name: str, margin: float | None
) -> Promotion:
    """Ask for a classifier to be taken into use; the limits of this moment are kept with the request."""
    pathway = get_pathway(app.settings, pathway_name)
    installed = find_installed(app.settings, digest)
    appointments.check_labels(pathway, installed.card.labels)
    serialize_writers(session, f"pathway {pathway.name}")
    fixed = limits_of(session, pathway.name)
    if fixed is None:
        raise LimitsNotFixed(
            f"Nobody has fixed limits for {pathway.title} yet. An administrator fixes them before a promotion is asked "
            "for, so that no result decides on its own measure."
        )
    if margin is not None and margin > fixed.margin:
        raise Invalid(
            f"The margin of this pathway is {fixed.margin:g}; a request may only ask for less.", field="margin"
        )
    waiting = select(Promotion.id).where(Promotion.pathway == pathway.name, Promotion.state == "waiting")
    if session.scalar(waiting.limit(1)) is not None:
        raise PromotionWaiting("Another promotion of this pathway waits for its answer. Have it decided first.")
    in_use = appointments.digest_in_use(session, app.settings, pathway)
    if in_use == digest:
        raise appointments.AlreadyAppointed(f"{installed.card.name} is in use on {pathway.title} already.")
    limits = PromotionCriteria(fixed.margin if margin is None else margin, fixed.ece, fixed.abstention, fixed.images)
    checks = measure_criteria(session, app.settings, pathway, digest, limits)
    promotion = Promotion(
        id=ids.new_id(),
        pathway=pathway.name,
        classifier=installed.card.name,
        digest=digest,
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
    session.add(promotion)
    actor.record(session, "promotion.request", "promotion", promotion.id, pathway=pathway.name, digest=digest)
    return promotion


def get_promotion(session: Session, promotion_id: str) -> Promotion:
    """A promotion; they concern the whole installation."""
    promotion = session.get(Promotion, promotion_id)
    if promotion is None:
        raise PromotionNotFound("There is no such promotion.")
    return promotion


def list_promotions(
    session: Session, *, pathway: str | None, state: str | None, sort: str | None, offset: int, limit: int
) -> tuple[list[Promotion], int]:
    """A page of promotions, the latest first."""
    statement = select(Promotion)
    if pathway is not None:
        statement = statement.where(Promotion.pathway == pathway)
    if state is not None:
        statement = statement.where(Promotion.state == state)
    columns = {"requested_at": Promotion.requested_at, "state": Promotion.state}
    page = statement.order_by(sort_clause(sort, columns, "-requested_at"), Promotion.id).offset(offset).limit(limit)
    promotions = list(session.scalars(page))
    return promotions, pagination.total_rows(session, statement, offset=offset, limit=limit, page_rows=len(promotions))


def measure_now(session: Session, settings: Settings, promotion: Promotion) -> list[CriterionCheck]:
    """What the limits of a request say of what is known now."""
    pathway = get_pathway(settings, promotion.pathway)
    return measure_criteria(
        session, settings, pathway, promotion.digest, PromotionCriteria(**promotion.evidence["limits"])
    )


def _get_waiting(session: Session, promotion_id: str) -> Promotion:
    promotion = get_promotion(session, promotion_id)
    serialize_writers(session, f"pathway {promotion.pathway}")
    session.refresh(promotion)
    if promotion.state != "waiting":
        raise PromotionDecided(f"This promotion is decided already: it was {promotion.state}.")
    return promotion


def approve_promotion(session: Session, app: AppContext, actor: Actor, promotion_id: str) -> Promotion:
    """Take the classifier into use; what is uploaded from now on is read by it."""
    promotion = _get_waiting(session, promotion_id)
    if promotion.requested_by_id == actor.user_id:
        raise SecondPersonNeeded(
            "You asked for this promotion; another administrator approves it.", action="promotion.decide"
        )
    pathway = get_pathway(app.settings, promotion.pathway)
    if appointments.digest_in_use(session, app.settings, pathway) != promotion.replaces:
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
    appointments.appoint(session, actor, app.settings, pathway, promotion.digest, appointments.IN_USE)
    _decide(promotion, actor, "approved", None, checks)
    actor.record(
        session,
        "promotion.approve",
        "promotion",
        promotion.id,
        pathway=pathway.name,
        digest=promotion.digest,
        instead_of=promotion.replaces,
    )
    return promotion


def _describe_check(check: CriterionCheck) -> str:
    value = "not known" if check.value is None else f"{check.value:.4g}"
    return f"{check.words.removesuffix(', at most')}: {value} (limit {check.limit:g})"


def reject_promotion(session: Session, actor: Actor, promotion_id: str, reason: str) -> Promotion:
    """Say no to a promotion, and why."""
    promotion = _get_waiting(session, promotion_id)
    reason = require_text(reason, "Say why the promotion is rejected.", "reason")
    _decide(promotion, actor, "rejected", reason, None)
    actor.record(session, "promotion.reject", "promotion", promotion.id, pathway=promotion.pathway)
    return promotion


def _decide(
    promotion: Promotion, actor: Actor, state: str, reason: str | None, checks: list[CriterionCheck] | None
) -> None:
    promotion.state, promotion.reason = state, reason
    promotion.decided_at, promotion.decided_by_id, promotion.decided_by = clock.now(), actor.user_id, actor.name
    if checks is not None:
        evidence: dict[str, Any] = {**promotion.evidence, "decided": [check.as_json() for check in checks]}
        promotion.evidence = evidence
