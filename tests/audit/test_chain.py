# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medhub.audit.chain import GENESIS, check_chain, entry_hash, hashed_content
from medhub.audit.models import AuditEntry
from medhub.audit.sealed_head import ChainHead

NOON = datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC)


def chain(count: int) -> list[AuditEntry]:
    entries, previous = [], GENESIS
    for seq in range(1, count + 1):
        entry = AuditEntry(
            seq=seq,
            at=NOON + timedelta(seconds=seq),
            actor_id=f"u{seq % 3}",
            actor="Tan Wei Ling",
            action="image.view",
            object_type="image",
            object_id=f"i{seq}",
            project_id="p",
            patient_id=None,
            origin="127.0.0.1",
            outcome="done",
            detail={"what": "rendition", "number": seq},
            previous_hash=previous,
        )
        entry.hash = previous = entry_hash(entry, previous)
        entries.append(entry)
    return entries


OTHER: dict[str, Any] = {
    "at": NOON - timedelta(days=1),
    "actor_id": None,
    "actor": "Somebody Else",
    "action": "image.delete",
    "object_type": "patient",
    "object_id": "other",
    "project_id": "q",
    "patient_id": "x",
    "origin": "10.0.0.1",
    "outcome": "refused",
    "detail": {"what": "original"},
}


def test_an_untouched_chain_holds() -> None:
    entries = chain(5)
    result = check_chain(entries)
    assert (result.entries, result.last_hash, result.broken_at, result.reason) == (5, entries[-1].hash, None, None)


def test_an_empty_chain_holds() -> None:
    assert check_chain([]).broken_at is None
    assert check_chain([]).last_hash == GENESIS


def test_the_hash_covers_every_column_but_the_hashes() -> None:
    columns = set(AuditEntry.__table__.columns.keys())
    assert set(hashed_content(chain(1)[0])) == columns - {"hash", "previous_hash"}
    assert set(OTHER) == columns - {"hash", "previous_hash", "seq"}


@pytest.mark.parametrize("column", sorted(OTHER))
@pytest.mark.parametrize("position", [1, 3, 5])
def test_an_altered_entry_is_found_by_its_number(column: str, position: int) -> None:
    entries = chain(5)
    setattr(entries[position - 1], column, OTHER[column])
    result = check_chain(entries)
    assert (result.broken_at, result.reason, result.entries) == (
        position,
        f"Entry {position} was altered.",
        position - 1,
    )


@pytest.mark.parametrize("position", [1, 2, 4])
def test_a_removed_entry_is_found_by_its_number(position: int) -> None:
    entries = chain(5)
    del entries[position - 1]
    assert (check_chain(entries).broken_at, check_chain(entries).reason) == (position, f"Entry {position} is missing.")


def test_an_altered_entry_whose_hash_was_made_anew_breaks_the_next() -> None:
    entries = chain(5)
    entries[1].actor = "Somebody Else"
    entries[1].hash = entry_hash(entries[1], entries[1].previous_hash)
    assert check_chain(entries).reason == "Entry 3 does not follow the entry before it."


@given(st.integers(2, 7), st.randoms(use_true_random=False))
def test_entries_that_change_places_are_found(count: int, random: Any) -> None:
    entries = chain(count)
    first, other = sorted(random.sample(range(count), 2))
    swapped = copy.copy(entries)
    for column in (*OTHER, "hash", "previous_hash"):
        values = getattr(entries[first], column), getattr(entries[other], column)
        setattr(swapped[other], column, values[0])
        setattr(swapped[first], column, values[1])
    assert check_chain(swapped).broken_at == first + 1


def test_an_end_that_was_cut_off_is_missed_if_its_head_was_noted() -> None:
    entries = chain(5)
    head = ChainHead(5, entries[-1].hash)
    assert check_chain(entries, head=head).broken_at is None
    assert check_chain(entries[:-1], head=head).reason == "Entry 5 is missing at the end."
    assert check_chain(entries, head=ChainHead(5, "0" * 64)).broken_at == 5
