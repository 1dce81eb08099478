# SPDX-License-Identifier: Apache-2.0
"""The registry of network architectures.

To add an architecture, write one file with a ``Network`` and an ``Architecture`` (``hrnet.py`` is an example), and add
one line of registration here.
"""

from __future__ import annotations

from medhub.errors import Invalid
from medhub.science.learning import hrnet, mobilenetv2
from medhub.science.learning.network import Architecture, Network

ARCHITECTURES: dict[str, Architecture] = {}


def register(*architectures: Architecture) -> None:
    """Add architectures to the registry.

    Raises
    ------
    ValueError
        Another architecture has the same name.
    """
    for architecture in architectures:
        if architecture.name in ARCHITECTURES:
            raise ValueError(f"the architecture {architecture.name} is registered twice")
        ARCHITECTURES[architecture.name] = architecture


register(*hrnet.ARCHITECTURES)
register(*mobilenetv2.ARCHITECTURES)


def find_architecture(name: str) -> Architecture:
    """Find an architecture by its name.

    Raises
    ------
    Invalid
        No architecture has this name.
    """
    if name not in ARCHITECTURES:
        raise Invalid(f'There is no architecture "{name}"; there are {", ".join(sorted(ARCHITECTURES))}.')
    return ARCHITECTURES[name]


def build_network(name: str, classes: int, *, hidden: int = 0) -> Network:
    """Build a network with random weights.

    Parameters
    ----------
    name
        Name of an architecture.
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
    return find_architecture(name).build(classes, hidden=hidden)


def count_parameters(network: Network) -> int:
    """Count the trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
