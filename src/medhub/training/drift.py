# SPDX-License-Identifier: Apache-2.0
"""Whether the images that come in, or what the classifier says of them, are still what they were at the beginning.

The population stability index of two distributions over the same labels is the sum of (p - q) ln(p / q). With n and m
images it is about (1/n + 1/m) chi-squared with one degree less than there are labels when nothing has changed (Yurdakul
2018), so a large value among few images alone means nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

Step = Literal["day", "week"]

REFERENCE = 200
FEWEST = 50
PSI_LIMIT = 0.25
OOD_LIMIT = 0.10
_QUANTILE = 2.326347874  # of the normal distribution at 0.99


@dataclass(frozen=True)
class PredictionPoint:
    """What is known of one prediction."""

    at: datetime
    label: str  # what was said, "Uncertain" where it abstained
    confidence: float
    uncertain: bool
    novel: bool


@dataclass(frozen=True)
class DriftPeriod:
    """The predictions of a day or a week."""

    starts: date
    n: int
    labels: dict[str, int]
    confidence: float | None
    uncertain: float | None
    novel: float | None
    psi: float | None = None
    alarm: str | None = None


@dataclass(frozen=True)
class Drift:
    """The reference, the spans after it, and what the last of them with enough images says."""

    reference: DriftPeriod | None
    spans: list[DriftPeriod]
    alarm: str | None


def start_of(moment: datetime, step: Step) -> date:
    """The day, or the Monday of the week, of a moment (in UTC)."""
    day = moment.date()
    return day if step == "day" else day - timedelta(days=day.weekday())


def measure(points: Sequence[PredictionPoint], step: Step, *, reference: int = REFERENCE) -> Drift:
    """Hold what came later against the first so many predictions of a classifier; points come oldest first."""
    if not points:
        return Drift(None, [], None)
    first, later = points[:reference], points[reference:]
    base = _make_period(first[0].at.date(), first)
    grouped: dict[date, list[PredictionPoint]] = {}
    for point in later:
        grouped.setdefault(start_of(point.at, step), []).append(point)
    spans = [_judge_period(_make_period(starts, of), base, step) for starts, of in sorted(grouped.items())]
    enough = [span for span in spans if span.n >= FEWEST]
    return Drift(base, spans, enough[-1].alarm if enough else None)


def _make_period(starts: date, points: Sequence[PredictionPoint]) -> DriftPeriod:
    n = len(points)
    return DriftPeriod(
        starts=starts,
        n=n,
        labels=dict(sorted(Counter(point.label for point in points).items())),
        confidence=sum(point.confidence for point in points) / n,
        uncertain=sum(point.uncertain for point in points) / n,
        novel=sum(point.novel for point in points) / n,
    )


def _judge_period(span: DriftPeriod, base: DriftPeriod, step: Step) -> DriftPeriod:
    index = stability_index(base.labels, span.labels)
    alarms = []
    if span.n >= FEWEST and base.n >= FEWEST:
        labels = len(base.labels.keys() | span.labels.keys())
        if index > PSI_LIMIT and index > critical_index(labels, base.n, span.n):
            most = _most_changed(base, span)
            alarms.append(
                f"The labels are no longer spread as at the beginning (stability index {index:.2f}, limit "
                f"{PSI_LIMIT:g}); “{most}” changed most: {_share(base, most):.0%} then, {_share(span, most):.0%} now."
            )
        if span.novel is not None and base.novel is not None and span.novel - base.novel > OOD_LIMIT:
            alarms.append(
                f"{span.novel:.0%} of the images are unlike those that the classifier was trained on; "
                f"at the beginning it was {base.novel:.0%}."
            )
    alarm = f"In the {step} from {span.starts.isoformat()}: {' '.join(alarms)}" if alarms else None
    return DriftPeriod(**{**vars(span), "psi": index, "alarm": alarm})


def _share(span: DriftPeriod, label: str) -> float:
    return span.labels.get(label, 0) / span.n


def _most_changed(base: DriftPeriod, span: DriftPeriod) -> str:
    labels = sorted(base.labels.keys() | span.labels.keys())
    return max(labels, key=lambda label: abs(_share(base, label) - _share(span, label)))


def stability_index(expected: Mapping[str, int], observed: Mapping[str, int]) -> float:
    """Population stability index of two counts over the same labels; half an image is added to each, so none is 0."""
    labels = expected.keys() | observed.keys()
    total = sum(expected.values()) + len(labels) / 2, sum(observed.values()) + len(labels) / 2
    index = 0.0
    for label in labels:
        before, now = (expected.get(label, 0) + 0.5) / total[0], (observed.get(label, 0) + 0.5) / total[1]
        index += (now - before) * math.log(now / before)
    return index


def critical_index(labels: int, n: int, m: int) -> float:
    """The index that chance alone exceeds once in a hundred, by the approximation of Wilson and Hilferty (1931)."""
    freedom = max(labels - 1, 1)
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + _QUANTILE * math.sqrt(spread)) ** 3 * (1 / n + 1 / m)
