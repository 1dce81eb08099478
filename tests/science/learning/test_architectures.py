# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from medhub.errors import Invalid
from tests.science.optional_packages import need

need("torch", "onnx")

import torch  # noqa: E402

from medhub.science.learning.architectures import ARCHITECTURES, build_network, count_parameters, register  # noqa: E402
from medhub.science.learning.dataset import labels_of, load_images, part_of, read_listing  # noqa: E402
from medhub.science.learning.initialization import initialize_weights  # noqa: E402
from medhub.science.learning.mobilenetv2 import MobileNetV2  # noqa: E402
from medhub.science.learning.network import HEAD_PREFIXES, Architecture, Network  # noqa: E402
from medhub.science.learning.recipe import read_recipe  # noqa: E402
from medhub.science.learning.training_loop import train  # noqa: E402
from tests.science.learning.discs import RECIPE, draw_discs  # noqa: E402


def test_the_architectures_have_the_published_sizes() -> None:
    assert count_parameters(build_network("hrnet-w18-small", 4)) == 11_146_660
    assert count_parameters(build_network("mobilenetv2", 4)) == 2_228_996


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_last_map_has_stride_32_and_the_head_reads_its_mean(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, 3).eval()
    with torch.inference_mode():
        images = torch.randn(2, 3, 64, 64)
        maps = network.maps(images)
        assert maps[-1].shape[2:] == (2, 2)
        assert [each.shape[2] for each in maps] == sorted((each.shape[2] for each in maps), reverse=True)
        torch.testing.assert_close(network(images), network.classifier(maps[-1].mean((2, 3))))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_weight_takes_part(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, 3)
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


# SHA-256 of the sorted lines "NAME SHAPE" of the state dict that timm 1.0.31 makes of each, with 1,000 classes. Loaded
# with equal random weights, the two also give equal logits (greatest difference 0.0).
PUBLISHED = {
    "hrnet-w18": "2727a8f29aa660a99dc89dbc926e684ac166d8733b5534f7f82d828966cc7bf3",
    "hrnet-w18-small": "cdbf0a1b7aa8a2ecc423153f41cc0c624181076b0cec2afc8438e7fea41f6916",
    "hrnet-w18-small-v2": "89b1ed909da4e6f85c94041f3dba0f6817159a43d5210645bc11baf4b2345866",
    "hrnet-w32": "28985285d885828c4bff604bee5fd7e8790e4ed2ed1d6cbff552fbe3de6dcb67",
    "mobilenetv2": "9b97d319a1b6986f31992b5b74e083109e825959a943b7610aeb619fc6d70fd2",
    "mobilenetv2-0.35": "108e1cf1c707f4c3e523721419b5036d3a6414f3db3319542e120ddc7f88cdfd",
    "mobilenetv2-0.5": "b3092ca409e69216a2e80102003e04eba55e0a11993435c9bf1c2d478afa5eed",
    "mobilenetv2-0.75": "feace0e9a9947cb7a0702f9a4dc9e47af8946a95329e98258d5f839e704f7c9a",
    "mobilenetv2-1.4": "c7538553828435382648a3e4b14f21859cc7d73cab46ad4482e61918d570a071",
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_the_state_dict_has_the_names_and_shapes_of_the_published_weights(name: str) -> None:
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in build_network(name, 1000).state_dict().items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED[name]


def test_each_published_architecture_names_its_model() -> None:
    assert {name for name, architecture in ARCHITECTURES.items() if architecture.published} == set(PUBLISHED)


@pytest.mark.parametrize("hidden", [0, 128])
def test_the_mean_of_the_activation_maps_is_the_logits(hidden: int) -> None:
    torch.manual_seed(0)
    network = build_network("mobilenetv2-0.35", 4, hidden=hidden).eval()
    with torch.inference_mode():
        last = torch.randn(3, network.body_channels, 2, 2)
        torch.testing.assert_close(network.activation(last).mean((2, 3)), network.head(last.mean((2, 3))))


def test_with_a_hidden_layer_the_activation_map_is_grad_cam() -> None:
    torch.manual_seed(0)
    network = build_network("mobilenetv2-0.35", 3, hidden=16).eval()
    last = torch.randn(1, network.body_channels, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.head(last.mean((2, 3)))[0, 1], last)
    weight = gradient.sum((2, 3), keepdim=True)  # Grad-CAM: the pooled gradient weighs the maps
    grad_cam = (weight * last).sum(1)[0].detach()
    ours = network.activation(last.detach())[0, 1].detach()
    torch.testing.assert_close(ours - ours.mean(), grad_cam - grad_cam.mean(), rtol=1e-4, atol=1e-5)


def test_tensorflow_padding_puts_the_odd_pixel_right_and_below() -> None:
    same = MobileNetV2(2, folded=True, same_padding=True).conv_stem
    assert same.bias is not None
    with torch.no_grad():
        same.weight.zero_()
        same.bias.zero_()
        same.weight[0, 0, 0, 0] = 1  # the upper left of the window
    image = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    output = same(image)[0, 0]
    # SAME with stride 2 on an even side: windows start at 0, 2, 4, ... (symmetric padding would start at -1).
    torch.testing.assert_close(output, image[0, 0, ::2, ::2])


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match="hrnet-w18-small"):
        build_network("resnet50", 2)


