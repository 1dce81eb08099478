# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medhub.errors import Invalid
from medhub.science.inference.card import load_card
from medhub.science.inference.classifier import Classifier, digest, softmax
from medhub.science.learning.card_figures import COMMAND, card_parts, list_differences
from medhub.science.learning.card_page import page
from medhub.science.learning.dataset import ListingRow
from medhub.science.learning.evaluation import compute_results
from medhub.science.learning.measurement import measure
from medhub.science.learning.recalibration import ClassifierExists, recalibrate, split_for_calibration, target_of
from medhub.science.learning.recipe import AbstentionRecipe
from tests.science.inference import tiny

PROMISE = AbstentionRecipe(target_error=0.2)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[ListingRow, ...]:
    """Images whose greatest channel is their label, but for blue, which the classifier says too seldom."""
    folder = tmp_path_factory.mktemp("images")
    chance = np.random.default_rng(3)
    result = []
    for index in range(240):
        color = chance.integers(70, 190, 3)
        label = tiny.LABELS[int((color / 100 + np.array([0.0, 0.0, 0.35]) + chance.normal(0, 0.2, 3)).argmax())]
        path = folder / f"{index}.png"
        Image.fromarray(tiny.uniform_image(*map(int, color))).save(path)
        result.append(ListingRow(path, path.name, label, group=str(index // 3), split="val" if index < 150 else "test"))
    return tuple(result)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("classifier") / "tiny")


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory, before: Path, rows: tuple[ListingRow, ...]) -> Path:
    out = tmp_path_factory.mktemp("anew") / "tiny"
    recalibrate(before, rows, out, version="2", target=PROMISE, note="Our own camera.")
    return out


def test_another_version_is_written_and_the_one_before_is_left_alone(before: Path, after: Path) -> None:
    old, new = load_card(before), load_card(after)
    assert (old.version, old.temperature, old.offsets) == ("1", 1.0, ())
    assert new.version == "2"
    assert (after / "model.onnx").read_bytes() == (before / "model.onnx").read_bytes()
    assert new.recalibrated is not None
    assert (new.recalibrated.of, new.recalibrated.digest) == ("tiny 1", digest(before))
    assert new.recalibrated.images == (150, 90)
    assert digest(after) != digest(before)
    assert "Our own camera." in page(new)


def test_its_confidence_means_more_than_before(before: Path, after: Path, rows: tuple[ListingRow, ...]) -> None:
    test = [row for row in rows if row.split == "test"]
    old, new = (compute_results(measure(Classifier.load(row), test), 50) for row in (before, after))
    offsets = load_card(after).offsets
    assert offsets[2] == max(offsets)
    assert new.ece < old.ece
    assert new.accuracy.value > old.accuracy.value


def test_offsets_are_added_after_the_temperature(after: Path, rows: tuple[ListingRow, ...]) -> None:
    classifier = Classifier.load(after)
    card = classifier.card
    image = np.asarray(Image.open(rows[0].path))
    logits, activation, _ = classifier.run(image)
    assert activation.mean((1, 2)) == pytest.approx(logits, abs=1e-5)
    expected = softmax(logits / card.temperature + np.array(card.offsets))
    assert list(classifier.classify(image).probabilities.values()) == pytest.approx(expected.tolist())


def test_the_limit_and_the_figures_are_those_of_the_new_version(after: Path, rows: tuple[ListingRow, ...]) -> None:
    card = load_card(after)
    assert card.abstention is not None
    assert (card.abstention.target_error, card.abstention.n, card.abstention.groups) == (0.2, 150, 50)
    test = [row for row in rows if row.split == "test"]
    result = measure(Classifier.load(after), test)
    assert result.threshold == card.abstention.threshold
    parts = card_parts(result, compute_results(result), COMMAND.format(name="tiny"))
    assert list_differences(card, parts) == []
    assert card.out_of_distribution == ()


def test_nothing_that_is_there_is_written_over(
    before: Path, after: Path, rows: tuple[ListingRow, ...], tmp_path: Path
) -> None:
    unchanged = hashlib.sha256((after / "card.toml").read_bytes()).digest()
    with pytest.raises(ClassifierExists, match="never changed"):
        recalibrate(before, rows, after, version="3", target=PROMISE)
    assert hashlib.sha256((after / "card.toml").read_bytes()).digest() == unchanged
    with pytest.raises(ClassifierExists, match="another version"):
        recalibrate(before, rows, tmp_path / "out", version="1", target=PROMISE)


def test_images_that_cannot_calibrate_are_named(before: Path, rows: tuple[ListingRow, ...], tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="part test"):
        recalibrate(before, rows[:150], tmp_path / "out", version="2", target=PROMISE)
    strange = ListingRow(rows[0].path, rows[0].name, "werewolf", "w", "val")
    with pytest.raises(Invalid, match="werewolf"):
        recalibrate(before, (*rows, strange), tmp_path / "out", version="2", target=PROMISE)
    (tmp_path / "broken.png").write_bytes(b"no image")
    broken = ListingRow(tmp_path / "broken.png", "broken.png", "red", "b", "val")
    with pytest.raises(Invalid, match=r"broken\.png"):
        recalibrate(before, (*rows, broken), tmp_path / "out", version="2", target=PROMISE)
    assert not (tmp_path / "out").exists()


def test_without_parts_groups_are_divided_between_both(before: Path, rows: tuple[ListingRow, ...]) -> None:
    bare = [ListingRow(row.path, row.name, row.label, row.group) for row in rows]
    result = split_for_calibration(load_card(before), bare)
    parts = {part: {row.group for row in result if row.split == part} for part in ("val", "test")}
    assert len(parts["val"]) + len(parts["test"]) == 80
    assert not parts["val"] & parts["test"]
    assert len(parts["val"]) > 2 * len(parts["test"]) > 0


def test_the_promise_is_that_of_the_card_unless_another_is_asked_for(after: Path) -> None:
    card = load_card(after)
    assert target_of(card) == PROMISE
    assert target_of(card, 0.1, 0.95) == AbstentionRecipe(target_error=0.1, confidence=0.95)
    with pytest.raises(Invalid, match="between 0 and 1"):
        target_of(card, 1.5)
