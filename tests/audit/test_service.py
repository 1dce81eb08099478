# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - a transaction is more than one statement
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import DataError
from structlog.testing import capture_logs

from medhub.audit import checkpoints, service
from medhub.audit.chain import GENESIS, ChainCheck, entry_hash
from medhub.audit.models import AuditEntry
from medhub.audit.service import AuditAct, EntryFilter, record, verify_chain
from medhub.errors import Invalid, Unavailable
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from tests.factories.threads import together


def walk(app: AppContext) -> ChainCheck:
    with app.database.reading() as session:
        return verify_chain(session)


def entries(app: AppContext) -> list[AuditEntry]:
    with app.database.reading() as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.seq)))


def write(app: AppContext, *actions: str, **more: Any) -> None:
    with app.database.writing(durable=False) as session:
        for action in actions:
            record(session, AuditAct(action, "thing", **more))


def read(app: AppContext, *actions: str) -> None:
    with app.database.reading() as session:
        for action in actions:
            record(session, AuditAct(action, "thing"))


def test_an_act_is_written_with_what_it_changed(app: AppContext) -> None:
    write(app, "one", "two", detail={"number": 3})
    recorded = entries(app)
    assert [(entry.seq, entry.action, entry.detail) for entry in recorded] == [
        (1, "one", {"number": 3}),
        (2, "two", {"number": 3}),
    ]
    assert walk(app).broken_at is None


def test_an_act_that_is_rolled_back_leaves_no_entry(app: AppContext) -> None:
    write(app, "kept")
    with pytest.raises(KeyError), app.database.writing() as session:
        record(session, AuditAct("lost", "thing"))
        raise KeyError
    write(app, "kept too")
    assert [(entry.seq, entry.action) for entry in entries(app)] == [(1, "kept"), (2, "kept too")]
    assert walk(app).broken_at is None


def test_a_reading_that_fails_showed_nothing_and_is_not_recorded(app: AppContext) -> None:
    with pytest.raises(KeyError), app.database.reading() as session:
        record(session, AuditAct("seen", "thing"))
        raise KeyError
    assert entries(app) == []


def test_what_was_read_is_recorded_before_the_answer_leaves(app: AppContext) -> None:
    with app.database.reading() as session:
        record(session, AuditAct("seen", "thing"))
        record(session, AuditAct("seen again", "thing"))
        assert entries(app) == []
    assert [entry.action for entry in entries(app)] == ["seen", "seen again"]


