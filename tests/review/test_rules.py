# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medhub.accounts.permissions import Role
from medhub.foundation.settings import Settings
from medhub.records.pathway import Pathway, StageAct, get_pathway, parse_pathway
from medhub.review.rules import (
    WORDS,
    CaseNotReady,
    LabelUnknown,
    NoteRequired,
    WrongRole,
    WrongStage,
    check_verdict,
    require_act,
    signing_blockers,
    waiting_roles,
)

PATHWAY: Pathway = get_pathway(Settings(), "smear-review")

# A pathway whose stages ask more: both notes, and a pharmacist who signs after the physician.
STRICT = parse_pathway(
    b"""
name = "two-signatures"
title = "Two signatures"
version = 1
labels = ["yes", "no"]
classifier = "x"

[[stages]]
name = "reading"
title = "Reading"
[[stages.acts]]
act = "verdict"
roles = ["physician"]
note_when = ["uncertain", "disagreeing"]
[[stages.acts]]
act = "sign"
roles = ["physician"]
needs = ["verdicts"]
leads_to = "checking"

[[stages]]
name = "checking"
title = "Checking"
[[stages.acts]]
act = "sign"
roles = ["pharmacist", "administrator"]
leads_to = "done"

[[stages]]
name = "done"
title = "Done"
report = true
""",
    "two-signatures.toml",
)


def act_of(pathway: Pathway, stage: str, act: str) -> StageAct:
    stage_act = pathway.act(stage, act)  # type: ignore[arg-type]
    assert stage_act is not None
    return stage_act


@pytest.mark.parametrize("pathway", [PATHWAY, STRICT], ids=lambda pathway: pathway.name)
@pytest.mark.parametrize("act", WORDS)
@pytest.mark.parametrize("role", [*Role, None])
def test_an_act_is_allowed_exactly_where_the_file_says_so(pathway: Pathway, act: str, role: Role | None) -> None:
    for stage in pathway.stages:
        named = pathway.act(stage.name, act)  # type: ignore[arg-type]
        if named is None:
            with pytest.raises(WrongStage):
                require_act(pathway, stage.name, act, role)  # type: ignore[arg-type]
        elif role in named.roles:
            assert require_act(pathway, stage.name, act, role) is named  # type: ignore[arg-type]
        else:
            with pytest.raises(WrongRole):
                require_act(pathway, stage.name, act, role)  # type: ignore[arg-type]


def test_a_refusal_says_for_whom_the_act_is_and_what_to_do() -> None:
    with pytest.raises(WrongRole, match="“Waiting for verdicts” this is for: physician. You cannot sign the case"):  # noqa: RUF043
        require_act(PATHWAY, "review", "sign", Role.TECHNOLOGIST)
    with pytest.raises(WrongRole, match="this is for: nobody"):
        require_act(PATHWAY, "intake", "classify", Role.ADMINISTRATOR)
    with pytest.raises(WrongStage, match="nobody can give a verdict"):
        require_act(PATHWAY, "intake", "verdict", Role.PHYSICIAN)
    with pytest.raises(WrongStage, match="open a correction"):
        require_act(PATHWAY, "signed", "verdict", Role.PHYSICIAN)


verdicts = st.tuples(
    st.sampled_from(["yes", "no"]),
    st.sampled_from([None, "", "because"]),
    st.booleans(),
    st.sampled_from([None, "yes", "no"]),
)


@given(verdicts)
def test_a_note_is_demanded_exactly_where_the_file_says_so(
    verdict: tuple[str, str | None, bool, str | None],
) -> None:
    label, note, uncertain, predicted = verdict
    predicted = None if uncertain else predicted
    needed = uncertain or (predicted is not None and predicted != label)
    act = act_of(STRICT, "reading", "verdict")
    if needed and not note:
        with pytest.raises(NoteRequired) as caught:
            check_verdict(STRICT, act, label, note, uncertain=uncertain, predicted=predicted)
        assert caught.value.facts["field"] == "note"
    else:
        check_verdict(STRICT, act, label, note, uncertain=uncertain, predicted=predicted)


def test_where_only_uncertainty_asks_for_a_note_a_disagreement_needs_none() -> None:
    act = act_of(PATHWAY, "review", "verdict")
    check_verdict(PATHWAY, act, "basophil", None, uncertain=False, predicted="neutrophil")
    with pytest.raises(NoteRequired, match="uncertain"):
        check_verdict(PATHWAY, act, "basophil", None, uncertain=True, predicted=None)


@pytest.mark.parametrize("label", ["", "Basophil", "unicorn", "Uncertain", "basophil "])
def test_a_label_is_one_of_the_files_letter_by_letter(label: str) -> None:
    act = act_of(PATHWAY, "review", "verdict")
    with pytest.raises(LabelUnknown, match="not-classed") as caught:
        check_verdict(PATHWAY, act, label, "a note", uncertain=False, predicted=None)
    assert caught.value.facts["field"] == "label"


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_case_is_ready_exactly_when_every_image_has_a_verdict(waiting: int, verified: int, missing: int) -> None:
    images = waiting + verified + missing
    reasons = signing_blockers(act_of(PATHWAY, "review", "sign"), images=images, waiting=waiting, verified=verified)
    assert (reasons == []) == (images > 0 and waiting == 0 and missing == 0)


@pytest.mark.parametrize(
    ("images", "waiting", "verified", "reasons"),
    [
        (0, 0, 0, ["The case has no images."]),
        (1, 1, 0, ["1 image still waits for the classifier."]),
        (2, 2, 0, ["2 images still wait for the classifier."]),
        (1, 0, 0, ["1 image has no verdict."]),
        (5, 1, 2, ["1 image still waits for the classifier.", "2 images have no verdict."]),
        (3, 0, 3, []),
    ],
)
def test_what_is_missing_is_told_in_words(images: int, waiting: int, verified: int, reasons: list[str]) -> None:
    act = act_of(PATHWAY, "review", "sign")
    assert signing_blockers(act, images=images, waiting=waiting, verified=verified) == reasons


def test_an_act_that_needs_nothing_has_nothing_in_its_way() -> None:
    assert signing_blockers(act_of(STRICT, "checking", "sign"), images=3, waiting=3, verified=0) == []
    assert signing_blockers(None, images=0, waiting=0, verified=0) == []


def test_it_is_the_turn_of_who_may_lead_on() -> None:
    assert set(waiting_roles(PATHWAY, "review")) == {Role.PHYSICIAN}
    assert set(waiting_roles(PATHWAY, "intake")) == set()  # the classifier's turn
    assert set(waiting_roles(PATHWAY, "signed")) == set()  # a correction is nobody's duty
    assert set(waiting_roles(STRICT, "checking")) == {Role.PHARMACIST, Role.ADMINISTRATOR}


def test_refusals_are_of_the_kinds_that_protocols_know() -> None:
    from medhub.errors import Conflict, Invalid, NotAllowed

    assert issubclass(WrongRole, NotAllowed)
    assert issubclass(WrongStage, Conflict)
    assert issubclass(CaseNotReady, Conflict)
    assert issubclass(NoteRequired, Invalid)
