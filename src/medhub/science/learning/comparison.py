# SPDX-License-Identifier: Apache-2.0
"""Comparison of two classifiers on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from medhub.errors import Invalid
from medhub.science.inference.classifier import Classifier
from medhub.science.learning import metrics
from medhub.science.learning.dataset import ListingRow
from medhub.science.learning.measurement import measure


def compare(
    first: Classifier, second: Classifier, rows: Sequence[ListingRow], done: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Compare two classifiers by McNemar's exact test and a paired bootstrap over groups.

    Parameters
    ----------
    first, second
        The classifiers.
    rows
        Images; those whose label only one classifier knows, or neither, are left out and counted.
    done
        Called after each image of each classifier.

    Returns
    -------
    dict[str, Any]
        As ``medhub compare --json`` prints it.

    Raises
    ------
    Invalid
        No image has a label that both classifiers know.
    """
    shared = set(first.card.labels) & set(second.card.labels)
    shared_rows = [row for row in rows if row.label in shared]
    if not shared_rows:
        raise Invalid(
            f"No image has a label that both know. {first.card.name} knows {', '.join(first.card.labels)}; "
            f"{second.card.name} knows {', '.join(second.card.labels)}."
        )
    left, right = (measure(classifier, shared_rows, done=done) for classifier in (first, second))
    draws = metrics.draw_groups([row.group for row in left.rows])
    comparison = metrics.compare(left.correct, right.correct, draws)

    def ranged(value: metrics.Interval) -> dict[str, float]:
        return {"value": round(value.value, 6), "low": round(value.low, 6), "high": round(value.high, 6)}

    return {
        "n": len(left.targets),
        "left_out": len(rows) - len(shared_rows),
        "first": {"name": first.card.name, "digest": first.digest, "accuracy": ranged(comparison.first)},
        "second": {"name": second.card.name, "digest": second.digest, "accuracy": ranged(comparison.second)},
        "difference": ranged(comparison.difference),
        "only_first_right": comparison.only_first,
        "only_second_right": comparison.only_second,
        "mcnemar_p": round(comparison.p_value, 6),
        "agreement": round(
            float(
                sum(
                    first.card.labels[a] == second.card.labels[b]
                    for a, b in zip(left.predicted, right.predicted, strict=True)
                )
                / len(left.targets)
            ),
            6,
        ),
    }
