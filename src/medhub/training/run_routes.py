# SPDX-License-Identifier: Apache-2.0
"""Routes of recipes and trainings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation.http import Id, Page, Paging
from medhub.training import queries, run_requests, runs
from medhub.training.models import TrainingRun
from medhub.training.schemas import RecipeOut, RunCreate, RunOut, RunRow, run_fields, run_out

training = APIRouter(prefix="/api", tags=["training"])


@training.get("/recipes", summary="Recipes")
def list_recipes(call: Annotated[Call, allow("training.read")]) -> list[RecipeOut]:
    """The recipes that ship; each can be copied and changed."""
    return [RecipeOut.model_validate(recipe) for recipe in run_requests.shipped_recipes()]


@training.get("/training-runs", summary="Trainings")
def list_runs(
    call: Annotated[Call, allow("training.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
    dataset_id: Annotated[Id | None, Query()] = None,
) -> Page[RunRow]:
    """Trainings, the latest first unless sorted otherwise."""
    with call.reading() as session:
        page, total = runs.list_runs(
            session,
            call.actor,
            project_id=project_id,
            dataset_id=dataset_id,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        datasets = queries.load_datasets(session, [run.dataset_id for run in page])
        return paging.of([RunRow(**run_fields(run, datasets[run.dataset_id])) for run in page], total)


def _run_out(session: Session, run: TrainingRun) -> RunOut:
    return run_out(run, queries.load_datasets(session, [run.dataset_id])[run.dataset_id])


@training.post("/training-runs", status_code=201, summary="Start a training")
def start_run(call: Annotated[Call, allow("training.run")], given: RunCreate) -> RunOut:
    """Have a classifier trained from a data set; it waits until a runner is free."""
    with call.writing() as session:
        run = runs.start_run(
            session,
            call.app.settings,
            call.actor,
            name=given.name,
            dataset_id=given.dataset_id,
            recipe=given.recipe,
            init=given.init,
            overrule=given.overrule_leakage,
        )
        return _run_out(session, run)


@training.get("/training-runs/{id}", summary="One training")
def read_run(call: Annotated[Call, allow("training.read")], id: ItemId) -> RunOut:
    """A training: how far it is, its curve, and what came of it."""
    with call.reading() as session:
        return _run_out(session, runs.get_run(session, call.actor, id))


@training.post("/training-runs/{id}/stop", summary="Stop a training")
def stop_run(call: Annotated[Call, allow("training.run")], id: ItemId) -> RunOut:
    """Have a training end within seconds; what it learned is not kept."""
    with call.writing() as session:
        return _run_out(session, runs.stop_run(session, call.actor, id))
