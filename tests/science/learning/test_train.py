# SPDX-License-Identifier: Apache-2.0
"""From a recipe to a folder that serves, on discs of three colors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.science.parts import need

need("torch", "onnx")

import torch  # noqa: E402

from medhub.errors import Invalid  # noqa: E402
from medhub.science.inference.classifier import Classifier  # noqa: E402
from medhub.science.inference.preprocessing import Preprocessing  # noqa: E402
from medhub.science.learning import evaluate, train  # noqa: E402
from medhub.science.learning.architectures import ARCHITECTURES, build  # noqa: E402
from medhub.science.learning.export import ExportDiffers, Graph, compare, export  # noqa: E402
from medhub.science.learning.network import Network  # noqa: E402
from medhub.science.learning.novelty import Novelty, fit_gaussians  # noqa: E402
from medhub.science.learning.recipe import load_recipe  # noqa: E402


class Tiny(Network):
    """Small enough to learn three colors within a second."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shallow = torch.nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.deep = torch.nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.classifier = torch.nn.Linear(16, classes)

    def maps(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        shallow = torch.relu(self.shallow(images))
        return shallow, torch.relu(self.deep(shallow))


COLORS = {"blue": (70, 70, 200), "green": (70, 190, 70), "red": (200, 70, 70)}
RECIPE = """
strangers = [{ name = "stripes", pattern = "stripes/*.png" }]
[about]
name = "discs"
version = "1"
title = "Discs by color"
licence = "Apache-2.0"
intended_use = "tests"
not_for = ["anything else"]
[training]
architecture = "tiny"
epochs = 10
batch_size = 6
learning_rate = 1e-2
precision = "float32"
[preprocessing]
size = 32
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
[novelty]
components = 4
passes = 1
[source]
name = "discs"
use = "all"
licence = "none needed"
attribution = "drawn"
source = "this test"
split = "drawn"
split_file = "split.csv"
images = 72
"""


@pytest.fixture(scope="module", autouse=True)
def _a_small_world() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", Tiny)
        patch.setattr(evaluate, "GENERATED_OF_EACH_KIND", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(0)
    row, column = np.mgrid[0:40, 0:40]
    lines = ["path,label,group,split"]
    for index in range(72):
        label = list(COLORS)[index % 3]
        image = chance.normal(225, 6, (40, 40, 3))
        disc = np.hypot(row - chance.uniform(16, 24), column - chance.uniform(16, 24)) < chance.uniform(8, 14)
        image[disc] = np.array(COLORS[label]) + chance.normal(0, 8, (int(disc.sum()), 3))
        path = f"{index:03}.png"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / path)
        lines.append(f"{path},{label},{index},{('train', 'train', 'val', 'test')[index // 3 % 4]}")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    (folder / "stripes").mkdir()
    for index in range(3):
        stripes = np.where((column // (index + 2)) % 2 == 0, 0, 255).astype(np.uint8)
        Image.fromarray(np.repeat(stripes[..., None], 3, 2)).save(folder / "stripes" / f"{index}.png")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def made(data: Path) -> Path:
    out = data / "discs"
    arguments = [
        str(data / "recipe.toml"),
        "--data",
        str(data),
        "--out",
        str(out),
        "--checkpoint",
        str(data / "kept.pt"),
    ]
    assert train.main(arguments) == 0
    return out


def test_what_is_written_serves_and_knows_its_colors(data: Path, made: Path) -> None:
    classifier = Classifier.load(made)
    card = classifier.card
    assert card.labels == ("blue", "green", "red")
    accuracy = next(one for one in card.figures if one.name == "accuracy on the test part")
    assert accuracy.n == 18
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert accuracy.value > 0.8
    stripes = next(one for one in card.strangers if one.name == "stripes")
    assert (stripes.n, stripes.novel) == (3, 1.0)


def test_the_card_is_what_is_measured_again(data: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(data / "recipe.toml"), "--classifier", str(made), "--data", str(data)]
    assert evaluate.main(arguments) == 0
    assert "The card says the same." in capsys.readouterr().out
    card = (made / "card.toml").read_text()
    changed = made.parent / "changed"
    changed.mkdir()
    (changed / "model.onnx").write_bytes((made / "model.onnx").read_bytes())
    (changed / "card.toml").write_text(card.replace('name = "stripes"', 'name = "dots"'))
    assert evaluate.main([*arguments[:2], str(changed), *arguments[3:]]) == 1


def test_the_same_recipe_makes_the_same_files(data: Path, made: Path) -> None:
    again = data / "again"
    assert train.main([str(data / "recipe.toml"), "--data", str(data), "--out", str(again)]) == 0
    assert (again / "model.onnx").read_bytes() == (made / "model.onnx").read_bytes()
    assert (again / "card.toml").read_bytes() == (made / "card.toml").read_bytes()


def test_kept_weights_give_the_same_model_and_those_of_another_recipe_are_refused(
    data: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(data), "--out", str(data / "kept"), "--checkpoint", str(data / "kept.pt")]
    assert train.main([str(data / "recipe.toml"), *arguments]) == 0
    assert (data / "kept" / "model.onnx").read_bytes() == (made / "model.onnx").read_bytes()
    other = data / "other.toml"
    other.write_text(RECIPE.replace("epochs = 10", "epochs = 11"))
    assert train.main([str(other), *arguments]) == 1
    assert "another recipe" in capsys.readouterr().out


def _parts(name: str) -> tuple[Graph, Preprocessing, np.ndarray]:
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    network = build(name, 2).eval()
    with torch.inference_mode():
        widths = [one.shape[1] for one in network.maps(torch.zeros(1, 3, 32, 32))]
    targets = np.arange(40) % 2
    distance = Novelty(
        [fit_gaussians(chance.normal(size=(40, width)), targets, 3) for width in widths], [1.0] * len(widths)
    )
    images = chance.integers(0, 256, (3, 32, 32, 3), np.uint8)
    return Graph(network, distance), Preprocessing(size=32, mean=(127.5,) * 3, std=(127.5,) * 3), images


@pytest.mark.parametrize("name", ["mobilenetv2-folded", "hrnet-w18-small"])
def test_the_exported_graph_computes_what_the_network_does(name: str) -> None:
    graph, preprocessing, images = _parts(name)
    exported = export(graph.network, graph.novelty, ("a", "b"), preprocessing, images)
    assert 0 < exported.difference < 1e-4


def test_a_graph_that_computes_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, preprocessing, images = _parts("tiny")
    exported = export(graph.network, graph.novelty, ("a", "b"), preprocessing, images)
    with torch.no_grad():
        graph.network.classifier.bias.add_(0.01)
    batch = torch.from_numpy(np.zeros((1, 3, 32, 32), np.float32))
    assert compare(graph.eval(), exported.model, batch) > 1e-3
    monkeypatch.setattr("medhub.science.learning.export.compare", lambda *_: 0.5)
    with pytest.raises(ExportDiffers):
        export(graph.network, graph.novelty, ("a", "b"), preprocessing, images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 10", "epochs = 0"), "epochs"),
        (("epochs = 10", "epochs = 10\nmagic = 1"), "magic"),
        (("[about]", "[about"), "TOML"),
    ],
)
def test_a_recipe_that_cannot_be_used_says_where(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(Invalid, match=message):
        load_recipe(path)
    with pytest.raises(Invalid, match="no recipe"):
        load_recipe(tmp_path / "none.toml")


def test_the_recipe_of_the_shipped_classifier_can_be_read() -> None:
    recipe = load_recipe(Path(train.__file__).parent / "recipes" / "blood-cells.toml")
    assert recipe.about.name == "blood-cells"
