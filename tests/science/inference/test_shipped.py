# SPDX-License-Identifier: Apache-2.0
"""The classifier that ships, on the demonstration's images and on what it was not made for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medhub.science.inference.classifier import Classifier
from medhub.science.inference.decision import decide
from medhub.science.inference.explanation import overlay

ROOT = Path(__file__).resolve().parents[3]
DEMO = sorted((ROOT / "demo" / "blood-cells").glob("*/*.jpg"))
BCCD = ROOT.parent / "shared" / "data" / "blood" / "bccd" / "images"
THRESHOLD = 0.75

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(ROOT / "models" / "blood-cells")


def _read(path: Path) -> Picture:
    return np.asarray(Image.open(path).convert("RGB"))


def _share_right(classifier: Classifier, images: list[Picture]) -> float:
    decision = [decide(classifier.classify(image), THRESHOLD).label for image in images]
    return float(np.mean([label == path.parent.name for label, path in zip(decision, DEMO, strict=True)]))


def test_it_names_the_demonstrations_cells(classifier: Classifier) -> None:
    assert len(DEMO) == 30
    assert {path.parent.name for path in DEMO} == set(classifier.card.labels)
    assert _share_right(classifier, [_read(path) for path in DEMO]) >= 0.9


@pytest.mark.parametrize("side", [100, 360, 512])
def test_it_names_them_at_other_sizes(classifier: Classifier, side: int) -> None:
    images = [np.asarray(Image.open(path).resize((side, side), Image.Resampling.BICUBIC)) for path in DEMO]
    assert _share_right(classifier, images) >= 0.8


def test_it_names_them_after_another_compression(classifier: Classifier) -> None:
    images = []
    for path in DEMO:
        buffer = io.BytesIO()
        Image.open(path).save(buffer, "JPEG", quality=50)
        images.append(np.asarray(Image.open(buffer)))
    assert _share_right(classifier, images) >= 0.8


def _mosaic() -> Picture:
    cells = [_read(path)[32:192, 32:192] for path in DEMO[:12]]
    return np.concatenate([np.concatenate(cells[row * 4 : row * 4 + 4], axis=1) for row in range(3)])


def _out_of_distribution() -> dict[str, Picture]:
    chance = np.random.default_rng(7)
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    return {
        "black": np.zeros((300, 300, 3), np.uint8),
        "white": np.full((300, 300, 3), 255, np.uint8),
        "one pixel": np.full((1, 1, 3), 120, np.uint8),
        "noise": chance.integers(0, 256, (300, 300, 3), np.uint8),
        "gradient": np.repeat(np.broadcast_to(ramp, (300, 300))[..., None], 3, 2).copy(),
        "inverted cell": 255 - _read(DEMO[0]),
        "many cells": _mosaic(),
        "a strip of an image": _read(DEMO[0])[:40],
    }


@pytest.mark.parametrize("name", _out_of_distribution())
def test_what_it_was_not_made_for_comes_out_uncertain(classifier: Classifier, name: str) -> None:
    decision = decide(classifier.classify(_out_of_distribution()[name]), THRESHOLD)
    assert decision.label == "Uncertain"
    assert decision.reason


@pytest.mark.skipif(not BCCD.is_dir(), reason="the shared data are not here")
def test_whole_smear_fields_come_out_uncertain(classifier: Classifier) -> None:
    images = sorted(BCCD.glob("*.jpg"))
    fields = images[:: len(images) // 20][:20]
    assert len(fields) == 20
    assert all(decide(classifier.classify(_read(path)), THRESHOLD).uncertain for path in fields)


def test_the_evidence_lies_more_on_the_cell_than_beside_it(classifier: Classifier) -> None:
    inside = []
    for path in DEMO:
        evidence = classifier.classify(_read(path)).evidence
        side = evidence.shape[0]
        middle = evidence[1 : side - 1, 1 : side - 1]
        inside.append(middle.mean() / evidence.mean())
    assert np.median(inside) > 1


def test_an_overlay_has_the_size_of_its_image(classifier: Classifier) -> None:
    image = _read(DEMO[0])
    mixed = overlay(image, classifier.classify(image).evidence, 0.5)
    assert mixed.shape == image.shape
    assert (mixed != image).any()


def test_the_card_names_what_the_law_of_its_images_asks_for(classifier: Classifier) -> None:
    card = classifier.card
    assert any(data.licence == "CC BY 4.0" and "Acevedo" in data.attribution for data in card.data)
    assert card.start is not None
    assert card.start.licence == "Apache-2.0"
    assert all(figure.command for figure in card.figures)
    assert any("iagnosis" in sentence for sentence in card.not_for)
