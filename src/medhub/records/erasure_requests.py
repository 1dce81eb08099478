# SPDX-License-Identifier: Apache-2.0
"""Before an erasure: what it would destroy, the reason, and the second person where the project demands one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.accounts.independence import require_independent
from medhub.accounts.models import Project
from medhub.errors import Conflict, Invalid
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.keys import Keys
from medhub.foundation.visible_text import require_text
from medhub.records import vault
from medhub.records.erasure import count_all_held, erase_patient
from medhub.records.models import Erasure, ErasureRequest, Identity, Patient
from medhub.records.service import get_patient


class ErasureAlreadyRequested(Conflict):
    """The same person requested this erasure before."""

    code = "erasure-requested"


class NoErasureRequest(Conflict):
    """Nobody requested this erasure."""

    code = "erasure-not-requested"


@dataclass(frozen=True)
class ErasurePreview:
    """What an erasure would destroy, and who requested it."""

    contents: Mapping[str, Any]
    needs_second_person: bool
    request: ErasureRequest | None


def preview_erasure(session: Session, actor: Actor, patient_id: str) -> ErasurePreview:
    """Count what the erasure of a patient would destroy."""
    patient = get_patient(session, actor, patient_id, "patient.erase")
    _record(session, actor, "patient.read", patient)
    project = session.get_one(Project, patient.project_id)
    contents = {name: value for name, value in count_all_held(session, patient.id).items() if value}
    return ErasurePreview(contents, project.erasure_by_two, _find_request(session, patient.id))


def request_erasure(
    session: Session, app: AppContext, actor: Actor, patient_id: str, reason: str
) -> Erasure | ErasureRequest:
    """Erase a patient with a reason; if the project demands two people, the first requests and the second erases."""
    serialize_writers(session, f"patient {patient_id}")
    patient = get_patient(session, actor, patient_id, "patient.erase")
    reason = _check_reason(session, app.keys, patient, reason)
    if not session.get_one(Project, patient.project_id).erasure_by_two:
        return erase_patient(session, app, actor, patient_id, reason=reason)
    request = _find_request(session, patient.id)
    if request is not None:
        if request.requested_by_id == actor.user_id:
            raise ErasureAlreadyRequested(
                "You requested this erasure. Another administrator of the project must erase."
            )
        days = app.settings.second_person_days
        require_independent(session, request.requested_by_id, actor.user_id, days, "patient.erase")
        return erase_patient(session, app, actor, patient_id, reason=request.reason, requested_by=request.requested_by)
    request = ErasureRequest(
        id=ids.new_id(),
        project_id=patient.project_id,
        patient_id=patient.id,
        reason=reason,
        requested_at=clock.now(),
        requested_by_id=actor.user_id,
        requested_by=actor.name[:200],
    )
    session.add(request)
    _record(session, actor, "patient.erasure-request", patient)
    session.flush()
    return request


def withdraw_request(session: Session, actor: Actor, patient_id: str) -> None:
    """Withdraw or reject the request of an erasure; the patient stays."""
    patient = get_patient(session, actor, patient_id, "patient.erase")
    request = _find_request(session, patient.id)
    if request is None:
        raise NoErasureRequest("Nobody requested the erasure of this patient, or it was withdrawn.")
    session.delete(request)
    _record(session, actor, "patient.erasure-withdraw", patient)


def _find_request(session: Session, patient_id: str) -> ErasureRequest | None:
    return session.scalar(select(ErasureRequest).where(ErasureRequest.patient_id == patient_id))


def _record(session: Session, actor: Actor, action: str, patient: Patient) -> None:
    actor.record(session, action, "patient", patient.id, project_id=patient.project_id, patient_id=patient.id)


def _check_reason(session: Session, keys: Keys, patient: Patient, reason: str) -> str:
    """The reason, which stays in the certificate and therefore must not name the patient."""
    reason = require_text(reason, "Write why the patient is erased.", "reason")
    words = set(_words(reason))
    identity = vault.read_identity(keys, session.get(Identity, patient.id)) or {}
    for value in identity.values():
        if any(len(word) > 2 and word in words for word in _words(value)) or (value and value in reason):
            raise Invalid(
                "The reason names the patient. It stays in the certificate: write it without a name or number.",
                field="reason",
            )
    return reason


def _words(text: str) -> list[str]:
    letters = unicodedata.normalize("NFKD", text).casefold()
    return re.findall(r"\w+", "".join(sign for sign in letters if not unicodedata.combining(sign)))
