# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - a transaction is more than one statement
from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import ForeignKey, String, func, insert, literal, select
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from medhub.errors import Unavailable
from medhub.foundation import database as module
from medhub.foundation.database import Database, Document, UTCDateTime, after_commit, after_reading, before_commit
from tests.factories.threads import together


class Base(DeclarativeBase):
    """Tables of these tests alone."""

    type_annotation_map = {datetime: UTCDateTime, dict[str, Any]: Document}  # noqa: RUF012


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str] = mapped_column(String(100))
    at: Mapped[datetime | None]
    more: Mapped[dict[str, Any] | None]


class Answer(Base):
    __tablename__ = "answers"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("notes.id"))


@pytest.fixture
def database(empty: Database) -> Database:
    with empty.engine.begin() as connection:
        Base.metadata.create_all(connection)
    return empty


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """SQLite alone: PostgreSQL has no lock of the whole database."""
    database = Database(f"sqlite:///{tmp_path / 'alone.sqlite'}")
    yield database
    database.close()


def words(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.scalars(select(Note.words).order_by(Note.id)))


def test_a_writing_session_commits_at_its_end(database: Database) -> None:
    with database.writing() as session:
        session.add(Note(words="kept"))
        assert words(database) == []
    assert words(database) == ["kept"]


def test_a_writing_session_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyError), database.writing() as session:
        session.add(Note(words="lost"))
        session.flush()
        raise KeyError
    assert words(database) == []
    with database.writing() as session:  # and the next may write
        session.add(Note(words="kept"))
    assert words(database) == ["kept"]


def test_what_is_written_before_the_commit_goes_with_it(database: Database) -> None:
    with database.writing() as session:
        session.add(Note(words="first"))
        before_commit(session, lambda inner: inner.add(Note(words="last")))
    assert words(database) == ["first", "last"]
    with pytest.raises(ZeroDivisionError), database.writing() as session:
        session.add(Note(words="lost"))
        before_commit(session, lambda _inner: 1 / 0)  # type: ignore[arg-type]
    assert words(database) == ["first", "last"]


def test_what_follows_a_commit_happens_only_after_one(database: Database) -> None:
    seen: list[list[str]] = []
    with database.writing() as session:
        after_commit(session, lambda: seen.append(words(database)))
        session.add(Note(words="kept"))
    assert seen == [["kept"]]
    with pytest.raises(KeyError), database.writing() as session:
        after_commit(session, lambda: seen.append([]))
        raise KeyError
    assert seen == [["kept"]]


def test_what_follows_a_reading_happens_only_when_it_ended_well(database: Database) -> None:
    seen: list[str] = []
    with database.reading() as session:
        after_reading(session, lambda: seen.append("told"))
        assert seen == []
    assert seen == ["told"]
    with pytest.raises(KeyError), database.reading() as session:
        after_reading(session, lambda: seen.append("never"))
        raise KeyError
    assert seen == ["told"]


def test_what_a_reading_session_changes_is_not_kept(database: Database) -> None:
    with database.reading() as session:
        session.add(Note(words="by mistake"))
        session.flush()
    assert words(database) == []


def test_a_reading_session_sees_one_state_while_others_write(database: Database) -> None:
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Note)) == 0
        with database.writing() as writer:
            writer.add(Note(words="meanwhile"))
        assert session.scalar(select(func.count()).select_from(Note)) == 0
    assert words(database) == ["meanwhile"]


def test_writing_inside_writing_is_refused_where_it_would_wait_for_itself(sqlite: Database) -> None:
    with sqlite.writing(), pytest.raises(RuntimeError, match="inside another"), sqlite.writing():
        pass
    with sqlite.writing():
        pass