def test_nothing_is_shown_when_the_reading_cannot_be_recorded(app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk of Siti")

    monkeypatch.setattr(service, "append", broken)
    with capture_logs() as logged, pytest.raises(Unavailable, match="Nothing was shown"):
        read(app, "seen")
    assert logged[0]["event"] == "audit.not_written"
    assert "Siti" not in str(logged)
    monkeypatch.undo()
    read(app, "seen")  # and the next reader finds the log as it was
    assert [entry.action for entry in entries(app)] == ["seen"]


def test_nothing_is_changed_when_the_act_cannot_be_recorded(app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(service, "append", broken)
    with pytest.raises(OSError, match="full"):
        write(app, "change")
    assert entries(app) == []


def test_the_chain_holds_after_many_readers_and_writers_at_once(app: AppContext) -> None:
    def writer(number: int) -> None:
        for count in range(12):
            write(app, f"write {number} {count}")

    def reader(number: int) -> None:
        for count in range(12):
            read(app, f"read {number} {count}", f"look {number} {count}")

    together(
        *(lambda n=n: writer(n) for n in range(4)),
        *(lambda n=n: reader(n) for n in range(6)),
    )
    recorded = entries(app)
    assert [entry.seq for entry in recorded] == list(range(1, 4 * 12 + 6 * 24 + 1))
    assert len({entry.action for entry in recorded}) == len(recorded)
    assert walk(app).broken_at is None
    by_reader = [entry.action for entry in recorded if entry.action.startswith("read 3 ")]
    assert by_reader == [f"read 3 {count}" for count in range(12)]


def test_each_of_many_readers_finds_its_own_entry_when_its_reading_has_ended(app: AppContext) -> None:
    def reader(number: int) -> int:
        read(app, f"read {number}")
        with app.database.reading() as session:
            wanted = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == f"read {number}")
            return session.scalar(wanted) or 0

    assert together(*(lambda n=n: reader(n) for n in range(16))) == [1] * 16


def test_readers_who_wait_share_a_transaction(app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    append, sizes = service.append, []
    first_is_in, may_continue = threading.Event(), threading.Event()

    def slow(session: Any, acts: Any) -> None:
        sizes.append(len(acts))
        if len(sizes) == 1:
            first_is_in.set()
            assert may_continue.wait(60)
        append(session, acts)

    monkeypatch.setattr(service, "append", slow)
    recorder = app.database._info["recorder"]
    assert isinstance(recorder, service.Recorder)
    threads = [threading.Thread(target=lambda: read(app, "seen")) for _ in range(9)]
    threads[0].start()
    assert first_is_in.wait(60)
    for thread in threads[1:]:
        thread.start()
    while len(recorder._queue) < 8:
        threading.Event().wait(0.005)
    may_continue.set()
    for thread in threads:
        thread.join(60)
    assert sizes == [1, 8]
    assert len(entries(app)) == 9


@pytest.fixture
def written(app: AppContext) -> list[AuditEntry]:
    """A chain of six entries."""
    for number in range(6):
        write(app, f"act {number}", actor=f"person {number}", detail={"number": number})
    return entries(app)


def alter(app: AppContext, *statements: Any) -> None:
    with app.database.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "change", [{"actor": "another"}, {"detail": {"number": 99}}, {"outcome": "refused"}, {"patient_id": "x"}]
)
def test_a_changed_row_is_named(app: AppContext, written: list[AuditEntry], change: dict[str, Any]) -> None:
    alter(app, update(AuditEntry).where(AuditEntry.seq == 4).values(**change))
    assert (walk(app).broken_at, walk(app).reason) == (4, "Entry 4 was altered.")


def test_a_row_whose_moment_was_changed_by_a_microsecond_is_named(app: AppContext, written: list[AuditEntry]) -> None:
    later = written[2].at + timedelta(microseconds=1)
    alter(app, update(AuditEntry).where(AuditEntry.seq == 3).values(at=later))
    assert walk(app).broken_at == 3


def test_a_deleted_row_is_named(app: AppContext, written: list[AuditEntry]) -> None:
    alter(app, delete(AuditEntry).where(AuditEntry.seq == 2))
    assert (walk(app).broken_at, walk(app).reason) == (2, "Entry 2 is missing.")


def test_a_deleted_row_whose_gap_was_closed_is_named(app: AppContext, written: list[AuditEntry]) -> None:
    alter(
        app,
        delete(AuditEntry).where(AuditEntry.seq == 2),
        *(update(AuditEntry).where(AuditEntry.seq == seq).values(seq=seq - 1) for seq in range(3, 7)),
    )
    assert walk(app).broken_at == 2


def test_an_inserted_row_is_named(app: AppContext, written: list[AuditEntry]) -> None:
    forged = {column.key: getattr(written[5], column.key) for column in AuditEntry.__table__.columns}
    forged |= {"seq": 7, "actor": "somebody else", "previous_hash": written[5].hash}
    alter(app, insert(AuditEntry).values(**forged))
    assert (walk(app).broken_at, walk(app).reason) == (7, "Entry 7 was altered.")


def test_rows_that_changed_places_are_named(app: AppContext, written: list[AuditEntry]) -> None:
    alter(
        app,
        update(AuditEntry).where(AuditEntry.seq == 2).values(seq=99),
        update(AuditEntry).where(AuditEntry.seq == 5).values(seq=2),
        update(AuditEntry).where(AuditEntry.seq == 99).values(seq=5),
    )
    assert walk(app).broken_at == 2


@pytest.mark.parametrize("first", [1, 4, 6])
def test_rows_that_were_cut_off_at_the_end_are_missed(app: AppContext, written: list[AuditEntry], first: int) -> None:
    alter(app, delete(AuditEntry).where(AuditEntry.seq >= first))
    missing = "Entry 6 is" if first == 6 else f"Entries {first} to 6 are"
    assert (walk(app).broken_at, walk(app).reason) == (first, f"{missing} missing at the end.")


@pytest.mark.parametrize("by", [write, read])
def test_rows_that_were_cut_off_stay_missed_after_others_took_their_place(
    app: AppContext, written: list[AuditEntry], by: Callable[..., None]
) -> None:
    alter(app, delete(AuditEntry).where(AuditEntry.seq >= 4))
    for number in range(5):
        by(app, f"later {number}")
    assert [entry.action for entry in entries(app)[3:5]] == ["audit.gap", "later 0"]
    assert (walk(app).broken_at, walk(app).entries) == (4, 9)
    assert walk(app).reason == "Entries 4 to 6 are missing: they existed before entry 4 took their place."
    with app.database.writing() as session:
        checkpoints.accept_gaps(session, "Restored the backup of Monday.")
    assert walk(app).broken_at is None


def test_a_last_row_that_was_replaced_is_noted_when_the_next_is_written(
    app: AppContext, written: list[AuditEntry]
) -> None:
    alter(app, update(AuditEntry).where(AuditEntry.seq == 6).values(hash="0" * 64))
    write(app, "later")
    assert entries(app)[6].action == "audit.gap"
    assert walk(app).broken_at == 6


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("key", [None, b"x" * 32])
def test_a_chain_written_anew_without_the_key_is_named(
    app: AppContext, written: list[AuditEntry], first: int, key: bytes | None
) -> None:
    """Whoever writes the database can compute the chain of an earlier version, or with another key, but not this."""
    previous = written[first - 2].hash if first > 1 else GENESIS
    for entry in written[first - 1 :]:
        entry.actor = "somebody else"
        entry.previous_hash, digest = previous, entry_hash(entry, previous, key)
        change = {"actor": "somebody else", "previous_hash": previous, "hash": digest}
        alter(app, update(AuditEntry).where(AuditEntry.seq == entry.seq).values(**change))
        previous = digest
    assert walk(app).broken_at == first
    service.protect_chain(app.database)  # a start of the server does not take it for a chain of an earlier version
    assert walk(app).broken_at == first
    write(app, "later")
    assert walk(app).broken_at is not None


def write_old_chain(app: AppContext, count: int) -> None:
    """Write entries as versions without a key did."""
    previous = GENESIS
    for seq in range(1, count + 1):
        entry = AuditEntry(
            seq=seq, at=clock.now(), actor="a", action="act", object_type="thing", origin="x", outcome="done", detail={}
        )
        entry.previous_hash, entry.hash = previous, entry_hash(entry, previous)
        previous = entry.hash
        values = {column.key: getattr(entry, column.key) for column in AuditEntry.__table__.columns}
        alter(app, insert(AuditEntry).values(**values))


@pytest.mark.parametrize("starts", [True, False])
def test_a_chain_of_an_earlier_version_goes_on_with_the_key(app: AppContext, starts: bool) -> None:
    write_old_chain(app, 3)
    assert walk(app).broken_at == 1
    if starts:
        service.protect_chain(app.database)
        service.protect_chain(app.database)
    write(app, "later")
    assert [entry.action for entry in entries(app)] == ["act", "act", "act", "audit.key", "later"]
    assert (walk(app).broken_at, walk(app).keyed_from) == (None, 4)
    alter(app, update(AuditEntry).where(AuditEntry.seq == 2).values(actor="b"))
    assert walk(app).broken_at == 2


def test_old_entries_without_the_turning_point_are_named(app: AppContext) -> None:
    write_old_chain(app, 3)
    service.protect_chain(app.database)
    write(app, "later")
    alter(app, delete(AuditEntry).where(AuditEntry.seq >= 4))
    service.protect_chain(app.database)
    assert walk(app).broken_at == 1
    write(app, "later")
    assert walk(app).broken_at == 4


def test_a_damaged_file_of_the_head_is_reported_and_not_replaced(app: AppContext, written: list[AuditEntry]) -> None:
    path = app.settings.data / "audit" / "head"
    for content in (b"", b"x", path.read_bytes().replace(b"6 ", b"5 ", 1)):
        path.write_bytes(content)
        assert "head was altered" in str(walk(app).reason)
    write(app, "later")
    assert "head was altered" in str(walk(app).reason)


def test_a_checkpoint_is_missed_where_its_entry_is_gone_or_another(app: AppContext, written: list[AuditEntry]) -> None:
    with app.database.reading() as session:
        text = checkpoints.make_checkpoint(session, app.keys)
        checkpoint = checkpoints.read_checkpoint(text, app.keys)
        assert checkpoints.contradiction(session, checkpoint) is None
    for altered in (text.replace('"seq": 6', '"seq": 5'), text.replace("signature", "seal"), "{}", "[]", "x"):
        with pytest.raises(Invalid):
            checkpoints.read_checkpoint(altered, app.keys)
    (app.settings.data / "audit" / "head").unlink()  # by somebody who can write the data folder too
    alter(app, delete(AuditEntry).where(AuditEntry.seq >= 5))
    with app.database.reading() as session:
        assert checkpoints.contradiction(session, checkpoint) is not None
    write(app, "one", "two", "three")
    with app.database.reading() as session:
        assert "is not the one" in str(checkpoints.contradiction(session, checkpoint))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=120),
)
def test_whatever_an_act_tells_its_entry_holds_after_it_was_stored(
    app: AppContext, detail: dict[str, Any], actor: str
) -> None:
    write(app, "act", detail=detail, actor=actor)
    assert walk(app).broken_at is None


