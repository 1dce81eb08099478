# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.science.optional_packages import need

need("torch", "onnx", "tflite")

import torch  # noqa: E402

from medhub.errors import Invalid  # noqa: E402
from medhub.science.learning.mobilenetv2 import MobileNetV2  # noqa: E402
from medhub.science.learning.tflite_weights import IMAGENET_OUTPUTS, load_imagenet, load_tflite, read_convolutions  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "tf2_mobilenet_v2_1.0_224_ptq.tflite"
# What the TFLite interpreter (ai-edge-litert 2.3.0) says of the demonstration's images, as ImageNet classes.
INTERPRETED = [
    456, 795, 600, 108, 600, 456, 600, 456, 529, 529, 456, 108, 721, 552, 108,
    456, 456, 456, 811, 456, 117, 715, 108, 108, 600, 851, 715, 795, 795, 600,
]  # fmt: skip

with_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="the shared data are not here")


@with_weights
def test_the_float_network_says_what_the_int8_interpreter_says() -> None:
    network = MobileNetV2(IMAGENET_OUTPUTS, folded=True, same_padding=True).eval()
    load_imagenet(network, WEIGHTS)
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(ROOT.glob("demo/blood-cells/*/*.jpg"))]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        predicted = network(batch).argmax(1).tolist()
    # All 30 agreed when this was written; with symmetric padding it would be about a third.
    assert sum(ours == theirs for ours, theirs in zip(predicted, INTERPRETED, strict=True)) >= 27


@with_weights
def test_all_but_the_head_is_filled() -> None:
    network = MobileNetV2(5, folded=True, same_padding=True)
    head = network.classifier.weight.clone()
    load_tflite(network, WEIGHTS)
    torch.testing.assert_close(network.classifier.weight, head)
    weight, bias = read_convolutions(WEIGHTS)[0]
    np.testing.assert_array_equal(network.conv_stem.weight.detach().numpy(), weight)
    assert network.conv_stem.bias is not None
    np.testing.assert_array_equal(network.conv_stem.bias.detach().numpy(), bias)


@with_weights
def test_a_network_with_batch_normalization_is_refused() -> None:
    with pytest.raises(Invalid, match="batch normalization"):
        load_tflite(MobileNetV2(5), WEIGHTS)


def test_a_file_that_is_no_such_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    with pytest.raises(Invalid):
        read_convolutions(path)
