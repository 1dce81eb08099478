# SPDX-License-Identifier: Apache-2.0
"""What training publishes."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.events import Event


@dataclass(frozen=True)
class TrainingAsked(Event):
    """A person wants a classifier trained."""

    run_id: str
