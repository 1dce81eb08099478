# SPDX-License-Identifier: Apache-2.0
"""Queries of data sets and predictions for the routes of training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.classification.models import Prediction, ShadowPrediction
from medhub.foundation import pagination
from medhub.records.models import Image
from medhub.training.models import DataSet


def load_datasets(session: Session, dataset_ids: Iterable[str]) -> dict[str, DataSet]:
    """Data sets by id, for an actor who may read what refers to them."""
    statement = select(DataSet).where(DataSet.id.in_(set(dataset_ids)))
    return {dataset.id: dataset for dataset in session.scalars(statement)}


def list_predictions(
    session: Session, actor: Actor, digest: str, part: Literal["shown", "shadow"], *, offset: int, limit: int
) -> tuple[list[Prediction | ShadowPrediction], int]:
    """A page of the predictions of a classifier for images in the actor's projects, newest first."""
    table: Any = Prediction if part == "shown" else ShadowPrediction
    projects = actor.projects("training.read")
    statement = (
        select(table)
        .join(Image, Image.id == table.image_id)
        .where(table.digest == digest, Image.project_id.in_(projects))
    )
    page = statement.order_by(table.created_at.desc(), table.id).offset(offset).limit(limit)
    predictions = list(session.scalars(page))
    total = pagination.total_rows(session, statement, offset=offset, limit=limit, page_rows=len(predictions))
    actor.record(session, "prediction.list", "classifier", digest, found=total)
    return predictions, total
