# SPDX-License-Identifier: Apache-2.0
"""Background jobs: database rows that runners lease, so that no job is lost or runs twice at the same time.

A runner claims a row for the duration of a lease and renews the lease while it works; after the lease has expired, any
runner may claim the row. A job is an idempotent function of ids.

A job that fails is repeated after a growing wait: five times where its input is the reason, otherwise for an hour if
people are told that it was given up, and else for a week. The limits are numbers of attempts, which no clock changes.

A clock that was ahead and is set right leaves times far in the future. A wait or a lease that is longer than the
longest one has therefore ended.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, String, and_, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from medhub.errors import MedhubError
from medhub.foundation import clock, ids
from medhub.foundation.database import Base, Database, after_commit
from medhub.foundation.logging import get_logger

log = get_logger()

MAX_ATTEMPTS = 5
# Where the reason may pass by itself: about an hour for jobs with a failure handler, a week for others.
MAX_ATTEMPTS_REPORTED = 12
MAX_ATTEMPTS_LASTING = 700
LONGEST_WAIT_S = 900
# The longest time for which a job may be enqueued ahead.
LONGEST_DELAY_S = 24 * 3600
POLL_S = 0.5

Handler = Callable[..., None]


class JobInterrupted(Exception):
    """A long job has stopped because its runner stops; another runner continues it."""


@dataclass(frozen=True)
class LongHandler:
    """A handler whose jobs take minutes or hours: they run in a separate thread and delay no other job.

    The handler gets the event ``stopping`` with the arguments of the job, and raises ``JobInterrupted`` soon after the
    event is set.
    """

    handler: Handler

    def __call__(self, **arguments: Any) -> None:
        """Run the job."""
        self.handler(**arguments)


# One long job at a time in a process: two trainings on the same cores would both take more than twice as long.
_long_job_lock = threading.Lock()


class Job(Base):
    """A job to run in the background."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_ready", "state", "run_after"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    arguments: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(8))  # waiting, running, done, failed
    attempts: Mapped[int] = mapped_column(default=0)
    run_after: Mapped[datetime]
    owner: Mapped[str | None] = mapped_column(String(32))
    leased_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(String(200))


_wake = threading.Event()


def enqueue(session: Session, kind: str, arguments: dict[str, Any], *, run_after: datetime | None = None) -> None:
    """Add a job in the session's transaction; a runner of this process wakes up after the commit."""
    moment = clock.now()
    after = min(run_after or moment, moment + timedelta(seconds=LONGEST_DELAY_S))
    job = Job(id=ids.new_id(), kind=kind, arguments=arguments, state="waiting", run_after=after, created_at=moment)
    session.add(job)
    after_commit(session, _wake.set)


def count_unfinished(session: Session) -> int:
    """The number of jobs that are waiting or running."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(("waiting", "running")))) or 0


def count_failed(session: Session) -> int:
    """The number of jobs that were given up."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.state == "failed")) or 0


def list_failed(session: Session, limit: int = 200) -> Sequence[Job]:
    """Jobs that were given up, the latest first."""
    query = select(Job).where(Job.state == "failed").order_by(Job.finished_at.desc(), Job.id).limit(limit)
    return session.scalars(query).all()


def retry_failed(session: Session, job_id: str | None = None) -> int:
    """Let one failed job, or all of them, run again as new ones; return their number."""
    query = update(Job).where(Job.state == "failed")
    if job_id is not None:
        query = query.where(Job.id == job_id)
    values = {"state": "waiting", "attempts": 0, "run_after": clock.now(), "finished_at": None}
    result = session.execute(query.values(**values), execution_options={"synchronize_session": False})
    after_commit(session, _wake.set)
    return int(getattr(result, "rowcount", 0))


