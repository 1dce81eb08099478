# SPDX-License-Identifier: Apache-2.0
"""Before a case is signed: the characters of its report that no font can print, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.accounts.models import Project
from medhub.errors import Invalid
from medhub.foundation.keys import Keys
from medhub.records import vault
from medhub.records.models import Identity, Patient, Study
from medhub.reports.case_facts import format_fields
from medhub.reports.typography import describe_character, has_substitute, unprintable_characters
from medhub.review.models import Case
from medhub.review.queries import load_case_images
from medhub.review.service import case_history

_IDENTITY_NAMES = {
    "name": "name of the patient",
    "hospital_number": "hospital number",
    "email": "e-mail address",
    "phone": "phone number",
}


class NotPrintable(Invalid):
    """A text of the report has characters that no font can print."""

    code = "not-printable"
    title = "Some characters cannot be printed"


def check_report_texts(session: Session, keys: Keys, actor: Actor, case: Case, *, accepted: bool) -> None:
    """Raise if the report of a case cannot print all its texts, unless a person accepts codes such as [U+20089].

    Characters that have no code to print, such as control characters, must be removed.
    """
    texts = ((source, tuple(unprintable_characters(text))) for source, text in _report_texts(session, keys, case))
    unprintable = list(dict.fromkeys((source, characters) for source, characters in texts if characters))
    if not unprintable:
        return
    acceptable = all(has_substitute(character) for _, characters in unprintable for character in characters)
    if accepted and acceptable:
        return
    hidden = set() if actor.may("identity.read", case.project_id) else set(_IDENTITY_NAMES.values())
    listed = [
        {"where": source, "characters": [] if source in hidden else [describe_character(c) for c in characters]}
        for source, characters in unprintable
    ]
    sources = ", ".join(dict.fromkeys(source for source, _ in unprintable))
    remedy = (
        "Change the text, or accept that the report prints their codes, such as [U+20089], instead."
        if acceptable
        else "Remove them: they are control characters or private characters."
    )
    raise NotPrintable(
        f"The report cannot print some characters in: {sources}. {remedy} Nothing was signed.",
        unprintable=listed,
        acceptable=acceptable,
    )


def _report_texts(session: Session, keys: Keys, case: Case) -> Iterator[tuple[str, str]]:
    """The texts that people wrote and that the report prints, with what they are."""
    patient = session.get_one(Patient, case.patient_id)
    yield "project", session.get_one(Project, case.project_id).name
    identity: dict[str, Any] = vault.read_identity(keys, session.get(Identity, patient.id)) or {}
    for key, source in _IDENTITY_NAMES.items():
        yield source, identity.get(key) or ""
    for label, value in format_fields(session, patient, session.get_one(Study, case.study_id)):
        yield f"field {label}", f"{label} {value}"
    for facts in load_case_images(session, case):
        if facts.verdict is not None:
            yield f"note on image {facts.image.number}", facts.verdict.note or ""
            yield "name of a reader", facts.verdict.by
    yield "conclusion", case.sign_note or ""
    yield "reason of the correction", case.correction_reason or ""
    yield "name of the signer", case.signed_by or ""
    for event in case_history(session, case):
        if event.image_id is None and event.by != case.signed_by:
            yield "name of a person in the history", event.by
