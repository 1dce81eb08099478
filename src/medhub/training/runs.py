# SPDX-License-Identifier: Apache-2.0
"""Starting trainings, following them, and stopping them."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.settings import Settings
from medhub.foundation.sorting import sort_clause
from medhub.foundation.visible_text import visible_text
from medhub.training import run_requests
from medhub.training.datasets import files_of, get_dataset
from medhub.training.events import TrainingAsked
from medhub.training.models import TrainingRun
from medhub.training.run_progress import Progress

ACTIVE_STATES = ("waiting", "running")


class RunNotFound(NotFound):
    """There is no such training, or not in a project of the asker's."""

    code = "run-not-found"


class RunEnded(Conflict):
    """The training has ended."""

    code = "run-ended"


def start_run(
    session: Session,
    settings: Settings,
    actor: Actor,
    *,
    name: str,
    dataset_id: str,
    recipe: str,
    init: str | None,
    overrule: str | None,
) -> TrainingRun:
    """Have a classifier trained; it waits until a runner is free."""
    dataset = get_dataset(session, actor, dataset_id)
    actor.require("training.run", dataset.project_id, "data set")
    recipe_name, text, start_from = run_requests.check_request(settings, recipe, init)
    if not files_of(session, dataset.id):
        raise Conflict("All patients of this data set were erased. Make a new version.")
    run = TrainingRun(
        id=ids.new_id(),
        project_id=dataset.project_id,
        dataset_id=dataset.id,
        name=name,
        recipe=recipe_name,
        recipe_text=text,
        init=start_from,
        overrule=visible_text(overrule),
        state="waiting",
        epochs={"curve": []},
        created_at=clock.now(),
        created_by_id=actor.user_id,
        created_by=actor.name,
    )
    session.add(run)
    session.flush()
    publish(session, TrainingAsked(run_id=run.id))
    actor.record(
        session,
        "training.start",
        "training",
        run.id,
        project_id=run.project_id,
        dataset=dataset.id,
        overruled=run.overrule is not None,
    )
    return run


def get_run(session: Session, actor: Actor, run_id: str, action: str = "training.read") -> TrainingRun:
    """A training in a project of the actor's."""
    run = session.get(TrainingRun, run_id)
    if run is None:
        raise RunNotFound("There is no such training, or not in a project of yours.")
    actor.require(action, run.project_id, "training")
    return run


def list_runs(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    dataset_id: str | None,
    query: str | None,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[TrainingRun], int]:
    """A page of the trainings in the actor's projects, the latest first."""
    statement = select(TrainingRun).where(TrainingRun.project_id.in_(actor.projects("training.read", project_id)))
    if dataset_id is not None:
        statement = statement.where(TrainingRun.dataset_id == dataset_id)
    if query:
        statement = statement.where(func.lower(TrainingRun.name).contains(query.lower(), autoescape=True))
    columns = {"created_at": TrainingRun.created_at, "name": TrainingRun.name, "state": TrainingRun.state}
    page = statement.order_by(sort_clause(sort, columns, "-created_at"), TrainingRun.id).offset(offset).limit(limit)
    runs = list(session.scalars(page))
    return runs, pagination.total_rows(session, statement, offset=offset, limit=limit, page_rows=len(runs))


def stop_run(session: Session, actor: Actor, run_id: str) -> TrainingRun:
    """Have a training end; one that waits ends at once, one at work within seconds."""
    serialize_writers(session, f"training {run_id}")
    run = get_run(session, actor, run_id)
    actor.require("training.run", run.project_id, "training")
    if run.state not in ACTIVE_STATES:
        raise RunEnded(f"This training has ended already: it is {run.state}.")
    run.stop_asked = True
    if run.state == "waiting":
        run.state, run.finished_at = "stopped", clock.now()
    actor.record(session, "training.stop", "training", run.id, project_id=run.project_id)
    return run


def run_of_classifier(session: Session, digest: str) -> TrainingRun | None:
    """The training that made a classifier, if it was made here."""
    statement = select(TrainingRun).where(TrainingRun.digest == digest).order_by(TrainingRun.finished_at.desc())
    return session.scalars(statement.limit(1)).one_or_none()


def record_progress(run: TrainingRun, progress: Progress) -> None:
    """Write down how far a training is."""
    run.stage, run.step, run.steps, run.eta_s = progress.stage, progress.step, progress.steps, progress.eta_s
    run.epochs = {"curve": list(progress.curve)}
    run.heard_at = clock.now()
