# SPDX-License-Identifier: Apache-2.0
"""Starting from a classifier that is there, of which only the exported file is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.science.optional_packages import need

need("torch", "onnx")

import onnxruntime  # noqa: E402
import torch  # noqa: E402  # Only where it is there; see need.

from medhub.errors import Invalid  # noqa: E402
from medhub.science.inference.card import load_card  # noqa: E402
from medhub.science.inference.classifier import INPUT, Classifier  # noqa: E402
from medhub.science.inference.preprocessing import normalize  # noqa: E402
from medhub.science.learning.architectures import build_network  # noqa: E402
from medhub.science.learning.initialization import initialize_weights  # noqa: E402
from medhub.science.learning.network import Network  # noqa: E402

SHIPPED = ("blood-cells", "blood-cells-mobilenetv2")


def _folder(name: str) -> Path:
    return ROOT / "models" / name


def _images(side: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (8, side, side, 3), np.uint8)


def _started(name: str, images: np.ndarray | None = None) -> Network:
    card = load_card(_folder(name))
    network = build_network(card.architecture, 3)
    initialize_weights(network, card.architecture, str(_folder(name)), Path(), images, card.preprocessing)
    return network.eval()


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("with_images", [False, True])
def test_the_network_computes_what_the_classifier_does(name: str, with_images: bool) -> None:
    card = load_card(_folder(name))
    images = _images(card.preprocessing.size)
    network = _started(name, images if with_images else None)
    batch = normalize(images[:2], card.preprocessing)
    session = onnxruntime.InferenceSession(str(_folder(name) / "model.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["features"], {INPUT: batch})
    with torch.inference_mode():
        computed = network.maps(torch.from_numpy(batch))[-1].mean((2, 3)).numpy()
    assert np.abs(computed - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def test_learning_goes_on_from_about_the_same_place() -> None:
    """In training each batch is normalized by itself; only with its true mean and variance is that nearly the same."""
    card = load_card(_folder("blood-cells"))
    images = _images(card.preprocessing.size)
    batch = torch.from_numpy(normalize(images, card.preprocessing))
    apart = {}
    for known in (None, images):
        network = _started("blood-cells", known)
        with torch.no_grad():
            expected = network.maps(batch)[-1].mean((2, 3))
            computed = network.train().maps(batch)[-1].mean((2, 3))
        apart[known is not None] = float((computed - expected).square().mean() / expected.square().mean())
    assert apart[True] < 1e-3
    assert apart[False] > 100 * apart[True]


def test_a_classifier_of_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot start a mobilenetv2"):
        initialize_weights(build_network("mobilenetv2", 3), "mobilenetv2", str(_folder("blood-cells")), Path())
    from medhub.science.learning.onnx_weights import load_onnx

    with pytest.raises(Invalid, match="another architecture"):
        load_onnx(build_network("hrnet-w18-small-v2", 3), _folder("blood-cells") / "model.onnx")


def test_another_normalization_of_the_input_is_refused() -> None:
    card = load_card(_folder("blood-cells"))
    other = card.preprocessing.model_copy(update={"mean": (1.0, 2.0, 3.0)})
    with pytest.raises(Invalid, match="was trained with mean"):
        initialize_weights(
            build_network(card.architecture, 3), card.architecture, str(_folder("blood-cells")), Path(), None, other
        )


def test_the_card_will_name_where_it_began() -> None:
    card = load_card(_folder("blood-cells"))
    start = initialize_weights(build_network(card.architecture, 3), card.architecture, "blood-cells", ROOT / "models")
    assert start.name == f"blood-cells {card.version}"
    assert Classifier.load(_folder("blood-cells")).digest in start.source
    assert start.licence == card.licence
