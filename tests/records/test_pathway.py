# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from medhub.accounts.permissions import Role
from medhub.foundation.settings import Settings
from medhub.records.pathway import (
    BUILTIN_FOLDER,
    PathwayInvalid,
    PathwayNotFound,
    all_pathways,
    default_pathway,
    get_pathway,
    parse_pathway,
)
from medhub.science.inference.card import load_card

TEXT = (BUILTIN_FOLDER / "smear-review.toml").read_text()


def changed(*pairs: tuple[str, str]) -> bytes:
    text = TEXT
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode()


def test_the_pathway_that_ships_says_who_may_do_what() -> None:
    pathway = get_pathway(Settings(), "smear-review")
    assert (pathway.threshold, pathway.classifier, pathway.first_stage.name) == (0.75, "blood-cells", "intake")
    assert [stage.name for stage in pathway.stages if stage.report] == ["signed"]
    verdict = pathway.act("review", "verdict")
    assert verdict is not None
    assert (verdict.roles, verdict.note_when) == ((Role.PHYSICIAN,), ("uncertain",))
    assert pathway.act("intake", "sign") is None
    assert len(pathway.digest) == 64


def test_the_digest_changes_with_any_byte_of_the_file() -> None:
    assert parse_pathway(TEXT.encode(), "x").digest != parse_pathway(TEXT.encode() + b"\n", "x").digest


def test_a_threshold_that_is_not_given_is_three_quarters() -> None:
    assert parse_pathway(changed(("threshold = 0.75", "")), "x").threshold == 0.75


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "name: Field required"),
        (b"name = ", "is not a TOML file of a pathway"),
        (b"\xff\xfe", "is not a TOML file of a pathway"),
        (b"[[stages]]\nname = 1", "smear.toml"),
        (changed(('name = "smear-review"', 'name = "Smear Review"')), "name: String should match"),
        (changed(('name = "smear-review"', 'name = "../../etc"')), "name: String should match"),
        (changed(("version = 1", "version = 0")), "version: Input should be greater"),
        (changed(("threshold = 0.75", "threshold = 1.5")), "threshold: Input should be less"),
        (changed(("threshold = 0.75", "threshold = 0")), "threshold: Input should be greater"),
        (changed(('modalities = ["GM", "XC"]', 'modalities = ["XC"]')), "modalities lacks one"),
        (changed(('modalities = ["GM", "XC"]', 'modalities = ["gm"]')), "modalities.0: String should match"),
        (changed(('modality = "GM"', 'modality = "MR"')), "modality: Input should be"),
        (changed(('leads_to = "review"', 'leads_to = "nowhere"')), "classify leads to nowhere, which is not a stage"),
        (changed(("report = true", "")), "no stage issues a report"),
        (changed(('name = "signed"', 'name = "review"')), "names of stages and labels must be unique"),
        (changed(('"eosinophil"', '"basophil"')), "names of stages and labels must be unique"),
        (changed(('roles = ["physician"]', 'roles = ["surgeon"]')), "roles.0: Input should be"),
        (changed(('act = "sign"', 'act = "autograph"')), "act: Input should be"),
        (changed(('needs = ["verdicts"]', 'needs = ["luck"]')), "needs.0: Input should be"),
        (changed(('note_when = ["uncertain"]', 'note_when = ["always"]')), "note_when.0: Input should be"),
        (changed(('not_counted = ["not-classed"]', 'not_counted = ["unicorn"]')), "not_counted has an unknown label"),
        (changed(("version = 1", 'version = 1\ncolour = "red"')), "colour: Extra inputs are not permitted"),
        (changed(("version = 1", 'version = 1\ndigest = "00"')), "is not a TOML file of a pathway"),
    ],
)
def test_a_file_that_cannot_be_followed_is_told_with_the_place(text: bytes, words: str) -> None:
    with pytest.raises(PathwayInvalid) as caught:
        parse_pathway(text, "smear.toml")
    assert words in caught.value.message
    assert caught.value.message.startswith("smear.toml")


def test_an_institutions_own_file_joins_and_wins(tmp_path: Path) -> None:
    own = changed(('name = "smear-review"', 'name = "own-way"')).replace(b'default_for = ["GM"]', b"")
    (tmp_path / "own.toml").write_bytes(own)
    (tmp_path / "smear.toml").write_bytes(changed(("threshold = 0.75", "threshold = 0.9")))
    (tmp_path / "notes.txt").write_text("not a pathway")
    pathways = all_pathways(Settings(pathways=tmp_path))
    assert set(pathways) == {"smear-review", "own-way"}
    assert pathways["smear-review"].threshold == 0.9
    assert all_pathways(Settings())["smear-review"].threshold == 0.75


def test_the_institutions_pathway_comes_before_a_built_in_one_where_both_are_the_default(tmp_path: Path) -> None:
    own = changed(('name = "smear-review"', 'name = "own-way"'))
    (tmp_path / "own.toml").write_bytes(own)
    settings = Settings(pathways=tmp_path)
    assert [default_pathway(at, "GM").name for at in (Settings(), settings)] == ["smear-review", "own-way"]  # type: ignore[union-attr]
    assert default_pathway(settings, "CT") is None
    two = tmp_path / "two"
    two.mkdir()
    (two / "own.toml").write_bytes(own)
    (two / "third.toml").write_bytes(changed(('name = "smear-review"', 'name = "third-way"')))
    with pytest.raises(PathwayInvalid, match=r"third\.toml: default_for has GM, and so has the pathway own-way"):
        all_pathways(Settings(pathways=two))


def test_a_bad_file_among_the_institutions_own_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(PathwayInvalid, match=r"broken\.toml"):
        all_pathways(Settings(pathways=tmp_path))


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(PathwayNotFound, match="“x-ray”. There are: smear-review"):  # noqa: RUF043
        get_pathway(Settings(), "x-ray")


def test_a_stage_that_vanished_from_the_file_is_told_so() -> None:
    with pytest.raises(PathwayInvalid, match="has no stage pharmacy any more"):
        get_pathway(Settings(), "smear-review").stage("pharmacy")


def test_the_limit_is_fixed_unless_it_is_to_be_learned() -> None:
    assert parse_pathway(changed(("threshold = 0.75", "")), "x").limit == "fixed"
    assert parse_pathway(changed(("threshold = 0.75", 'limit = "learned"')), "x").limit == "learned"
    with pytest.raises(PathwayInvalid, match="limit"):
        parse_pathway(changed(("threshold = 0.75", 'limit = "guessed"')), "x")


@pytest.mark.parametrize("name", ["chest-xray", "leukemia-smear"])
def test_the_research_demonstrations_have_a_pathway_with_the_labels_that_their_classifiers_know(name: str) -> None:
    root = Path(__file__).resolve().parents[2]
    pathway = parse_pathway((root / "deploy" / "pathways" / f"{name}.toml").read_bytes(), name)
    card = load_card(root / "models" / pathway.classifier)
    assert set(pathway.labels) - set(pathway.not_counted) == set(card.labels)
    assert pathway.limit == "learned"


def test_the_seven_diseases_are_ready_for_an_institutions_own_images() -> None:
    path = Path(__file__).resolve().parents[2] / "deploy" / "pathways" / "hematology-seven.toml"
    pathway = parse_pathway(path.read_bytes(), path.name)
    assert len(set(pathway.labels) - set(pathway.not_counted)) == 7
    assert pathway.limit == "learned"
