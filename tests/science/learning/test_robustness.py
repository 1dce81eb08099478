# SPDX-License-Identifier: Apache-2.0
"""The figures of perturbed images in a card: all of them, whatever stands before them."""

from __future__ import annotations

import pytest

from medhub.science.inference.card import Figure
from medhub.science.learning.robustness import PERTURBATIONS, perturbed_figures


def _figure(name: str) -> Figure:
    return Figure(name=name, value=0.5, low=0.4, high=0.6, n=10, interval="interval", command="command")


@pytest.mark.parametrize("before", [0, 1, 4, 5, 6])
def test_no_variation_is_dropped_however_many_figures_stand_before_them(before: int) -> None:
    others = [_figure(f"accuracy on the test images {index}") for index in range(before)]
    perturbed = [_figure(f"{what}, {name}") for name in PERTURBATIONS for what in ("accuracy", "Uncertain")]
    assert perturbed_figures([*others, *perturbed]) == perturbed
    assert perturbed_figures([*perturbed, *others]) == perturbed
