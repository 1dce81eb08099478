# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - a transaction is more than one statement
from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from medhub.errors import Conflict, Unavailable
from medhub.foundation import clock, jobs
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import (
    MAX_ATTEMPTS,
    MAX_ATTEMPTS_LASTING,
    MAX_ATTEMPTS_REPORTED,
    Job,
    JobInterrupted,
    LongHandler,
    Runner,
    count_failed,
    count_unfinished,
    enqueue,
    retry_failed,
)
from tests.factories.threads import together
from tests.factories.time import MovableClock


@pytest.fixture
def movable_clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    return MovableClock(monkeypatch)


def add(app: AppContext, *numbers: int, kind: str = "note") -> None:
    with app.database.writing() as session:
        for number in numbers:
            enqueue(session, kind, {"number": number})


def only_job(app: AppContext) -> Job:
    with app.database.reading() as session:
        return session.scalars(select(Job)).one()


def runner(app: AppContext, note: Callable[..., None], **more: Any) -> Runner:
    return Runner(app.database, {"note": note}, **more)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


class Broken(Conflict):
    code = "broken"


def test_a_job_runs_with_its_arguments_and_is_done(app: AppContext) -> None:
    ran: list[int] = []
    add(app, 7)
    assert runner(app, lambda number: ran.append(number)).run_pending() == 1
    assert ran == [7]
    job = only_job(app)
    assert (job.state, job.attempts, job.owner, job.leased_until, job.error) == ("done", 1, None, None, None)
    assert job.finished_at is not None
    assert runner(app, lambda number: ran.append(number)).run_pending() == 0


def test_a_job_of_a_transaction_that_is_rolled_back_does_not_exist(app: AppContext) -> None:
    with pytest.raises(KeyError), app.database.writing() as session:
        enqueue(session, "note", {"number": 1})
        raise KeyError
    with app.database.reading() as session:
        assert count_unfinished(session) == 0


def test_jobs_run_in_the_order_in_which_they_were_written(app: AppContext) -> None:
    ran: list[int] = []
    for number in range(5):
        add(app, number)
    runner(app, lambda number: ran.append(number)).run_pending()
    assert ran == [0, 1, 2, 3, 4]


def test_runners_at_the_same_time_run_each_job_once(app: AppContext) -> None:
    ran: list[int] = []

    def note(number: int) -> None:
        ran.append(number)

    add(app, *range(60))
    counts = together(*(runner(app, note).run_pending for _ in range(4)))
    assert Counter(ran) == Counter(range(60))
    assert sum(counts) == 60
    with app.database.reading() as session:
        assert {(job.state, job.attempts) for job in session.scalars(select(Job))} == {("done", 1)}


def test_a_leased_job_is_left_alone_until_its_lease_has_ended(app: AppContext, movable_clock: MovableClock) -> None:
    at_work, may_continue = threading.Event(), threading.Event()
    ran: list[str] = []

    def slow(number: int) -> None:
        at_work.set()
        may_continue.wait(60)
        ran.append("slow")
        raise Broken("late")

    add(app, 1)
    first = threading.Thread(target=runner(app, slow, lease_s=30).run_pending)
    first.start()
    assert at_work.wait(60)
    other = runner(app, lambda number: ran.append("other"), lease_s=30)
    assert other.run_pending() == 0
    movable_clock.advance(seconds=31)  # nobody renewed the lease: the first runner is taken for dead
    assert other.run_pending() == 1
    done = only_job(app)
    assert (done.state, done.attempts) == ("done", 2)
    may_continue.set()  # but it lives, and comes too late
    first.join(60)
    assert ran == ["other", "slow"]
    job = only_job(app)
    assert (job.state, job.attempts, job.error, job.finished_at) == ("done", 2, None, done.finished_at)


