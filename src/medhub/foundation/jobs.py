# SPDX-License-Identifier: Apache-2.0
"""Jobs: rows that runners lease, so that none is lost when a process dies and none is run by two.

The row is the truth. A runner claims a row for the length of a lease and renews the lease while it works; a row whose
lease has ended is free again. A job is a plain function of ids, and does no harm when it is run twice.
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

MOST_ATTEMPTS = 5
POLL_S = 0.5

Handler = Callable[..., None]


class Interrupted(Exception):
    """A long job has left off because its runner stops; another runner goes on with it, at once if there is one."""


@dataclass(frozen=True)
class Long:
    """A handler whose jobs take minutes or hours: they run on a thread of their own and hold up no other job.

    The handler gets the event ``stopping`` beside the job's arguments, and raises ``Interrupted`` soon after it is set.
    """

    handler: Handler

    def __call__(self, **arguments: Any) -> None:
        """Run the job."""
        self.handler(**arguments)


# One long job at a time in a process: two trainings on the same cores would both take more than twice as long.
_one_long = threading.Lock()


class Job(Base):
    """One piece of work to be done in the background."""

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
    """Write a job in the session's transaction; a runner of this process is woken when it commits."""
    moment = clock.now()
    after = run_after or moment
    job = Job(id=ids.new_id(), kind=kind, arguments=arguments, state="waiting", run_after=after, created_at=moment)
    session.add(job)
    after_commit(session, _wake.set)


def count_unfinished(session: Session) -> int:
    """How many jobs wait or run."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(("waiting", "running")))) or 0


class Runner:
    """A thread that leases jobs and runs them, one for long jobs if there are any, and one that renews their leases."""

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
        self._long = frozenset(kind for kind, handler in handlers.items() if isinstance(handler, Long))
        self._working = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._working_long = threading.Thread(target=self._work_long, name="jobs-long", daemon=True)
        self._beating = threading.Thread(target=self._beat, name="jobs-lease", daemon=True)

    def start(self) -> None:
        """Begin to run jobs."""
        self._working.start()
        if self._long:
            self._working_long.start()
        self._beating.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish the job at work, and no other; a long one leaves off and goes on at the next start."""
        self._stopping.set()
        _wake.set()
        self._working.join(timeout_s)
        if self._long:
            self._working_long.join(timeout_s)
        self._beating.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the runner's threads live."""
        return self._working.is_alive() and (not self._long or self._working_long.is_alive())

    def run_pending(self, *, long: bool = False) -> int:
        """Run every short (or every long) job that is ready now, in this thread, and return how many there were."""
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
        while not self._stopping.wait(POLL_S):  # who asks for hours does not notice half a second
            if _one_long.acquire(blocking=False):
                try:
                    while not self._stopping.is_set() and self._run_next(long=True):
                        pass
                finally:
                    _one_long.release()

    def _run_next(self, *, long: bool) -> bool:
        try:
            job = self._claim(long=long)
            if job is not None:
                self._run(job)
            return job is not None
        except Exception as error:
            # The database may be away for a while; the rows wait.
            log.error("jobs.runner_failed", error=type(error).__name__)
            self._stopping.wait(POLL_S)
            return False

    def _beat(self) -> None:
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
        with self._database.reading() as session:  # looking costs no lock
            if session.scalar(select(Job.id).where(ready).limit(1)) is None:
                return None
        chosen = select(Job.id).where(ready).order_by(Job.run_after, Job.id).limit(1)
        if not self._database.is_sqlite:
            chosen = chosen.with_for_update(skip_locked=True)
        with self._database.writing(durable=False) as session:
            return session.scalars(
                update(Job)
                .where(Job.id == chosen.scalar_subquery())  # IN would let PostgreSQL choose more than one
                .values(
                    state="running", owner=self._owner, leased_until=moment + self._lease, attempts=Job.attempts + 1
                )
                .returning(Job),
                execution_options={"synchronize_session": False},
            ).one_or_none()

    def _run(self, job: Job) -> None:
        error: str | None = None
        try:
            if job.attempts > MOST_ATTEMPTS:  # each attempt ended with the death of its process
                error = "process-died"
            elif job.kind in self._long:
                self._handlers[job.kind](**job.arguments, stopping=self._stopping)
            else:
                self._handlers[job.kind](**job.arguments)
        except Interrupted:
            self._give_back(job)
            return
        except MedhubError as failure:
            error = failure.code
        except Exception as failure:
            # The text of a foreign error may quote a file: only its kind and place are kept.
            error = type(failure).__name__
            place = traceback.extract_tb(failure.__traceback__)[-1]
            log.error("job.failed", kind=job.kind, job_id=job.id, error=error, at=f"{place.name}:{place.lineno}")
        if error is not None and job.attempts >= MOST_ATTEMPTS and job.kind in self._abandoned:
            self._abandoned[job.kind](**job.arguments)
        self._finish(job, error)

    def _give_back(self, job: Job) -> None:
        """Have a job go on elsewhere, or at the next start, as if this attempt had not been."""
        values = {"state": "waiting", "owner": None, "leased_until": None, "attempts": job.attempts - 1}
        with self._database.writing(durable=False) as session:
            session.execute(update(Job).where(Job.id == job.id, Job.owner == self._owner).values(**values))

    def _finish(self, job: Job, error: str | None) -> None:
        moment = clock.now()
        values: dict[str, Any] = {"owner": None, "leased_until": None, "error": error}
        if error is None:
            # What it was about is not kept: the patient may be erased while the row stays.
            values |= {"state": "done", "finished_at": moment, "arguments": {}}
        elif job.attempts >= MOST_ATTEMPTS:
            values |= {"state": "failed", "finished_at": moment}
            log.error("job.given_up", kind=job.kind, job_id=job.id, error=error)
        else:
            values |= {"state": "waiting", "run_after": moment + timedelta(seconds=2**job.attempts)}
        with self._database.writing(durable=False) as session:
            session.execute(update(Job).where(Job.id == job.id, Job.owner == self._owner).values(**values))