def test_a_writer_that_waits_too_long_is_told_so(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT_S", 0.01)
    caught: list[Unavailable] = []

    def other() -> None:
        try:
            with sqlite.writing():
                pass
        except Unavailable as error:
            caught.append(error)

    with sqlite.writing():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "busy" in caught[0].message


def test_many_writers_at_once_all_write(database: Database) -> None:
    def write(number: int) -> None:
        for count in range(10):
            with database.writing(durable=False) as session:
                before = session.scalar(select(func.count()).select_from(Note)) or 0
                session.add(Note(words=f"{number} {count} {before}"))

    together(*(lambda n=n: write(n) for n in range(6)))
    written = words(database)
    assert len(written) == 60
    assert len({tuple(line.split()[:2]) for line in written}) == 60


def test_a_second_process_waits_for_the_first_instead_of_failing(empty_url: str, database: Database) -> None:
    other = Database(empty_url)
    counted: list[int] = []

    def write() -> None:
        with other.writing() as session:
            counted.append(session.scalar(select(func.count()).select_from(Note)) or 0)
            session.add(Note(words="second"))

    thread = threading.Thread(target=write)
    with database.writing() as session:
        session.add(Note(words="first"))
        session.flush()
        thread.start()
    thread.join(60)
    other.close()
    assert sorted(words(database)) == ["first", "second"]
    if database.is_sqlite:
        assert counted == [1]


def test_sessions_carry_what_the_database_was_given(empty_url: str) -> None:
    database = Database(empty_url, info={"flow": "one"})
    database.set_session_info("recorder", "two")
    with database.reading() as session:
        assert (session.info["flow"], session.info["recorder"], session.info["writing"]) == ("one", "two", False)
        session.info["mine"] = 1
    with database.writing() as session:
        assert (session.info["flow"], session.info["writing"]) == ("one", True)
        assert "mine" not in session.info
    database.close()


@pytest.mark.parametrize(
    ("given", "lowered"),
    [("ÉLODIE ÇELIK", "élodie çelik"), ("ÅSA ÖST", "åsa öst"), ("ΣΟΦΙΑ", "σοφια"), ("ЖАННА", "жанна")],
)
def test_lower_knows_more_than_ascii(empty: Database, given: str, lowered: str) -> None:
    with empty.reading() as session:
        assert session.scalar(select(func.lower(literal(given)))) == lowered


def test_lower_of_nothing_is_nothing(database: Database) -> None:
    with database.reading() as session:
        assert session.scalar(select(func.lower(literal(None, String)))) is None


def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(Answer(note_id=7))


def test_an_error_of_the_database_does_not_quote_what_was_to_be_written(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught, database.writing() as session:
        session.add(Note(id=1, words="first"))
        session.flush()
        session.execute(insert(Note), [{"id": 1, "words": "Siti binti Abdullah"}])
    assert "Siti" not in str(caught.value)


def test_moments_come_back_as_they_were_in_utc(database: Database) -> None:
    there = datetime(2026, 11, 21, 8, 30, 1, 123456, tzinfo=timezone(timedelta(hours=8)))
    with database.writing() as session:
        session.add(Note(id=1, words="", at=there))
    with database.reading() as session:
        back = session.get_one(Note, 1).at
    assert back == there
    assert back is not None
    assert back.tzinfo is UTC or back.utcoffset() == timedelta(0)


def test_a_datetime_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a time zone"), database.writing() as session:
        session.add(Note(words="", at=datetime(2026, 11, 21)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
        max_size=4,
    )
)
def test_documents_come_back_as_they_were(database: Database, document: dict[str, Any]) -> None:
    with database.writing(durable=False) as session:
        note = Note(words="", more=document)
        session.add(note)
    with database.reading() as session:
        assert session.get_one(Note, note.id).more == document


def test_a_closed_check_raises(empty_url: str) -> None:
    broken = Database("sqlite:////nowhere/at/all/medhub.sqlite")
    with pytest.raises(Exception, match="unable to open"):
        broken.check()
    broken.close()
    restored = Database(empty_url)
    restored.check()
    restored.close()