class Runner:
    """Threads that claim and run jobs: one for short jobs, one for long jobs, and one that renews the leases."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        *,
        abandoned: Mapping[str, Handler] | None = None,
        lease_s: float = 30.0,
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._abandoned = abandoned or {}
        self._lease = timedelta(seconds=lease_s)
        self._owner = ids.new_id()
        self._stopping = threading.Event()
        self._long = frozenset(kind for kind, handler in handlers.items() if isinstance(handler, LongHandler))
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._long_thread = threading.Thread(target=self._work_long, name="jobs-long", daemon=True)
        self._lease_thread = threading.Thread(target=self._renew_leases, name="jobs-lease", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._thread.start()
        if self._long:
            self._long_thread.start()
        self._lease_thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish the current short job; interrupt a long job, which continues at the next start."""
        self._stopping.set()
        _wake.set()
        self._thread.join(timeout_s)
        if self._long:
            self._long_thread.join(timeout_s)
        self._lease_thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the threads are running."""
        return self._thread.is_alive() and (not self._long or self._long_thread.is_alive())

    def run_pending(self, *, long: bool = False) -> int:
        """Run all short (or all long) jobs that are due, in this thread, and return their number."""
        done = 0
        while (job := self._claim(long=long)) is not None:
            self._run(job)
            done += 1
        return done

    def _work(self) -> None:
        while not self._stopping.is_set():
            _wake.clear()
            if not self._run_next(long=False):
                _wake.wait(POLL_S)

    def _work_long(self) -> None:
        while not self._stopping.wait(POLL_S):  # a delay of half a second does not matter for long jobs
            if _long_job_lock.acquire(blocking=False):
                try:
                    while not self._stopping.is_set() and self._run_next(long=True):
                        pass
                finally:
                    _long_job_lock.release()

    def _run_next(self, *, long: bool) -> bool:
        try:
            job = self._claim(long=long)
            if job is not None:
                self._run(job)
            return job is not None
        except Exception as error:
            # The database may be unavailable for a while; the rows stay.
            log.error("jobs.runner_failed", error=type(error).__name__)
            self._stopping.wait(POLL_S)
            return False

    def _renew_leases(self) -> None:
        while not self._stopping.wait(self._lease.total_seconds() / 3):
            try:
                with self._database.writing(durable=False) as session:
                    session.execute(
                        update(Job)
                        .where(Job.owner == self._owner, Job.state == "running")
                        .values(leased_until=clock.now() + self._lease)
                    )
            except Exception as error:
                log.error("jobs.lease_not_renewed", error=type(error).__name__)

    def _claim(self, *, long: bool = False) -> Job | None:
        moment = clock.now()
        ready = or_((Job.state == "waiting") & self._is_due(moment), self._has_no_runner(moment))
        if self._long:
            ready = and_(ready, Job.kind.in_(self._long) if long else Job.kind.not_in(self._long))
        self._delay_dead(moment)
        with self._database.reading() as session:  # reading needs no lock
            if session.scalar(select(Job.id).where(ready).limit(1)) is None:
                return None
        next_job = select(Job.id).where(ready).order_by(Job.run_after, Job.id).limit(1)
        if not self._database.is_sqlite:
            next_job = next_job.with_for_update(skip_locked=True)
        with self._database.writing(durable=False) as session:
            return session.scalars(
                update(Job)
                .where(Job.id == next_job.scalar_subquery())  # with IN PostgreSQL may update more than one row
                .values(
                    state="running", owner=self._owner, leased_until=moment + self._lease, attempts=Job.attempts + 1
                )
                .returning(Job),
                execution_options={"synchronize_session": False},
            ).one_or_none()

    @staticmethod
    def _is_due(moment: datetime) -> ColumnElement[bool]:
        latest = moment + clock.TOLERANCE
        return or_(
            Job.run_after <= moment,
            Job.created_at > latest,
            Job.run_after > latest + timedelta(seconds=LONGEST_DELAY_S),
            (Job.attempts > 0) & (Job.run_after > latest + timedelta(seconds=LONGEST_WAIT_S)),
        )

    def _has_no_runner(self, moment: datetime) -> ColumnElement[bool]:
        """Jobs whose leases have ended, or are longer than this runner's ever are."""
        ended = or_(Job.leased_until < moment, Job.leased_until > moment + 2 * self._lease + clock.TOLERANCE)
        return (Job.state == "running") & ended

    def _delay_dead(self, moment: datetime) -> None:
        """Let jobs whose processes died repeatedly wait: one of them may be the reason."""
        dead = self._has_no_runner(moment) & (Job.attempts >= MAX_ATTEMPTS)
        dead &= Job.attempts < MAX_ATTEMPTS_LASTING
        dead &= (Job.attempts < MAX_ATTEMPTS_REPORTED) | Job.kind.not_in(self._abandoned)
        dead &= Job.kind.not_in(self._long)
        with self._database.reading() as session:
            if session.scalar(select(Job.id).where(dead).limit(1)) is None:
                return
        values = {"state": "waiting", "owner": None, "leased_until": None, "error": "process-died"}
        with self._database.writing(durable=False) as session:
            session.execute(
                update(Job).where(dead).values(run_after=moment + timedelta(seconds=LONGEST_WAIT_S), **values),
                execution_options={"synchronize_session": False},
            )

    def _limit(self, kind: str, *, temporary: bool) -> int:
        if not temporary or kind in self._long:
            return MAX_ATTEMPTS
        return MAX_ATTEMPTS_REPORTED if kind in self._abandoned else MAX_ATTEMPTS_LASTING

    def _run(self, job: Job) -> None:
        error: str | None = None
        temporary = True
        try:
            if job.attempts > self._limit(job.kind, temporary=True):  # the process died at each attempt
                error = "process-died"
            elif job.kind in self._long:
                self._handlers[job.kind](**job.arguments, stopping=self._stopping)
            else:
                self._handlers[job.kind](**job.arguments)
        except JobInterrupted:
            self._release(job)
            return
        except MedhubError as failure:
            error, temporary = failure.code, failure.temporary
        except Exception as failure:
            # The text of an unexpected exception may contain text of a file: only its type and location are logged.
            error = type(failure).__name__
            location = traceback.extract_tb(failure.__traceback__)[-1]
            log.error("job.failed", kind=job.kind, job_id=job.id, error=error, at=f"{location.name}:{location.lineno}")
        given_up = job.attempts >= self._limit(job.kind, temporary=temporary)
        if error is not None and given_up and job.kind in self._abandoned:
            self._abandoned[job.kind](**job.arguments)
        self._finish(job, error, given_up=given_up)

    def _release(self, job: Job) -> None:
        """Let another runner, or the next start, continue a job; this attempt does not count."""
        values = {"state": "waiting", "owner": None, "leased_until": None, "attempts": job.attempts - 1}
        with self._database.writing(durable=False) as session:
            session.execute(update(Job).where(Job.id == job.id, Job.owner == self._owner).values(**values))

    def _finish(self, job: Job, error: str | None, *, given_up: bool) -> None:
        moment = clock.now()
        values: dict[str, Any] = {"owner": None, "leased_until": None, "error": error}
        if error is None:
            # The arguments are deleted: the patient may be erased while the row remains.
            values |= {"state": "done", "finished_at": moment, "arguments": {}}
        elif given_up:
            values |= {"state": "failed", "finished_at": moment}
            log.error("job.given_up", kind=job.kind, job_id=job.id, error=error)
        else:
            wait_s = min(2**job.attempts, LONGEST_WAIT_S)
            values |= {"state": "waiting", "run_after": moment + timedelta(seconds=wait_s)}
        with self._database.writing(durable=False) as session:
            session.execute(update(Job).where(Job.id == job.id, Job.owner == self._owner).values(**values))
