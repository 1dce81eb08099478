# SPDX-License-Identifier: Apache-2.0
"""Use cases of review: open a case, give and withdraw verdicts, sign, correct."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.audit.service import AuditAct, record
from medhub.classification import service as classification
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.etags import check_etag
from medhub.foundation.events import publish
from medhub.foundation.keys import Keys
from medhub.foundation.settings import Settings
from medhub.foundation.visible_text import require_text, visible_text
from medhub.records import studies
from medhub.records.models import Image, Study
from medhub.records.pathway import get_pathway
from medhub.review import rules
from medhub.review.events import CaseSigned
from medhub.review.models import Case, CaseEvent, Verdict, case_etag, verdict_etag

# What a verdict says, as its event in the history records it.
_VERDICT_COLUMNS = ("label", "note", "by_id", "by", "role", "at")


class CaseNotFound(NotFound):
    """The case does not exist, or is in a project that the actor has no role in."""

    code = "case-not-found"


class NotReadYet(Conflict):
    """The classifier has not processed the image yet."""

    code = "not-read-yet"


def open_case(app: AppContext, study_id: str) -> None:
    """Open the case of a study once its first image is classified; repeated, it is opened once."""
    with app.database.writing() as session:
        _lock_patient(session, select(Study.patient_id).where(Study.id == study_id))
        study = session.get(Study, study_id)
        if study is None or study.pathway is None or current_case(session, study_id) is not None:
            return
        pathway = get_pathway(app.settings, study.pathway)
        act = pathway.act(pathway.first_stage.name, "classify")
        stage = act.leads_to if act is not None and act.leads_to is not None else pathway.first_stage.name
        case = Case(
            id=ids.new_id(),
            project_id=study.project_id,
            patient_id=study.patient_id,
            study_id=study.id,
            pathway=pathway.name,
            pathway_digest=pathway.digest,
            stage=stage,
            version=1,
            opened_at=clock.now(),
        )
        session.add(case)
        session.flush()
        _add_event(session, case, None, "opened", stage=stage)
        record(
            session,
            AuditAct("case.open", "case", case.id, project_id=case.project_id, patient_id=case.patient_id),
        )


def _lock_patient(session: Session, patient: Select[str]) -> None:
    """Serialize the changes of a patient's cases, so that each sees the result of the earlier ones."""
    patient_id = session.scalar(patient)
    if patient_id is not None:
        serialize_writers(session, f"patient {patient_id}")


def current_case(session: Session, study_id: str) -> Case | None:
    """The case of a study in its latest version."""
    return session.scalars(select(Case).where(Case.study_id == study_id, Case.superseded.is_(False))).one_or_none()


def get_case(session: Session, actor: Actor, case_id: str, action: str = "case.read") -> Case:
    """A case in a project of the actor."""
    case = session.get(Case, case_id)
    if case is None:
        raise CaseNotFound("There is no such case in your projects.")
    actor.require(action, case.project_id, "case")
    return case


def record_case(session: Session, actor: Actor, action: str, case: Case, **detail: Any) -> None:
    """Record an act on a case in the audit log."""
    actor.record(session, action, "case", case.id, project_id=case.project_id, patient_id=case.patient_id, **detail)


def _add_event(
    session: Session,
    case: Case,
    actor: Actor | None,
    action: str,
    image_id: str | None = None,
    *,
    at: datetime | None = None,
    **detail: Any,
) -> None:
    session.add(
        CaseEvent(
            id=ids.new_id(),
            case_id=case.id,
            image_id=image_id,
            at=at or clock.now(),
            by_id=actor.user_id if actor else None,
            by=actor.name if actor else "Medhub",
            role=actor.roles.get(case.project_id) if actor else None,
            action=action,
            detail=detail,
        )
    )


def _case_for_verdict(session: Session, actor: Actor, image: Image) -> Case:
    actor.require("verdict.give", image.project_id, "image")
    if image.shown_as != "image":
        raise Conflict("This is no picture that a verdict could be given on; it lies beside the images of its study.")
    if image.state == "archived":
        raise Conflict("This image is archived and goes along no pathway. A verdict belongs to an image of a case.")
    case = current_case(session, image.study_id)
    if case is None or image.state == "waiting":
        raise NotReadYet("The classifier has not read this image yet. It takes a few seconds; try again then.")
    return case


