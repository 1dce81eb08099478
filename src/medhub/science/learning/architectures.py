# SPDX-License-Identifier: Apache-2.0
"""The architectures that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable

from medhub.errors import Invalid
from medhub.science.learning.hrnet import HRNet
from medhub.science.learning.mobilenetv2 import MobileNetV2
from medhub.science.learning.network import Network

ARCHITECTURES: dict[str, Callable[[int], Network]] = {
    "mobilenetv2": MobileNetV2,
    # The form that the converted ImageNet weights have; see tflite_weights.
    "mobilenetv2-folded": lambda classes: MobileNetV2(classes, folded=True, same_padding=True),
    "hrnet-w18-small": HRNet,
}


def build(name: str, classes: int) -> Network:
    """Build an architecture with fresh weights.

    Parameters
    ----------
    name
        A key of ``ARCHITECTURES``.
    classes
        Number of labels.

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
    return ARCHITECTURES[name](classes)


def count_parameters(network: Network) -> int:
    """Count the trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