def test_entries_are_found_by_what_is_asked(app: AppContext) -> None:
    before = clock.now()
    write(app, "patient.read", project_id="p", actor_id="u1", actor="Élodie", patient_id="x", object_id="o1")
    write(app, "image.view", project_id="p", actor_id="u2", actor="Tan", patient_id="y", outcome="refused")
    write(app, "image.view", project_id="q", actor_id="u1", actor="Élodie", patient_id="z")
    write(app, "account.sign-in", actor_id="u1", actor="Élodie")
    write(app, "account.sign-in", actor_id="u9", actor="a stranger")

    def sequence_numbers(**filters: Any) -> list[int]:
        projects = filters.pop("projects", {"p"})
        with app.database.reading() as session:
            chosen = EntryFilter(frozenset(projects), frozenset({"u1", "u2"}), **filters)
            rows, total = service.list_entries(session, chosen, offset=0, limit=10)
            assert total == len(rows)
            return [row.seq for row in rows]

    assert sequence_numbers() == [4, 2, 1]
    assert sequence_numbers(projects={"p", "q"}) == [4, 3, 2, 1]
    assert sequence_numbers(projects=set()) == [4]
    assert sequence_numbers(action="image.view") == [2]
    assert sequence_numbers(actor_id="u1") == [4, 1]
    assert sequence_numbers(patient_id="y") == [2]
    assert sequence_numbers(object_type="thing", object_id="o1") == [1]
    assert sequence_numbers(outcome="refused") == [2]
    assert sequence_numbers(query="éLO") == [4, 1]
    assert sequence_numbers(query="sign-in") == [4]
    assert sequence_numbers(query="o1") == [1]
    assert sequence_numbers(query="%") == []
    assert sequence_numbers(since=before) == [4, 2, 1]
    assert sequence_numbers(until=before) == []
    with app.database.reading() as session:
        rows, total = service.list_entries(session, EntryFilter(frozenset({"p"}), frozenset({"u1"})), offset=1, limit=1)
        assert ([row.seq for row in rows], total) == ([2], 3)
        assert service.list_actions(session) == ["account.sign-in", "image.view", "patient.read"]


def test_an_act_that_the_database_refuses_fails_alone(app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that share a batch with it get their answers."""
    written = service.append
    refused: list[str] = []

    def append_slowly(session: Any, acts: Any) -> None:
        time.sleep(0.1)  # the others wait meanwhile, and share the next batch
        if any(act.action == "broken" for act in acts):
            raise DataError("INSERT", None, ValueError())
        written(session, acts)

    monkeypatch.setattr(service, "append", append_slowly)

    def read_numbered(number: int) -> None:
        try:
            read(app, "broken" if number == 3 else f"read {number}")
        except Unavailable:
            refused.append(str(number))

    together(*(partial(read_numbered, number) for number in range(8)))
    assert refused == ["3"]
    assert sorted(entry.action for entry in entries(app)) == [f"read {n}" for n in range(8) if n != 3]
    assert walk(app).broken_at is None