def give_verdict(
    session: Session,
    settings: Settings,
    actor: Actor,
    image_id: str,
    label: str,
    note: str | None,
    if_match: str | None = None,
) -> Image:
    """Give a verdict on an image; a later one replaces it, and the history keeps both."""
    _lock_patient(session, select(Image.patient_id).where(Image.id == image_id))
    image = studies.get_image(session, actor, image_id)
    case = _case_for_verdict(session, actor, image)
    pathway = get_pathway(settings, case.pathway)
    act = rules.require_act(pathway, case.stage, "verdict", actor.roles.get(case.project_id))
    verdict = session.get(Verdict, (case.id, image.id))
    _check_verdict_etag(if_match, case, verdict)
    note = visible_text(note)
    prediction = classification.latest(session, [image.id]).get(image.id)
    # Without a prediction there is nothing to agree with: that counts as uncertain.
    uncertain = prediction is None or prediction.uncertain
    predicted = prediction.label if prediction is not None and not prediction.uncertain else None
    rules.check_verdict(pathway, act, label, note, uncertain=uncertain, predicted=predicted)
    if verdict is None:
        verdict = Verdict(case_id=case.id, image_id=image.id)
        session.add(verdict)
    verdict.label, verdict.note = label, note
    verdict.by_id, verdict.by, verdict.role = actor.user_id, actor.name, actor.roles[case.project_id]
    verdict.at = clock.now()
    verdict.agrees = predicted == label
    verdict.prediction_digest = prediction.digest if prediction is not None else None
    studies.mark_verified(session, image.id, True)
    _add_event(session, case, actor, "verdict", image.id, at=verdict.at, label=label, note=note)
    studies.record_image(session, actor, "verdict.give", image, case_id=case.id, label=label)
    session.flush()
    return image


def _check_verdict_etag(if_match: str | None, case: Case, verdict: Verdict | None) -> None:
    what = "Its verdict was withdrawn" if verdict is None else f"{verdict.by} gave the verdict “{verdict.label}”"
    check_etag(
        if_match,
        verdict_etag(case, verdict),
        f"{what} on this image after you opened it. Nothing was changed; compare, then decide again.",
    )


def withdraw_verdict(
    session: Session, settings: Settings, actor: Actor, image_id: str, if_match: str | None = None
) -> Image:
    """Withdraw the actor's own verdict while the case is not signed; the verdict before it applies again."""
    _lock_patient(session, select(Image.patient_id).where(Image.id == image_id))
    image = studies.get_image(session, actor, image_id)
    case = _case_for_verdict(session, actor, image)
    rules.require_act(get_pathway(settings, case.pathway), case.stage, "verdict", actor.roles.get(case.project_id))
    verdict = session.get(Verdict, (case.id, image.id))
    _check_verdict_etag(if_match, case, verdict)
    if verdict is None:
        raise NotFound("This image has no verdict that could be taken back.")
    if verdict.by_id != actor.user_id:
        raise rules.WrongRole(
            f"This verdict was given by {verdict.by}. Give your own verdict instead; the history keeps both.",
            action="verdict",
        )
    label = verdict.label
    earlier = _verdict_before(session, case, image)
    restored: dict[str, Any] = {}
    if earlier is None:
        session.delete(verdict)
        studies.mark_verified(session, image.id, False)
    else:
        prediction = classification.latest(session, [image.id]).get(image.id)
        for column, value in earlier.items():
            setattr(verdict, column, value)
        verdict.agrees = prediction is not None and not prediction.uncertain and prediction.label == verdict.label
        verdict.prediction_digest = prediction.digest if prediction is not None else None
        restored = {"restored": verdict.label}
    _add_event(session, case, actor, "verdict taken back", image.id, label=label, **restored)
    studies.record_image(session, actor, "verdict.take-back", image, case_id=case.id, **restored)
    session.flush()
    return image


def _verdict_before(session: Session, case: Case, image: Image) -> dict[str, Any] | None:
    """The columns of the verdict that the current one of a case replaced, from its history."""
    verdicts: list[dict[str, Any]] = []
    if case.supersedes_id is not None:  # a correction starts with the verdicts of the version before
        signed = session.get(Verdict, (case.supersedes_id, image.id))
        if signed is not None:
            verdicts.append({column: getattr(signed, column) for column in _VERDICT_COLUMNS})
    query = select(CaseEvent).where(CaseEvent.case_id == case.id, CaseEvent.image_id == image.id)
    for event in session.scalars(query.order_by(CaseEvent.at, CaseEvent.id)):
        if event.action == "verdict":
            values = (event.detail["label"], event.detail["note"], event.by_id, event.by, event.role, event.at)
            verdicts.append(dict(zip(_VERDICT_COLUMNS, values, strict=True)))
        elif event.action == "verdict taken back" and verdicts:
            verdicts.pop()
    return verdicts[-2] if len(verdicts) > 1 else None


def count_case_images(session: Session, case: Case) -> tuple[int, int, int]:
    """The numbers of images of a case, of images that wait for the classifier, and of verdicts in this version."""
    images, waiting = session.execute(
        select(func.count(), func.count().filter(Image.state == "waiting")).where(
            Image.study_id == case.study_id, Image.shown_as == "image"
        )
    ).one()
    verified = session.scalar(select(func.count()).select_from(Verdict).where(Verdict.case_id == case.id)) or 0
    return images, waiting, verified


