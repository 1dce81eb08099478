# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends and takes of data sets, recipes and trainings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from medhub.foundation.http import Id, IdOrName, Line, Moment, Schema, Text
from medhub.training import dataset_contents
from medhub.training.datasets import RowFacts
from medhub.training.models import DataSet, TrainingRun
from medhub.training.run_requests import NAME

State = Literal["waiting", "running", "stopped", "failed", "done"]


class DataSetCreate(Schema):
    """Which signed verdicts become a version; the name is the pathway's if not given."""

    project_id: IdOrName | None = None
    pathway: Annotated[Line, Field(examples=["smear-review"])]
    name: Annotated[Text, Field(min_length=1, max_length=100)] | None = None


class DataSetOut(Schema):
    """A version of a data set: how much of what it holds, and the digest by which it is known."""

    id: str
    project_id: str
    project: str
    name: str
    version: int
    origin: Literal["verdicts", "uploaded"]
    pathway: str | None
    digest: str
    images: int
    erased: int
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int]
    gaps: list[str]
    created_at: Moment
    created_by: str

    @classmethod
    def of(cls, dataset: DataSet, project: str, erased: int) -> DataSetOut:
        """The version as it is sent."""
        return cls.model_validate(
            {
                **{
                    name: getattr(dataset, name)
                    for name in cls.model_fields
                    if name not in {"project", "erased", "gaps"}
                },
                "project": project,
                "erased": erased,
                "gaps": dataset_contents.describe_gaps(dataset.counts),
            }
        )


class RowOut(Schema):
    """One image of a version, and where its label comes from; of an erased patient nothing but the label is left."""

    number: int
    label: str
    part: Literal["train", "val", "test"]
    source: Literal["verdict", "uploaded", "erased"]
    image_id: str | None
    patient_code: str | None
    content: str | None
    case_id: str | None
    case_version: int | None
    labeled_by: Annotated[str | None, Field(serialization_alias="said_by")]
    labeled_at: Annotated[Moment | None, Field(serialization_alias="said_at")]

    @classmethod
    def of(cls, facts: RowFacts) -> RowOut:
        """The row as it is sent."""
        row = facts.row
        source = "uploaded" if row.content is not None else "verdict" if row.image_id is not None else "erased"
        exists = source != "erased"
        return cls.model_validate(
            {
                "number": row.number,
                "label": row.label,
                "part": row.part,
                "source": source,
                "image_id": row.image_id,
                "patient_code": facts.patient_code,
                "content": row.content,
                "case_id": row.case_id if exists else None,
                "case_version": row.case_version if exists else None,
                "labeled_by": row.labeled_by if exists else None,
                "labeled_at": row.labeled_at if exists else None,
            }
        )


class RecipeOut(Schema):
    """A recipe that ships."""

    name: str
    title: str
    text: str
    needs_start: Annotated[bool, Field(description="It begins with weights that do not ship: name a starting point.")]


class RunCreate(Schema):
    """What a classifier is to be trained from, how, and starting where."""

    name: Annotated[str, Field(pattern=NAME, examples=["our-smears"])]
    dataset_id: Id
    recipe: Annotated[Text, Field(min_length=1, max_length=100_000, description="Name of a recipe, or a TOML text.")]
    init: Annotated[Text, Field(max_length=200, description="timm:NAME, a file of weights, or none.")] | None = None
    overrule_leakage: (
        Annotated[Text, Field(max_length=2000, description="Why images that overlap between the parts are accepted.")]
        | None
    ) = None


class RunRow(Schema):
    """A training as a list shows it."""

    id: str
    project_id: str
    dataset_id: str
    dataset: str
    name: str
    recipe: str
    state: State
    stage: str | None
    step: int | None
    of: int | None
    eta_s: float | None
    digest: str | None
    created_at: Moment
    created_by: str
    started_at: Moment | None
    finished_at: Moment | None


class RunOut(RunRow):
    """A training with its curve."""

    recipe_text: str | None
    init: str | None
    overrule_leakage: str | None
    stop_asked: bool
    failure: str | None
    classifier: str | None
    heard_at: Moment | None
    epochs: list[dict[str, Any]]


def run_fields(run: TrainingRun, dataset: DataSet) -> dict[str, Any]:
    """What lists and the page of a training have in common."""
    return {
        "id": run.id,
        "project_id": run.project_id,
        "dataset_id": run.dataset_id,
        "dataset": f"{dataset.name} v{dataset.version}",
        "name": run.name,
        "recipe": run.recipe or "its own",
        "state": run.state,
        "stage": run.stage,
        "step": run.step,
        "of": run.steps,
        "eta_s": run.eta_s,
        "digest": run.digest,
        "created_at": run.created_at,
        "created_by": run.created_by,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }


def run_out(run: TrainingRun, dataset: DataSet) -> RunOut:
    """The training as it is sent."""
    return RunOut(
        **run_fields(run, dataset),
        recipe_text=run.recipe_text,
        init=run.init,
        overrule_leakage=run.overrule,
        stop_asked=run.stop_asked,
        failure=run.failure,
        classifier=run.classifier,
        heard_at=run.heard_at,
        epochs=run.epochs["curve"],
    )
