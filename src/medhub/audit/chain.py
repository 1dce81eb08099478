# SPDX-License-Identifier: Apache-2.0
"""The hash chain: each entry's hash covers its content and the hash of the entry before it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medhub.audit.models import AuditEntry
from medhub.audit.sealed_head import ChainHead
from medhub.foundation import clock

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
GENESIS = "0" * 64
TURNING_POINT = "audit.key"  # from this entry on, hashes have a key
GAP = "audit.gap"  # entries before this one were removed, or lost in a crash
ACCEPTED = "audit.accept"  # the operator knows the reason of the gaps before


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


def entry_hash(entry: AuditEntry, previous_hash: str, key: bytes | None = None) -> str:
    """HMAC-SHA-256 over the previous hash and the entry's content as canonical JSON.

    Entries of versions before the key have SHA-256 without a key.
    """
    return content_hash(hashed_content(entry), previous_hash, key)


def content_hash(content: Mapping[str, object], previous_hash: str, key: bytes | None) -> str:
    """The hash of an entry of which only the content exists yet."""
    data = previous_hash.encode() + _ENCODER.encode(content).encode()
    return hashlib.sha256(data).hexdigest() if key is None else hmac.digest(key, data, hashlib.sha256).hex()


@dataclass(frozen=True)
class ChainCheck:
    """The result of a check of the chain; ``broken_at`` is the number of the first invalid entry."""

    entries: int
    last_hash: str
    broken_at: int | None = None
    reason: str | None = None
    keyed_from: int | None = None  # the first entry that nobody without the master key can compute


def check_chain(entries: Iterable[AuditEntry], key: bytes | None = None, head: ChainHead | None = None) -> ChainCheck:
    """Check entries in order, up to the first invalid one, and then the end against the head that was noted.

    With a key, entries without it are valid only before the turning point, an entry that only the key can make.
    """
    previous, expected, keyed_from = GENESIS, 1, None
    gap: tuple[int, str] | None = None
    head_hash = None
    for entry in entries:
        keyed = key is not None and entry.hash == entry_hash(entry, previous, key)
        reason = None
        if entry.seq != expected:
            reason = f"Entry {expected} is missing."
        elif entry.previous_hash != previous:
            reason = f"Entry {entry.seq} does not follow the entry before it."
        elif not keyed and (keyed_from is not None or entry.hash != entry_hash(entry, previous)):
            reason = f"Entry {entry.seq} was altered."
        elif keyed and keyed_from is None and expected > 1 and entry.action != TURNING_POINT:
            reason = f"The entries before entry {entry.seq} were written without the key of this installation."
        if reason is not None:
            return ChainCheck(expected - 1, previous, expected, reason, keyed_from)
        if keyed and keyed_from is None:
            keyed_from = expected
        if entry.action == GAP and gap is None:
            gap = (expected, describe_gap(entry))
        elif entry.action == ACCEPTED:
            gap = None
        if head is not None and head.seq == expected:
            head_hash = entry.hash
        previous, expected = entry.hash, expected + 1
    count = expected - 1
    if key is not None and keyed_from is None and count:
        reason = "No entry has the key of this installation: the chain was written anew, or with another master key."
        return ChainCheck(count, previous, 1, reason)
    if head is not None and head.seq > count:
        return ChainCheck(count, previous, expected, f"{_missing(expected, head.seq)} at the end.", keyed_from)
    if head is not None and head_hash != head.hash:
        reason = f"Entry {head.seq} is not the one that was noted outside of the database."
        return ChainCheck(count, previous, head.seq, reason, keyed_from)
    broken_at, reason = gap if gap is not None else (None, None)
    return ChainCheck(count, previous, broken_at, reason, keyed_from)


def describe_gap(entry: AuditEntry) -> str:
    """What an entry about missing entries means."""
    first, last = int(entry.detail["first"]), int(entry.detail["last"])
    if last < first:
        return f"Entry {last} was replaced before entry {entry.seq} was written."
    return f"{_missing(first, last)}: they existed before entry {entry.seq} took their place."


def _missing(first: int, last: int) -> str:
    return f"Entry {first} is missing" if first == last else f"Entries {first} to {last} are missing"