def sign_case(
    session: Session, settings: Settings, actor: Actor, case_id: str, note: str | None, if_match: str | None = None
) -> Case:
    """Sign a case whose images all have verdicts; a signed case does not change."""
    _lock_patient(session, select(Case.patient_id).where(Case.id == case_id))
    case = get_case(session, actor, case_id)
    actor.require("case.sign", case.project_id, "case")
    pathway = get_pathway(settings, case.pathway)
    act = rules.require_act(pathway, case.stage, "sign", actor.roles.get(case.project_id))
    _check_case_etag(session, if_match, case)
    images, waiting, verified = count_case_images(session, case)
    if missing := rules.signing_blockers(act, images=images, waiting=waiting, verified=verified):
        raise rules.CaseNotReady("The case cannot be signed yet. " + " ".join(missing), blockers=missing)
    case.signed_at = clock.now()
    case.signed_by_id, case.signed_by = actor.user_id, actor.name
    case.signed_role = actor.roles[case.project_id]
    case.sign_note = visible_text(note)
    case.stage = act.leads_to or case.stage
    studies.lock_images(session, case.study_id)
    _add_event(session, case, actor, "signed", at=case.signed_at, note=case.sign_note)
    record_case(session, actor, "case.sign", case, version=case.version)
    if pathway.stage(case.stage).report:
        publish(session, CaseSigned(case_id=case.id))
    session.flush()
    return case


class SigningCheck(Protocol):
    """A function that raises if a signature must not stand; ``accepted`` if the person accepts what it warns of."""

    def __call__(self, session: Session, keys: Keys, actor: Actor, case: Case, *, accepted: bool) -> None:
        """Check a case that was just signed in this transaction."""


def run_signing_checks(session: Session, keys: Keys, actor: Actor, case: Case, *, accepted: bool) -> None:
    """Run the checks of other capabilities in the transaction of a signature; each raises if it must not stand."""
    checks: tuple[SigningCheck, ...] = session.info.get("signing_checks", ())
    for check in checks:
        check(session, keys, actor, case, accepted=accepted)


def _check_case_etag(session: Session, if_match: str | None, case: Case) -> None:
    check_etag(
        if_match,
        case_etag(case, verdicts_of(session, case.id).values()),
        "The verdicts or the stage of this case have changed since you opened it. "
        "Nothing was changed; look at the case again, then decide.",
    )


def correct_case(
    session: Session, settings: Settings, actor: Actor, case_id: str, reason: str, if_match: str | None = None
) -> Case:
    """Open a new version of a signed case; the old version stays and the new one refers to it."""
    _lock_patient(session, select(Case.patient_id).where(Case.id == case_id))
    old = get_case(session, actor, case_id)
    actor.require("case.correct", old.project_id, "case")
    if old.superseded:
        raise Conflict("There is a newer version of this case already. Correct that one.")
    pathway = get_pathway(settings, old.pathway)
    act = pathway.act(old.stage, "correct")
    if act is None:
        raise rules.WrongStage("The case is not signed yet: change its verdicts directly.", stage=old.stage)
    rules.require_act(pathway, old.stage, "correct", actor.roles.get(old.project_id))
    _check_case_etag(session, if_match, old)
    cleaned = require_text(reason, "Say why the case is corrected.", "reason")
    old.superseded = True
    session.flush()
    new = Case(
        id=ids.new_id(),
        project_id=old.project_id,
        patient_id=old.patient_id,
        study_id=old.study_id,
        pathway=pathway.name,
        pathway_digest=pathway.digest,
        stage=act.leads_to or old.stage,
        version=old.version + 1,
        supersedes_id=old.id,
        correction_reason=cleaned,
        opened_at=clock.now(),
    )
    session.add(new)
    session.flush()
    for verdict in session.scalars(select(Verdict).where(Verdict.case_id == old.id)).all():
        columns = {c.key: getattr(verdict, c.key) for c in Verdict.__table__.columns}
        session.add(Verdict(**{**columns, "case_id": new.id}))
    _add_event(session, new, actor, "correction opened", reason=new.correction_reason, of_version=old.version)
    record_case(session, actor, "case.correct", new, version=new.version, supersedes=old.id)
    session.flush()
    return new


def case_history(session: Session, case: Case) -> list[CaseEvent]:
    """The events of a case in this and all earlier versions, oldest first."""
    versions = select(Case.id).where(Case.study_id == case.study_id, Case.version <= case.version)
    query = select(CaseEvent).where(CaseEvent.case_id.in_(versions))
    return list(session.scalars(query.order_by(CaseEvent.at, CaseEvent.id)))


def image_history(session: Session, image_id: str) -> list[CaseEvent]:
    """The events of an image, oldest first."""
    query = select(CaseEvent).where(CaseEvent.image_id == image_id)
    return list(session.scalars(query.order_by(CaseEvent.at, CaseEvent.id)))


def verdicts_of(session: Session, case_id: str) -> dict[str, Verdict]:
    """The verdicts of a case, by image."""
    return {v.image_id: v for v in session.scalars(select(Verdict).where(Verdict.case_id == case_id))}
