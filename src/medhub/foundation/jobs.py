# SPDX-License-Identifier: Apache-2.0
"""Background jobs: database rows that runners lease, so that no job is lost or runs twice at the same time.

A runner claims a row for the duration of a lease and renews the lease while it works; after the lease has expired, any
runner may claim the row. A job is an idempotent function of ids.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, String, and_, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from medhub.errors import MedhubError
from medhub.foundation import clock, ids
from medhub.foundation.database import Base, Database, after_commit
from medhub.foundation.logging import get_logger

log = get_logger()

MAX_ATTEMPTS = 5
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
    after = run_after or moment
    job = Job(id=ids.new_id(), kind=kind, arguments=arguments, state="waiting", run_after=after, created_at=moment)
    session.add(job)
    after_commit(session, _wake.set)


def count_unfinished(session: Session) -> int:
    """The number of jobs that are waiting or running."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(("waiting", "running")))) or 0


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
        ready = or_(
            (Job.state == "waiting") & (Job.run_after <= moment),
            (Job.state == "running") & (Job.leased_until < moment),
        )
        if self._long:
            ready = and_(ready, Job.kind.in_(self._long) if long else Job.kind.not_in(self._long))
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

    def _run(self, job: Job) -> None:
        error: str | None = None
        try:
            if job.attempts > MAX_ATTEMPTS:  # the process died at each attempt
                error = "process-died"
            elif job.kind in self._long:
                self._handlers[job.kind](**job.arguments, stopping=self._stopping)
            else:
                self._handlers[job.kind](**job.arguments)
        except JobInterrupted:
            self._release(job)
            return
        except MedhubError as failure:
            error = failure.code
        except Exception as failure:
            # The text of an unexpected exception may contain text of a file: only its type and location are logged.
            error = type(failure).__name__
            location = traceback.extract_tb(failure.__traceback__)[-1]
            log.error("job.failed", kind=job.kind, job_id=job.id, error=error, at=f"{location.name}:{location.lineno}")
        if error is not None and job.attempts >= MAX_ATTEMPTS and job.kind in self._abandoned:
            self._abandoned[job.kind](**job.arguments)
        self._finish(job, error)

    def _release(self, job: Job) -> None:
        """Let another runner, or the next start, continue a job; this attempt does not count."""
        values = {"state": "waiting", "owner": None, "leased_until": None, "attempts": job.attempts - 1}
        with self._database.writing(durable=False) as session:
            session.execute(update(Job).where(Job.id == job.id, Job.owner == self._owner).values(**values))

    def _finish(self, job: Job, error: str | None) -> None:
        moment = clock.now()
        values: dict[str, Any] = {"owner": None, "leased_until": None, "error": error}
        if error is None:
            # The arguments are deleted: the patient may be erased while the row remains.
            values |= {"state": "done", "finished_at": moment, "arguments": {}}
        elif job.attempts >= MAX_ATTEMPTS:
            values |= {"state": "failed", "finished_at": moment}
            log.error("job.given_up", kind=job.kind, job_id=job.id, error=error)
        else:
            values |= {"state": "waiting", "run_after": moment + timedelta(seconds=2**job.attempts)}
        with self._database.writing(durable=False) as session:
            session.execute(update(Job).where(Job.id == job.id, Job.owner == self._owner).values(**values))
