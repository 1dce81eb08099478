# SPDX-License-Identifier: Apache-2.0
"""What a trainer says of its progress, line by line, and what is known once a line is heard."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

LONGEST_LINE = 16_384
MOST_EPOCHS = 10_000
_EPOCH = ("epoch", "of", "loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds")


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    eta_s: float | None = None
    curve: tuple[dict[str, Any], ...] = ()
    digest: str | None = None
    failure: str | None = None

    def after_line(self, line: str) -> Progress:
        """What is known after one more line; what makes no sense changes nothing."""
        try:
            event = json.loads(line) if len(line) <= LONGEST_LINE else None
        except ValueError:
            return self
        if not isinstance(event, dict):
            return self
        match event.get("event"):
            case "stage":
                return replace(self, stage=str(event.get("name"))[:40], step=None, steps=None, eta_s=None)
            case "step":
                return replace(
                    self,
                    step=_count(event.get("step")),
                    steps=_count(event.get("of")),
                    eta_s=_number(event.get("eta_s")),
                )
            case "epoch" if len(self.curve) < MOST_EPOCHS:
                return replace(self, curve=_add_epoch(self.curve, event))
            case "done":
                return replace(self, digest=str(event.get("digest")), step=None, steps=None, eta_s=None)
            case "failed":
                return replace(self, failure=str(event.get("message"))[:2000])
        return self


def _add_epoch(curve: tuple[dict[str, Any], ...], event: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The curve with one more epoch; a training that was resumed tells some epochs again."""
    epoch: dict[str, Any] = {name: _number(event.get(name)) for name in _EPOCH}
    epoch["stage"] = str(event.get("stage") or "")[:20]
    key = (epoch["stage"], epoch["epoch"])
    return (*(entry for entry in curve if (entry["stage"], entry["epoch"]) != key), epoch)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _count(value: object) -> int | None:
    number = _number(value)
    return min(int(number), 2**31 - 1) if number is not None and number >= 0 else None
