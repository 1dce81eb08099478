# SPDX-License-Identifier: Apache-2.0
"""The hash chain: each entry's hash covers its content and the hash of the entry before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medhub.audit.models import AuditEntry
from medhub.foundation import clock

GENESIS = "0" * 64


def hashed_content(entry: AuditEntry) -> Mapping[str, object]:
    """The content that the hash of an entry covers: everything except the hashes."""
    return {
        "seq": entry.seq,
        "at": clock.iso(entry.at),
        "actor_id": entry.actor_id,
        "actor": entry.actor,
        "action": entry.action,
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "project_id": entry.project_id,
        "patient_id": entry.patient_id,
        "origin": entry.origin,
        "outcome": entry.outcome,
        "detail": entry.detail,
    }


def entry_hash(entry: AuditEntry, previous_hash: str) -> str:
    """SHA-256 over the previous hash and the entry's content as canonical JSON."""
    text = json.dumps(hashed_content(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(previous_hash.encode() + text.encode()).hexdigest()


@dataclass(frozen=True)
class ChainCheck:
    """The result of a check of the chain; ``broken_at`` is the number of the first invalid entry."""

    entries: int
    last_hash: str
    broken_at: int | None = None
    reason: str | None = None


def check_chain(entries: Iterable[AuditEntry]) -> ChainCheck:
    """Check entries in order, up to the first invalid one."""
    previous, expected = GENESIS, 1
    for entry in entries:
        reason = None
        if entry.seq != expected:
            reason = f"Entry {expected} is missing."
        elif entry.previous_hash != previous:
            reason = f"Entry {entry.seq} does not follow the entry before it."
        elif entry.hash != entry_hash(entry, previous):
            reason = f"Entry {entry.seq} was altered."
        if reason is not None:
            return ChainCheck(expected - 1, previous, broken_at=expected, reason=reason)
        previous, expected = entry.hash, expected + 1
    return ChainCheck(expected - 1, previous)
