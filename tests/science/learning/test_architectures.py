# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from medhub.errors import Invalid
from tests.science.parts import need

need("torch", "onnx")

import torch  # noqa: E402

from medhub.science.learning.architectures import ARCHITECTURES, build, count_parameters  # noqa: E402
from medhub.science.learning.mobilenetv2 import MobileNetV2  # noqa: E402


def test_the_architectures_have_the_published_sizes() -> None:
    assert count_parameters(build("hrnet-w18-small", 4)) == 11_146_660
    assert count_parameters(build("mobilenetv2", 4)) == 2_228_996


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_last_map_has_stride_32_and_the_head_reads_its_mean(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 3).eval()
    with torch.inference_mode():
        images = torch.randn(2, 3, 64, 64)
        maps = network.maps(images)
        assert maps[-1].shape[2:] == (2, 2)
        assert [one.shape[2] for one in maps] == sorted((one.shape[2] for one in maps), reverse=True)
        torch.testing.assert_close(network(images), network.classifier(maps[-1].mean((2, 3))))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_weight_takes_part(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 3)
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mobilenetv2", ("conv_stem.weight", "blocks.0.0.conv_dw.weight", "blocks.6.0.bn3.running_var", "bn2.weight")),
        (
            "hrnet-w18-small",
            (
                "layer1.0.downsample.0.weight",
                "transition1.0.0.weight",
                "transition3.3.0.0.weight",
                "stage4.0.fuse_layers.3.0.2.0.weight",
                "stage4.0.branches.3.1.bn2.weight",
                "incre_modules.0.0.conv3.weight",
                "downsamp_modules.2.0.bias",
                "final_layer.0.bias",
            ),
        ),
    ],
)
def test_weights_are_named_as_elsewhere(name: str, keys: tuple[str, ...]) -> None:
    assert set(keys) <= set(build(name, 2).state_dict())


def test_tensorflow_padding_puts_the_odd_pixel_right_and_below() -> None:
    same = MobileNetV2(2, folded=True, same_padding=True).conv_stem
    assert same.bias is not None
    with torch.no_grad():
        same.weight.zero_()
        same.bias.zero_()
        same.weight[0, 0, 0, 0] = 1  # the upper left of the window
    image = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    found = same(image)[0, 0]
    # SAME with stride 2 on an even side: windows start at 0, 2, 4, ... (symmetric padding would start at -1).
    torch.testing.assert_close(found, image[0, 0, ::2, ::2])


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match="hrnet-w18-small"):
        build("resnet50", 2)