def test_a_runner_at_work_renews_its_lease(app: AppContext) -> None:
    at_work, may_continue = threading.Event(), threading.Event()

    def slow(number: int) -> None:
        at_work.set()
        may_continue.wait(60)

    def leased_until() -> datetime:
        until = only_job(app).leased_until
        assert until is not None
        return until

    add(app, 1)
    working = runner(app, slow, lease_s=0.2)
    working.start()
    assert at_work.wait(60)
    first = leased_until()
    eventually(lambda: leased_until() > first + timedelta(seconds=0.2))
    assert only_job(app).attempts == 1
    may_continue.set()
    working.stop(60)
    assert not working.alive
    assert only_job(app).state == "done"


def test_a_job_that_fails_is_tried_again_after_a_growing_wait(app: AppContext, movable_clock: MovableClock) -> None:
    def fail(number: int) -> None:
        raise Broken("not today")

    add(app, 1)
    failing = runner(app, fail)
    waits = []
    for attempt in range(1, MAX_ATTEMPTS):
        before = clock.now()
        assert failing.run_pending() == 1
        job = only_job(app)
        assert (job.state, job.attempts, job.error) == ("waiting", attempt, "broken")
        waits.append((job.run_after - before).total_seconds())
        assert failing.run_pending() == 0
        movable_clock.advance(seconds=waits[-1] + 0.1)
    assert [round(wait) for wait in waits] == [2, 4, 8, 16]
    assert failing.run_pending() == 1
    job = only_job(app)
    assert (job.state, job.attempts, job.error) == ("failed", MAX_ATTEMPTS, "broken")
    movable_clock.advance(days=1)
    assert failing.run_pending() == 0


def test_what_was_given_up_is_told_once(app: AppContext, movable_clock: MovableClock) -> None:
    given_up: list[int] = []

    def fail(number: int) -> None:
        raise Broken("never")

    add(app, 3)
    failing = runner(app, fail, abandoned={"note": lambda number: given_up.append(number)})
    for _ in range(MAX_ATTEMPTS + 2):
        failing.run_pending()
        movable_clock.advance(minutes=5)
    assert given_up == [3]


def test_a_job_whose_processes_died_each_time_is_given_up_without_another_try(
    app: AppContext, movable_clock: MovableClock
) -> None:
    ran: list[int] = []
    given_up: list[int] = []
    add(app, 9)
    with app.database.writing() as session:
        session.execute(
            update(Job).values(
                state="running",
                owner="dead",
                attempts=MAX_ATTEMPTS_REPORTED,
                leased_until=clock.now() - timedelta(seconds=1),
            )
        )
    heir = runner(app, lambda number: ran.append(number), abandoned={"note": lambda number: given_up.append(number)})
    assert heir.run_pending() == 1
    assert (ran, given_up) == ([], [9])
    job = only_job(app)
    assert (job.state, job.error, job.owner) == ("failed", "process-died", None)


def test_a_job_whose_process_was_killed_waits_and_then_runs(app: AppContext, movable_clock: MovableClock) -> None:
    ran: list[int] = []
    add(app, 9)
    heir = runner(app, lambda number: ran.append(number))
    for attempts in range(MAX_ATTEMPTS, 25):
        with app.database.writing() as session:
            dead = {"owner": "dead", "leased_until": clock.now() - timedelta(seconds=1)}
            session.execute(update(Job).values(state="running", attempts=attempts, **dead))
        assert heir.run_pending() == 0
        job = only_job(app)
        assert (job.state, job.error, job.attempts) == ("waiting", "process-died", attempts)
    movable_clock.advance(minutes=16)
    assert heir.run_pending() == 1
    assert ran == [9]
    assert only_job(app).state == "done"


TEMPORARY = [Unavailable("The disk is away."), OSError("too many open files"), RuntimeError("?")]


@pytest.mark.parametrize("failure", TEMPORARY, ids=["unavailable", "descriptors", "unexpected"])
@pytest.mark.parametrize("days", [1, 5])
def test_a_job_outlives_a_failure_of_days(
    app: AppContext, movable_clock: MovableClock, failure: Exception, days: int
) -> None:
    failures: list[Exception] = [failure]

    def fail(number: int) -> None:
        if failures:
            raise failures[0]

    add(app, 1)
    failing = runner(app, fail)
    for _ in range(4 * 24 * days):
        failing.run_pending()
        movable_clock.advance(minutes=15, seconds=1)
    assert only_job(app).state == "waiting"
    failures.clear()
    failing.run_pending()
    assert only_job(app).state == "done"


