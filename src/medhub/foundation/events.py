# SPDX-License-Identifier: Apache-2.0
"""Events: facts that a capability announces; which job each one starts stands in ``entrypoints/flow.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from medhub.foundation import jobs


@dataclass(frozen=True)
class Event:
    """Something that has happened; its fields are ids, never data of a patient."""


Flow = Mapping[type[Event], Sequence[str]]


def announce(session: Session, event: Event) -> None:
    """Write the jobs that this event starts, in the transaction in which it happened."""
    flow: Flow = session.info.get("flow", {})
    for kind in flow.get(type(event), ()):
        jobs.enqueue(session, kind, asdict(event))
