# SPDX-License-Identifier: Apache-2.0
"""Events that capabilities publish; ``entrypoints/flow.py`` says which jobs each event starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from medhub.foundation import jobs


@dataclass(frozen=True)
class Event:
    """Something that has happened; its fields are ids, never data of a patient."""


Flow = Mapping[type[Event], Sequence[str]]


def publish(session: Session, event: Event) -> None:
    """Enqueue the jobs that this event starts, in the transaction in which it happened."""
    flow: Flow = session.info.get("flow", {})
    for kind in flow.get(type(event), ()):
        jobs.enqueue(session, kind, asdict(event))
