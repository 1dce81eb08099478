# SPDX-License-Identifier: Apache-2.0
"""The rules of review: pure functions of a pathway, a stage, a role and counts."""

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
    """The act is not possible in the stage of the case."""

    code = "wrong-stage"


class WrongRole(NotAllowed):
    """The pathway allows this act to other roles only."""

    code = "wrong-role"


class LabelUnknown(Invalid):
    """The pathway has no such label."""

    code = "label-unknown"


class NoteRequired(Invalid):
    """The verdict needs a written note."""

    code = "note-required"


class CaseNotReady(Conflict):
    """The case cannot be signed yet."""

    code = "case-not-ready"


def require_act(pathway: Pathway, stage: str, act: ActName, role: Role | None) -> StageAct:
    """The pathway's definition of an act in a stage; raises if the stage or the role does not allow it."""
    stage_act = pathway.act(stage, act)
    title = pathway.stage(stage).title
    if stage_act is None:
        if pathway.stage(stage).report:
            raise WrongStage(
                "The case is signed and does not change. For a change, open a correction: "
                "it becomes a new version that refers to this one.",
                stage=stage,
            )
        raise WrongStage(f"The case is in the stage “{title}”, in which nobody can {WORDS[act]}.", stage=stage)
    if role not in stage_act.roles:
        raise WrongRole(
            f"In the stage “{title}” this is for: {', '.join(stage_act.roles) or 'nobody'}. You cannot {WORDS[act]}.",
            action=act,
        )
    return stage_act


def check_verdict(
    pathway: Pathway, act: StageAct, label: str, note: str | None, *, uncertain: bool, predicted: str | None
) -> None:
    """Raise if the pathway does not have the label, or if the verdict lacks a required note."""
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


def signing_blockers(act: StageAct | None, *, images: int, waiting: int, verified: int) -> list[str]:
    """The reasons why a case cannot be signed yet, in words."""
    if act is None or "verdicts" not in act.needs:
        return []
    reasons = []
    if images == 0:
        reasons.append("The case has no images.")
    if waiting:
        reasons.append(f"{_count_words(waiting)} still {'waits' if waiting == 1 else 'wait'} for the classifier.")
    if missing := images - waiting - verified:
        reasons.append(f"{_count_words(missing)} {'has' if missing == 1 else 'have'} no verdict.")
    return reasons


def is_ready_to_sign(act: StageAct | None, *, images: int, waiting: int, verified: int) -> bool:
    """Whether a case only waits for the signature: its stage asks for verdicts, and every image has one."""
    if act is None or "verdicts" not in act.needs:
        return False
    return not signing_blockers(act, images=images, waiting=waiting, verified=verified)


def _count_words(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def waiting_roles(pathway: Pathway, stage: str) -> Collection[Role]:
    """The roles that a stage waits for: those that may do an act that leads to another stage."""
    return {
        role
        for act in pathway.stage(stage).acts
        if act.leads_to is not None and act.act != "correct"
        for role in act.roles
    }
