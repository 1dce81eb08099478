# SPDX-License-Identifier: Apache-2.0
"""Entity tags of editable objects: a write that names an earlier state than the stored one is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from medhub.errors import Conflict


class StaleWrite(Conflict):
    """The object has changed since the state on which the write is based; ``current`` is its present state."""

    code = "stale"
    title = "Changed in the meantime"


def compute_etag(*values: object) -> str:
    """A short text that is the same for the same values only."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def check_etag(if_match: str | None, etag: str, message: str) -> None:
    """Raise if a write is based on another state than the stored one; without a tag it is based on any."""
    if if_match is None:
        return
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    if etag not in tags and "*" not in tags:
        raise StaleWrite(message)


@contextmanager
def include_current_state(build: Callable[[], BaseModel]) -> Iterator[None]:
    """Add the current state of the object to the refusal of a stale write."""
    try:
        yield
    except StaleWrite as error:
        error.facts["current"] = build().model_dump(mode="json")
        raise