class _Toy(Network):
    """An architecture that exists in this file only; its head has other names than those that ship."""

    def __init__(self, classes: int, *, hidden: int = 0) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.classifier_scale = torch.nn.Parameter(torch.ones(8, 1, 1))
        self.add_head(8, classes, hidden)

    def maps(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.relu(self.stem(images)) * self.classifier_scale,)


def _load_constant(network: Network, path: Path) -> None:
    with torch.no_grad():
        network.get_parameter("stem.weight").fill_(float(path.read_text()))


TOY = Architecture(
    "toy",
    _Toy,
    input_size=32,
    weight_loaders={".txt": _load_constant},
    head_prefixes=(*HEAD_PREFIXES, "classifier_scale"),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Architecture]:
    with monkeypatch.context() as patch:
        patch.setitem(ARCHITECTURES, TOY.name, TOY)
        del ARCHITECTURES[TOY.name]
        register(TOY)
        yield TOY


def test_an_architecture_of_one_file_is_registered_by_one_line_and_trained(toy: Architecture, tmp_path: Path) -> None:
    rows = read_listing(draw_discs(tmp_path) / "split.csv")
    recipe = read_recipe(RECIPE.replace('"tiny"', f'"{toy.name}"').replace("epochs = 10", "epochs = 1"))
    learn, validate = (
        load_images(part_of(rows, part), labels_of(rows), recipe.preprocessing) for part in ("train", "val")
    )
    network = build_network(recipe.network.architecture, 3)
    before = network.get_parameter("stem.weight").detach().clone()
    trained = train(network, recipe, learn, validate)
    assert [epoch.number for epoch in trained.curves] == [1]
    assert not torch.equal(before, network.get_parameter("stem.weight"))


def test_an_architecture_names_its_own_head_and_its_own_weight_files(toy: Architecture, tmp_path: Path) -> None:
    network = build_network(toy.name, 3)
    assert [name for name, _ in network.named_parameters() if not network.in_head(name)] == ["stem.weight", "stem.bias"]
    (tmp_path / "start.txt").write_text("0.5")
    start = initialize_weights(network, toy.name, "start.txt", tmp_path)
    assert start.name == "start.txt"
    assert set(network.get_parameter("stem.weight").flatten().tolist()) == {0.5}
    (tmp_path / "start.safetensors").write_bytes(b"")
    with pytest.raises(Invalid, match=r"read from \.txt files only"):
        initialize_weights(network, toy.name, "start.safetensors", tmp_path)


def test_a_name_is_registered_once(toy: Architecture) -> None:
    with pytest.raises(ValueError, match="registered twice"):
        register(toy)
