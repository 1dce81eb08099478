# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018).

Module names follow those of timm, so that state dicts can be exchanged.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from medhub.science.learning.network import Architecture, Network, PublishedWeights, load_safetensors
from medhub.science.learning.tflite_weights import load_tflite

# Table 2 of the paper: expansion, channels, repeats, stride of the first repeat.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
# Stages whose maps are returned beside the last map: strides 4, 8, 16 and 32.
_RETURNED_STAGES = (1, 2, 4, 6)


class MobileNetV2(Network):
    """MobileNetV2 for square images whose side is a multiple of 32.

    Parameters
    ----------
    classes
        Number of labels.
    width
        Multiplier of all channels but those of the head, which is never narrower than 1280 (section 6 of the paper).
    hidden
        Width of a dense layer before the last one; none if 0.
    folded
        Without batch normalization: convolutions carry a bias instead. That is the form of weights that were
        prepared for inference (batch normalization folded into the convolutions).
    same_padding
        TensorFlow's padding: where a stride of 2 leaves an odd pixel over, it goes right and below. Weights trained
        there need it; with symmetric padding every map is shifted.
    """

    def __init__(
        self, classes: int, width: float = 1.0, *, hidden: int = 0, folded: bool = False, same_padding: bool = False
    ) -> None:
        super().__init__()
        channels = _scaled(STEM_CHANNELS, width)
        self.conv_stem = _convolution(3, channels, 3, stride=2, bias=folded, same_padding=same_padding)
        self.bn1 = _normalization(channels, folded)
        self.act1 = nn.ReLU6(inplace=True)
        stages: list[nn.Module] = []
        for expansion, unscaled, repeats, first_stride in STAGES:
            out_channels = _scaled(unscaled, width)
            blocks: list[nn.Module] = []
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                if expansion == 1:
                    block: nn.Module = DepthwiseSeparable(channels, out_channels, folded)
                else:
                    block = InvertedResidual(channels, out_channels, expansion, stride, folded, same_padding)
                blocks.append(block)
                channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.ModuleList(stages)
        head_channels = max(HEAD_CHANNELS, _scaled(HEAD_CHANNELS, width))
        self.conv_head = _convolution(channels, head_channels, 1, bias=folded)
        self.bn2 = _normalization(head_channels, folded)
        self.act2 = nn.ReLU6(inplace=True)
        self.add_head(head_channels, classes, hidden)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps; at width 1 with 24, 32, 96, 320 and 1280 channels."""
        returned: list[Tensor] = []
        x = self.act1(self.bn1(self.conv_stem(images)))
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in _RETURNED_STAGES:
                returned.append(x)
        return (*returned, self.act2(self.bn2(self.conv_head(x))))


class DepthwiseSeparable(nn.Module):
    """The first block, which expands nothing: depthwise, then a linear projection."""

    def __init__(self, channels: int, out_channels: int, folded: bool) -> None:
        super().__init__()
        self.conv_dw = _convolution(channels, channels, 3, groups=channels, bias=folded)
        self.bn1 = _normalization(channels, folded)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_pw = _convolution(channels, out_channels, 1, bias=folded)
        self.bn2 = _normalization(out_channels, folded)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x channels x h x w to N x out_channels x h x w."""
        x = self.act1(self.bn1(self.conv_dw(x)))
        projected: Tensor = self.bn2(self.conv_pw(x))
        return projected


class InvertedResidual(nn.Module):
    """Figure 3b of the paper: expand, depthwise, project linearly; added to its input where the shapes agree."""

    def __init__(
        self, channels: int, out_channels: int, expansion: int, stride: int, folded: bool, same_padding: bool
    ) -> None:
        super().__init__()
        inner = channels * expansion
        self.residual = stride == 1 and channels == out_channels
        self.conv_pw = _convolution(channels, inner, 1, bias=folded)
        self.bn1 = _normalization(inner, folded)
        self.act1 = nn.ReLU6(inplace=True)
        self.conv_dw = _convolution(
            inner, inner, 3, stride=stride, groups=inner, bias=folded, same_padding=same_padding
        )
        self.bn2 = _normalization(inner, folded)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv_pwl = _convolution(inner, out_channels, 1, bias=folded)
        self.bn3 = _normalization(out_channels, folded)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x channels x h x w to N x out_channels x h/stride x w/stride."""
        y = self.act1(self.bn1(self.conv_pw(x)))
        y = self.act2(self.bn2(self.conv_dw(y)))
        projected: Tensor = self.bn3(self.conv_pwl(y))
        return x + projected if self.residual else projected


class _Conv2dSame(nn.Conv2d):
    """A 3 x 3 convolution of stride 2 that pads an even image as TensorFlow's SAME does: right and below only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)))


def _scaled(channels: int, width: float) -> int:
    """Multiples of 8 near the product, never more than a tenth below it, as the authors' code rounds."""
    product = channels * width
    rounded = max(8, int(product + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * product else rounded


def _convolution(
    channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool,
    same_padding: bool = False,
) -> nn.Conv2d:
    if same_padding and stride == 2:
        return _Conv2dSame(channels, out_channels, kernel, stride=2, groups=groups, bias=bias)
    return nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=bias)


def _normalization(channels: int, folded: bool) -> nn.Module:
    return nn.Identity() if folded else nn.BatchNorm2d(channels)


ARCHITECTURES = (
    Architecture("mobilenetv2", MobileNetV2, published=PublishedWeights("mobilenetv2_100", tag="ra_in1k")),
    Architecture("mobilenetv2-0.35", partial(MobileNetV2, width=0.35), published=PublishedWeights("mobilenetv2_035")),
    Architecture(
        "mobilenetv2-0.5",
        partial(MobileNetV2, width=0.5),
        published=PublishedWeights("mobilenetv2_050", tag="lamb_in1k"),
    ),
    Architecture("mobilenetv2-0.75", partial(MobileNetV2, width=0.75), published=PublishedWeights("mobilenetv2_075")),
    Architecture(
        "mobilenetv2-1.4",
        partial(MobileNetV2, width=1.4),
        published=PublishedWeights("mobilenetv2_140", tag="ra_in1k"),
    ),
    # The form of the converted ImageNet weights; see tflite_weights.
    Architecture(
        "mobilenetv2-folded",
        partial(MobileNetV2, folded=True, same_padding=True),
        weight_loaders={".safetensors": load_safetensors, ".tflite": load_tflite},
    ),
)
