# SPDX-License-Identifier: Apache-2.0
"""HRNet (Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", PAMI 2021).

Four branches of falling resolution run side by side and exchange after each module, so that fine detail reaches the
end. Module names follow those of timm, so that state dicts can be exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from medhub.science.learning.network import Architecture, Network, PublishedWeights

STEM_CHANNELS = 64
HEAD_CHANNELS = (32, 64, 128, 256)
FINAL_CHANNELS = 2048
EXPANSION = 4  # of a bottleneck


@dataclass(frozen=True)
class HRNetLayout:
    """How wide and how deep an HRNet is.

    Attributes
    ----------
    first_blocks, first_width
        Bottlenecks of the first stage, and the width of each before its expansion.
    modules
        Modules of stages 2, 3 and 4; the branches exchange after each.
    blocks
        Residual blocks of a branch within a module.
    channels
        Channels of the four branches, from fine to coarse.
    """

    first_blocks: int
    first_width: int
    modules: tuple[int, int, int]
    blocks: int
    channels: tuple[int, int, int, int]


W18_SMALL = HRNetLayout(1, 32, (1, 1, 1), 2, (16, 32, 64, 128))
W18_SMALL_V2 = HRNetLayout(2, 64, (1, 3, 2), 2, (18, 36, 72, 144))
W18 = HRNetLayout(4, 64, (1, 4, 3), 4, (18, 36, 72, 144))
W32 = HRNetLayout(4, 64, (1, 4, 3), 4, (32, 64, 128, 256))


class HRNet(Network):
    """HRNet with the classification head of the paper's appendix, for sides that are multiples of 32.

    Parameters
    ----------
    classes
        Number of labels.
    layout
        Width and depth.
    hidden
        Width of a dense layer before the last one; none if 0.
    """

    def __init__(self, classes: int, layout: HRNetLayout = W18_SMALL, *, hidden: int = 0) -> None:
        super().__init__()
        channels = layout.channels
        self.conv1 = nn.Conv2d(3, STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.conv2 = nn.Conv2d(STEM_CHANNELS, STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM_CHANNELS)
        wide = layout.first_width * EXPANSION
        self.layer1 = nn.Sequential(
            *(Bottleneck(wide if index else STEM_CHANNELS, layout.first_width) for index in range(layout.first_blocks))
        )
        self.transition1 = _transition((wide,), channels[:2])
        self.stage2 = _stage(layout, 0)
        self.transition2 = _transition(channels[:2], channels[:3])
        self.stage3 = _stage(layout, 1)
        self.transition3 = _transition(channels[:3], channels)
        self.stage4 = _stage(layout, 2)
        heads = tuple(width * EXPANSION for width in HEAD_CHANNELS)
        self.incre_modules = nn.ModuleList(
            nn.Sequential(Bottleneck(narrow, width)) for narrow, width in zip(channels, HEAD_CHANNELS, strict=True)
        )
        self.downsamp_modules = nn.ModuleList(
            _unit(fine, coarse, 3, stride=2, bias=True) for fine, coarse in pairwise(heads)
        )
        self.final_layer = _unit(heads[-1], FINAL_CHANNELS, 1, bias=True)
        self.add_head(FINAL_CHANNELS, classes, hidden)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the first stage (stride 4), four branches (strides 4 to 32) and the final map (2048 channels)."""
        x = torch.relu(self.bn1(self.conv1(images)))
        x = first = self.layer1(torch.relu(self.bn2(self.conv2(x))))
        branches = [x]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # A new branch starts from the coarsest one there is.
            branches = stage([step(branches[min(i, len(branches) - 1)]) for i, step in enumerate(transition)])
        y = self.incre_modules[0](branches[0])
        for branch, widen, shrink in zip(branches[1:], self.incre_modules[1:], self.downsamp_modules, strict=True):
            y = widen(branch) + shrink(y)
        return (first, *branches, self.final_layer(y))


class Bottleneck(nn.Module):
    """Residual bottleneck (He et al., CVPR 2016): 1 x 1, 3 x 3, 1 x 1, four times as wide at the end."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map N x channels x h x w to N x 4 width x h x w."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Basic(nn.Module):
    """Residual block of two 3 x 3 convolutions (He et al., CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)


class Exchange(nn.Module):
    """One module of a stage: each branch by itself, then each receives the sum of all (figure 3 of the paper)."""

    def __init__(self, channels: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(Basic(width) for _ in range(blocks))) for width in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_resample(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Keep number and shapes of the branches."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused: list[Tensor] = []
        for row in self.fuse_layers:
            steps = list(row.children())
            total = steps[0](maps[0])
            for step, x in zip(steps[1:], maps[1:], strict=True):
                total = total + step(x)
            fused.append(torch.relu(total))
        return fused


def _stage(layout: HRNetLayout, index: int) -> nn.Sequential:
    channels = layout.channels[: index + 2]
    return nn.Sequential(*(Exchange(channels, layout.blocks) for _ in range(layout.modules[index])))


def _resample(channels: tuple[int, ...], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = [_unit(channels[source], channels[source], 3, stride=2) for _ in range(target - source - 1)]
    last = nn.Sequential(
        nn.Conv2d(channels[source], channels[target], 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels[target]),
    )
    return nn.Sequential(*steps, last)


def _transition(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    steps: list[nn.Module] = []
    for index, channels in enumerate(after):
        if index >= len(before):
            steps.append(nn.Sequential(_unit(before[-1], channels, 3, stride=2)))
        elif before[index] == channels:
            steps.append(nn.Identity())
        else:
            steps.append(_unit(before[index], channels, 3))
    return nn.ModuleList(steps)


def _unit(channels: int, out_channels: int, kernel: int, *, stride: int = 1, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


ARCHITECTURES = (
    Architecture(
        "hrnet-w18-small",
        partial(HRNet, layout=W18_SMALL),
        published=PublishedWeights("hrnet_w18_small", tag="gluon_in1k"),
    ),
    Architecture(
        "hrnet-w18-small-v2",
        partial(HRNet, layout=W18_SMALL_V2),
        published=PublishedWeights("hrnet_w18_small_v2", tag="gluon_in1k"),
    ),
    Architecture("hrnet-w18", partial(HRNet, layout=W18), published=PublishedWeights("hrnet_w18", tag="ms_aug_in1k")),
    Architecture("hrnet-w32", partial(HRNet, layout=W32), published=PublishedWeights("hrnet_w32", tag="ms_in1k")),
)
