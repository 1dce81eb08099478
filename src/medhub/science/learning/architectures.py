# SPDX-License-Identifier: Apache-2.0
"""The architectures that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from medhub.errors import Invalid
from medhub.science.learning import hrnet
from medhub.science.learning.hrnet import HRNet
from medhub.science.learning.mobilenetv2 import MobileNetV2
from medhub.science.learning.network import Network


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes
    ----------
    make
        Takes the number of labels and ``hidden``.
    published
        Name of the model in timm whose state dict has the same names and shapes, or none.
    """

    make: Callable[..., Network]
    published: str | None = None


ARCHITECTURES: dict[str, Architecture] = {
    "hrnet-w18-small": Architecture(partial(HRNet, plan=hrnet.W18_SMALL), "hrnet_w18_small"),
    "hrnet-w18-small-v2": Architecture(partial(HRNet, plan=hrnet.W18_SMALL_V2), "hrnet_w18_small_v2"),
    "hrnet-w18": Architecture(partial(HRNet, plan=hrnet.W18), "hrnet_w18"),
    "hrnet-w32": Architecture(partial(HRNet, plan=hrnet.W32), "hrnet_w32"),
    "mobilenetv2": Architecture(MobileNetV2, "mobilenetv2_100"),
    "mobilenetv2-0.35": Architecture(partial(MobileNetV2, width=0.35), "mobilenetv2_035"),
    "mobilenetv2-0.5": Architecture(partial(MobileNetV2, width=0.5), "mobilenetv2_050"),
    "mobilenetv2-0.75": Architecture(partial(MobileNetV2, width=0.75), "mobilenetv2_075"),
    "mobilenetv2-1.4": Architecture(partial(MobileNetV2, width=1.4), "mobilenetv2_140"),
    # The form that the converted ImageNet weights have; see tflite_weights.
    "mobilenetv2-folded": Architecture(partial(MobileNetV2, folded=True, same_padding=True)),
}


def build(name: str, classes: int, *, hidden: int = 0) -> Network:
    """Build an architecture with fresh weights.

    Parameters
    ----------
    name
        A key of ``ARCHITECTURES``.
    classes
        Number of labels.
    hidden
        Width of a dense layer with ReLU before the last one; none if 0.

    Returns
    -------
    Network

    Raises
    ------
    Invalid
        No architecture has this name.
    """
    if name not in ARCHITECTURES:
        raise Invalid(f'There is no architecture "{name}"; there are {", ".join(sorted(ARCHITECTURES))}.')
    return ARCHITECTURES[name].make(classes, hidden=hidden)


def count_parameters(network: Network) -> int:
    """Count the trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
