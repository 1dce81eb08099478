# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medhub.errors import Invalid
from medhub.science.inference.card import ClassifierBroken, ClassifierNotFound
from medhub.science.inference.classifier import Classifier, digest, evidence_of, softmax
from tests.science.inference import tiny


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return Classifier.load(tiny.folder(tmp_path_factory.mktemp("models") / "tiny"))


def test_probabilities_follow_the_cards_labels_and_sum_to_one(classifier: Classifier) -> None:
    reading = classifier.classify(tiny.uniform_image(60, 200, 60))
    assert list(reading.probabilities) == ["red", "green", "blue"]
    assert sum(reading.probabilities.values()) == pytest.approx(1)
    assert max(reading.probabilities, key=reading.probabilities.__getitem__) == "green"
    assert reading.milliseconds > 0


def test_the_temperature_flattens_the_probabilities(tmp_path: Path, classifier: Classifier) -> None:
    flat = Classifier.load(tiny.folder(tmp_path / "flat", temperature="4.0"))
    image = tiny.uniform_image(150, 100, 100)
    sharp = np.log(list(classifier.classify(image).probabilities.values()))
    soft = np.log(list(flat.classify(image).probabilities.values()))
    assert soft[0] - soft[1] == pytest.approx((sharp[0] - sharp[1]) / 4, rel=1e-4)


def test_an_image_above_the_limit_is_novel(classifier: Classifier) -> None:
    assert not classifier.classify(tiny.uniform_image(100, 100, 120)).novel
    far = classifier.classify(tiny.uniform_image(255, 0, 0))
    assert far.novelty == pytest.approx(4, rel=1e-3)
    assert far.novel


@pytest.mark.parametrize(
    ("rows", "columns", "novel"), [(32, 32, False), (32, 47, False), (32, 60, True), (60, 32, True)]
)
def test_an_image_longer_than_any_of_training_is_novel(
    tmp_path: Path, classifier: Classifier, rows: int, columns: int, novel: bool
) -> None:
    card = classifier.card
    shapes = card.novelty.model_copy(update={"shapes": (0.667, 1.5)})
    stricter = Classifier.load(tiny.folder(tmp_path / "tiny"))
    stricter.card = card.model_copy(update={"novelty": shapes})
    image = np.full((rows, columns, 3), (100, 100, 120), np.uint8)
    assert not classifier.classify(image).novel
    reading = stricter.classify(image)
    assert reading.novel is novel
    assert (reading.novelty > card.novelty.limit) is novel


def test_evidence_lies_where_the_label_is(classifier: Classifier) -> None:
    image = tiny.uniform_image(90, 90, 90, side=32)
    image[:16, :16] = (250, 90, 90)
    evidence = classifier.classify(image).evidence
    assert evidence.shape == (4, 4)
    assert evidence.max() == 1
    assert (evidence[:2, :2] > 0.9).all()
    assert (evidence[2:, 2:] < 0.1).all()


def test_evidence_ignores_what_speaks_for_all_labels_alike() -> None:
    maps = np.zeros((3, 2, 2), np.float32)
    maps[:, 0, 0] = 7
    maps[1, 1, 1] = 1
    np.testing.assert_array_equal(evidence_of(maps, 1), [[0, 0], [0, 1]])
    np.testing.assert_array_equal(evidence_of(np.zeros((3, 2, 2), np.float32), 0), np.zeros((2, 2)))


def test_the_same_image_reads_the_same_again_and_in_threads(classifier: Classifier) -> None:
    images = [tiny.uniform_image(red, 100, 90) for red in range(60, 140, 5)]
    alone = [classifier.classify(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(classifier.classify, images))
    for item, other in zip(alone, together, strict=True):
        assert item.probabilities == other.probabilities
        assert item.novelty == other.novelty
        np.testing.assert_array_equal(item.evidence, other.evidence)


def test_an_image_without_three_channels_is_refused(classifier: Classifier) -> None:
    with pytest.raises(Invalid):
        classifier.classify(np.zeros((40, 40), np.uint8))


def test_the_digest_is_the_checksum_of_the_listing_and_changes_with_either_file(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "tiny")
    listing = "".join(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in ("card.toml", "model.onnx")
    )
    first = digest(folder)
    assert first == hashlib.sha256(listing.encode()).hexdigest() == Classifier.load(folder).digest
    with (folder / "card.toml").open("a") as card:
        card.write("# changed\n")
    assert digest(folder) != first


def test_a_folder_without_a_model_is_not_whole(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "tiny")
    (folder / "model.onnx").unlink()
    with pytest.raises(ClassifierNotFound, match=r"no model\.onnx"):
        Classifier.load(folder)
    with pytest.raises(ClassifierNotFound, match=r"no card\.toml"):
        Classifier.load(tmp_path / "elsewhere")


def test_a_model_that_the_card_was_not_written_for_is_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "tiny")
    (folder / "model.onnx").write_bytes(tiny.model() + b"\x00")
    with pytest.raises(ClassifierBroken, match="checksums differ"):
        Classifier.load(folder)


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (b"this is not a model", {}, "cannot be loaded"),
        (b"", {}, "cannot be loaded"),
        (tiny.model(outputs=3), {}, "novelty"),
        (tiny.model(), {"size": "64"}, "preprocessing"),
        (tiny.model(), {"labels": '["red", "green"]'}, "labels"),
        (tiny.model(), {"labels": '["blue", "green", "red"]'}, "labels"),
    ],
)
def test_a_model_that_does_not_fit_its_card_is_refused(
    tmp_path: Path, data: bytes, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ClassifierBroken, match=message):
        Classifier.load(tiny.folder(tmp_path / "tiny", data, **changes))


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([1e4, 0.0, -1e4])), [1, 0, 0])
    np.testing.assert_allclose(softmax(np.array([[-1e4, -1e4]])), [[0.5, 0.5]])


def test_reading_images_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, medhub.science.inference.decision, medhub.science.inference.explanation;"
        "print(sorted({'torch', 'onnx', 'tflite'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
