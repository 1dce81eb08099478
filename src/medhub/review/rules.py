# SPDX-License-Identifier: Apache-2.0
"""The rules of review, as pure functions of a pathway, a stage, a person's role and what is known."""

from __future__ import annotations

from collections.abc import Collection

from medhub.accounts.permissions import Role
from medhub.errors import Conflict, Invalid, NotAllowed
from medhub.records.pathway import ActName, Pathway, StageAct

WORDS: dict[ActName, str] = {
    "upload": "upload images",
    "classify": "classify images",
    "verdict": "give a verdict",
    "sign": "sign the case",
    "correct": "open a correction",
}


class WrongStage(Conflict):
    """The stage that the case is in has no such act."""

    code = "wrong-stage"


class WrongRole(NotAllowed):
    """The pathway gives this act to other roles."""

    code = "wrong-role"


class LabelUnknown(Invalid):
    """The pathway has no such label."""

    code = "label-unknown"


class NoteRequired(Invalid):
    """A written note is needed here."""

    code = "note-required"


class CaseNotReady(Conflict):
    """Something is missing before the case can be signed."""

    code = "case-not-ready"


def require_act(pathway: Pathway, stage: str, act: ActName, role: Role | None) -> StageAct:
    """What the pathway says of an act in a stage; raise where the stage or the role does not allow it."""
    found = pathway.act(stage, act)
    title = pathway.stage(stage).title
    if found is None:
        if pathway.stage(stage).report:
            raise WrongStage(
                "The case is signed and does not change. To say something else, open a correction: "
                "it becomes a new version that names this one.",
                stage=stage,
            )
        raise WrongStage(f"The case is in the stage “{title}”, in which nobody can {WORDS[act]}.", stage=stage)
    if role not in found.roles:
        raise WrongRole(
            f"In the stage “{title}” this is for: {', '.join(found.roles) or 'nobody'}. You cannot {WORDS[act]}.",
            action=act,
        )
    return found


def check_verdict(
    pathway: Pathway, act: StageAct, label: str, note: str | None, *, uncertain: bool, predicted: str | None
) -> None:
    """Refuse a label that the pathway does not know, and a verdict without a note where one is needed."""
    if label not in pathway.labels:
        raise LabelUnknown(
            f"“{label}” is no label of this pathway. Its labels: {', '.join(pathway.labels)}.", field="label"
        )
    if note:
        return
    if uncertain and "uncertain" in act.note_when:
        raise NoteRequired(
            "The classifier was uncertain here. Write in a note what you see, then give the verdict again.",
            field="note",
        )
    if predicted is not None and label != predicted and "disagreeing" in act.note_when:
        raise NoteRequired("The verdict differs from the classifier's. Write in a note why.", field="note")


def blockers(act: StageAct | None, *, images: int, waiting: int, verified: int) -> list[str]:
    """What stands in the way of signing, in words."""
    if act is None or "verdicts" not in act.needs:
        return []
    found = []
    if images == 0:
        found.append("The case has no images.")
    if waiting:
        found.append(f"{_images(waiting)} still {'waits' if waiting == 1 else 'wait'} for the classifier.")
    if missing := images - waiting - verified:
        found.append(f"{_images(missing)} {'has' if missing == 1 else 'have'} no verdict.")
    return found


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def waiting_roles(pathway: Pathway, stage: str) -> Collection[Role]:
    """Whose turn it is in a stage: those who may do what leads on."""
    return {
        role
        for act in pathway.stage(stage).acts
        if act.leads_to is not None and act.act != "correct"
        for role in act.roles
    }