def test_a_job_of_a_clock_that_was_ahead_does_not_wait(app: AppContext, movable_clock: MovableClock) -> None:
    got: list[int] = []
    movable_clock.advance(days=1)
    with app.database.writing() as session:
        enqueue(session, "note", {"number": 1}, run_after=clock.now() + timedelta(seconds=60))
    movable_clock.advance(days=-1)
    runner(app, lambda number: got.append(number)).run_pending()
    assert got == [1]


def test_a_repeat_that_a_clock_ahead_put_off_does_not_wait(app: AppContext, movable_clock: MovableClock) -> None:
    got: list[int] = []

    def fail_once(number: int) -> None:
        got.append(number)
        if len(got) == 1:
            raise Unavailable("away")

    add(app, 1)
    movable_clock.advance(hours=3)
    runner(app, fail_once).run_pending()
    movable_clock.advance(hours=-3)
    runner(app, fail_once).run_pending()
    assert got == [1, 1]


def test_a_lease_of_a_clock_that_was_ahead_has_ended(app: AppContext, movable_clock: MovableClock) -> None:
    got: list[int] = []
    add(app, 1)
    movable_clock.advance(days=1)
    assert runner(app, lambda number: None)._claim() is not None  # its process dies
    movable_clock.advance(days=-1)
    runner(app, lambda number: got.append(number)).run_pending()
    assert got == [1]


def test_a_job_that_is_wanted_later_still_waits(app: AppContext, movable_clock: MovableClock) -> None:
    got: list[int] = []
    with app.database.writing() as session:
        enqueue(session, "note", {"number": 1}, run_after=clock.now() + timedelta(hours=1))
    for _ in range(2):
        runner(app, lambda number: got.append(number)).run_pending()
        assert got == []
        movable_clock.advance(minutes=-0.5)  # two clocks may differ by seconds
    movable_clock.advance(hours=1, minutes=2)
    runner(app, lambda number: got.append(number)).run_pending()
    assert got == [1]


def test_a_failed_job_runs_again_when_a_person_says_so(app: AppContext, movable_clock: MovableClock) -> None:
    failures: list[int] = [1]

    def fail(number: int) -> None:
        if failures:
            raise Unavailable("away")

    add(app, 1, 2)
    with app.database.writing() as session:
        session.execute(update(Job).values(attempts=MAX_ATTEMPTS_LASTING - 1))
    failing = runner(app, fail)
    failing.run_pending()
    with app.database.reading() as session:
        assert (count_failed(session), count_unfinished(session)) == (2, 0)
    failures.clear()
    with app.database.writing() as session:
        first = session.scalars(select(Job.id).order_by(Job.id)).first()
        assert (retry_failed(session, first), retry_failed(session, "none")) == (1, 0)
    assert failing.run_pending() == 1
    with app.database.writing() as session:
        assert retry_failed(session) == 1
    assert failing.run_pending() == 1
    with app.database.reading() as session:
        assert count_failed(session) == 0


def test_a_failure_leaves_its_kind_and_never_its_words(app: AppContext) -> None:
    def fail(number: int) -> None:
        raise ValueError("Siti binti Abdullah")

    add(app, 1)
    with capture_logs() as logged:
        runner(app, fail).run_pending()
    assert only_job(app).error == "ValueError"
    assert logged[0]["event"] == "job.failed"
    assert "Siti" not in str(logged)


def test_a_job_of_a_kind_that_nobody_handles_is_not_lost(app: AppContext) -> None:
    add(app, 1, kind="unheard-of")
    assert runner(app, lambda number: None).run_pending() == 1
    job = only_job(app)
    assert (job.state, job.error) == ("waiting", "KeyError")


