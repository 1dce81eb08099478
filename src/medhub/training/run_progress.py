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

    def heard(self, line: str) -> Progress:
        """What is known after one more line; what makes no sense changes nothing."""
        try:
            said = json.loads(line) if len(line) <= LONGEST_LINE else None
        except ValueError:
            return self
        if not isinstance(said, dict):
            return self
        match said.get("event"):
            case "stage":
                return replace(self, stage=str(said.get("name"))[:40], step=None, steps=None, eta_s=None)
            case "step":
                return replace(
                    self, step=_whole(said.get("step")), steps=_whole(said.get("of")), eta_s=_number(said.get("eta_s"))
                )
            case "epoch" if len(self.curve) < MOST_EPOCHS:
                return replace(self, curve=_joined(self.curve, said))
            case "done":
                return replace(self, digest=str(said.get("digest")), step=None, steps=None, eta_s=None)
            case "failed":
                return replace(self, failure=str(said.get("message"))[:2000])
        return self


def _joined(curve: tuple[dict[str, Any], ...], said: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The curve with one more epoch; a training that was resumed tells some epochs again."""
    epoch: dict[str, Any] = {name: _number(said.get(name)) for name in _EPOCH}
    epoch["stage"] = str(said.get("stage") or "")[:20]
    place = (epoch["stage"], epoch["epoch"])
    return (*(one for one in curve if (one["stage"], one["epoch"]) != place), epoch)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _whole(value: object) -> int | None:
    number = _number(value)
    return min(int(number), 2**31 - 1) if number is not None and number >= 0 else None
