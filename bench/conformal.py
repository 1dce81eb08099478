# SPDX-License-Identifier: Apache-2.0
"""Whether the learned limit keeps its promise: ``python bench/conformal.py CLASSIFIER --data CSV``.

The real predictions of a classifier, on images that it did not learn from (validation and test part together), are
divided at random, again and again: on one half the limit is learned, the other is the further set of the promise, and
the share of wrong answers among its answers is counted. The promise is that this share exceeds the chosen one in at
most a tenth of the divisions. Groups stay together.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from medhub.science.inference.classifier import Classifier
from medhub.science.learning.abstention import learn_limit
from medhub.science.learning.dataset import read_listing
from medhub.science.learning.measurement import measure

TRUST = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classifier", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--divisions", type=int, default=200)
    options = parser.parse_args()
    classifier = Classifier.load(options.classifier)
    rows = [row for row in read_listing(options.data) if row.split in ("val", "test")]
    measurement = measure(classifier, rows)
    confidence, right = measurement.predictions.confidence, measurement.correct
    groups = np.array([row.group for row in measurement.rows])
    _, members = np.unique(groups, return_inverse=True)
    chance = np.random.default_rng(42)
    n = options.divisions
    band = (1 - TRUST) + 1.96 * math.sqrt(TRUST * (1 - TRUST) / n)
    print(f"{classifier.card.name} {classifier.card.version}, {len(right)} images, accuracy {right.mean():.4f}\n")
    print("| at most wrong | limit found in | mean answered | mean error | exceeded in | at most allowed | |")
    print("|---|---|---|---|---|---|---|")
    for target in (0.01, 0.02, 0.03, 0.05, 0.10):
        answered, errors, exceeded, limits = [], [], 0, 0
        for _ in range(n):
            side = chance.random(members.max() + 1)[members] < 0.5
            limit = learn_limit(confidence[side], right[side], target, TRUST, groups[side].tolist())
            if limit is None:
                continue
            limits += 1
            accepted = ~side & (confidence >= limit.threshold)
            wrong = float((~right[accepted]).mean()) if accepted.any() else 0.0
            answered.append(accepted.sum() / (~side).sum())
            errors.append(wrong)
            exceeded += wrong > target
        share = exceeded / n
        verdict = "met" if share <= band else "NOT met"
        means = (f"{np.mean(answered):.1%}", f"{np.mean(errors):.2%}") if limits else ("-", "-")
        print(f"| {target:.0%} | {limits} of {n} | {means[0]} | {means[1]} | {share:.1%} | {band:.1%} | {verdict} |")


if __name__ == "__main__":
    main()