def test_one_failure_does_not_keep_the_others_waiting(app: AppContext) -> None:
    ran: list[int] = []

    def some(number: int) -> None:
        if number == 1:
            raise Broken("this one")
        ran.append(number)

    add(app, 1, 2, 3)
    assert runner(app, some).run_pending() == 3
    assert ran == [2, 3]


def test_a_runner_wakes_as_soon_as_a_job_is_committed(app: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_S", 3600.0)
    ran = threading.Event()
    working = runner(app, lambda number: ran.set())
    working.start()
    assert working.alive
    try:
        eventually(lambda: not jobs._wake.is_set())
        add(app, 1)
        assert ran.wait(60)
    finally:
        working.stop(60)
    assert not working.alive


def test_a_runner_outlives_a_database_that_is_away_for_a_while(
    app: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = threading.Event()
    working = runner(app, lambda number: ran.set())
    claim = working._claim
    failures: list[int] = []

    def away_at_first(**which: bool) -> Job | None:
        if len(failures) < 2:
            failures.append(1)
            raise OSError("the server said: Siti")
        return claim(**which)

    monkeypatch.setattr(working, "_claim", away_at_first)
    add(app, 1)
    with capture_logs() as logged:
        working.start()
        assert ran.wait(60)
        working.stop(60)
    assert [entry["error"] for entry in logged if entry["event"] == "jobs.runner_failed"] == ["OSError", "OSError"]
    assert "Siti" not in str(logged)


def test_unfinished_jobs_are_counted(app: AppContext) -> None:
    add(app, 1, 2, 3)

    def count(number: int) -> None:
        with app.database.reading() as session:
            left.append(count_unfinished(session))

    left: list[int] = []
    runner(app, count).run_pending()
    assert left == [3, 2, 1]


# Long jobs.


def test_long_and_short_jobs_are_claimed_apart(app: AppContext) -> None:
    ran: list[str] = []

    def long(number: int, stopping: threading.Event) -> None:
        assert not stopping.is_set()
        ran.append(f"long {number}")

    add(app, 1, kind="study")
    add(app, 2)
    working = Runner(app.database, {"note": lambda number: ran.append(f"short {number}"), "study": LongHandler(long)})
    assert working.run_pending() == 1
    assert ran == ["short 2"]
    assert working.run_pending(long=True) == 1
    assert ran == ["short 2", "long 1"]


def test_a_long_job_holds_up_no_short_one_and_leaves_off_when_its_runner_stops(app: AppContext) -> None:
    started, ran = threading.Event(), threading.Event()

    def long(number: int, stopping: threading.Event) -> None:
        started.set()
        assert stopping.wait(60)
        raise JobInterrupted

    add(app, 1, kind="study")
    working = Runner(app.database, {"note": lambda number: ran.set(), "study": LongHandler(long)})
    working.start()
    try:
        assert started.wait(60)
        add(app, 2)
        assert ran.wait(60)
        assert working.alive
    finally:
        working.stop(60)
    with app.database.reading() as session:
        job = session.scalars(select(Job).where(Job.kind == "study")).one()
    assert (job.state, job.attempts, job.owner, job.leased_until, job.error) == ("waiting", 0, None, None, None)


def test_one_long_job_runs_at_a_time_in_a_process(app: AppContext) -> None:
    at_once: list[int] = []
    most: list[int] = []
    done = threading.Semaphore(0)

    def long(number: int, stopping: threading.Event) -> None:
        at_once.append(number)
        most.append(len(at_once))
        time.sleep(0.2)
        at_once.remove(number)
        done.release()

    add(app, 1, 2, 3, kind="study")
    runners = [Runner(app.database, {"study": LongHandler(long)}) for _ in range(2)]
    for runner in runners:
        runner.start()
    try:
        assert all(done.acquire(timeout=60) for _ in range(3))
    finally:
        for runner in runners:
            runner.stop(60)
    assert most == [1, 1, 1]
