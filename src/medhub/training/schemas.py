# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends and takes of data sets, trainings, promotions, and figures over stored predictions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from medhub.classification.models import Appointment, Prediction, ShadowPrediction
from medhub.foundation.http import Id, Line, Moment, Schema, Text
from medhub.science.inference.card import ModelCard
from medhub.training import dataset_contents
from medhub.training.datasets import RowFacts
from medhub.training.drift import Drift, DriftPeriod
from medhub.training.live_metrics import Agreement
from medhub.training.models import DataSet, Promotion, PromotionLimits, TrainingRun
from medhub.training.promotion_criteria import Comparison, CriterionCheck
from medhub.training.run_requests import NAME

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Literal["in use", "shadow"]
State = Literal["waiting", "running", "stopped", "failed", "done"]


class DataSetCreate(Schema):
    """Which signed verdicts become a version; the name is the pathway's if not given."""

    project_id: Id | None = None
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
                "gaps": dataset_contents.gaps(dataset.counts),
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
    said_by: str | None
    said_at: Moment | None

    @classmethod
    def of(cls, facts: RowFacts) -> RowOut:
        """The row as it is sent."""
        row = facts.row
        source = "uploaded" if row.content is not None else "verdict" if row.image_id is not None else "erased"
        left = source != "erased"
        return cls.model_validate(
            {
                "number": row.number,
                "label": row.label,
                "part": row.part,
                "source": source,
                "image_id": row.image_id,
                "patient_code": facts.patient_code,
                "content": row.content,
                "case_id": row.case_id if left else None,
                "case_version": row.case_version if left else None,
                "said_by": row.said_by if left else None,
                "said_at": row.said_at if left else None,
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


class AppointmentOut(Schema):
    """From when until when a classifier had a part on a pathway, and who gave it."""

    pathway: str
    part: Part
    classifier: str
    digest: str
    since: Moment | None
    until: Moment | None
    by: str | None

    @classmethod
    def of(cls, one: Appointment) -> AppointmentOut:
        """The appointment as it is sent."""
        return cls.model_validate(
            {name: getattr(one, name) for name in ("pathway", "part", "classifier", "digest", "since", "until", "by")}
        )


class ClassifierCard(Schema):
    """A classifier with its whole card, where it reads or read, and the training that made it."""

    digest: str
    card: ModelCard
    display_names: dict[str, str]
    trained_here: bool
    appointments: list[AppointmentOut]
    in_use_on: list[str]
    shadow_on: list[str]
    run_id: str | None


class PredictionRow(Schema):
    """One prediction of a version."""

    image_id: str
    part: Literal["shown", "shadow"]
    label: str
    likeliest: str
    confidence: float
    uncertain: bool
    novel: bool
    created_at: Moment

    @classmethod
    def of(cls, one: Prediction | ShadowPrediction) -> PredictionRow:
        """The prediction as it is sent."""
        return cls(
            image_id=one.image_id,
            part="shown" if isinstance(one, Prediction) else "shadow",
            label=one.label,
            likeliest=one.likeliest,
            confidence=one.confidence,
            uncertain=one.uncertain,
            novel=one.novel,
            created_at=one.created_at,
        )


# Of the first and of the second. A list: OpenAPI's tools do not all know tuples.
Both = Annotated[list[float], Field(min_length=2, max_length=2)]


class ComparisonOut(Schema):
    """How two classifiers did on the same images with signed verdicts; the first is the one that was asked for."""

    n: int
    accuracy: Both | None
    balanced_accuracy: Both | None
    abstention: Both | None
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    p: float | None

    @classmethod
    def of(cls, found: Comparison) -> ComparisonOut:
        """The comparison as it is sent."""
        return cls(**vars(found))


class LimitsIn(Schema):
    """What a classifier must keep before it may be taken into use."""

    margin: Annotated[float, Field(ge=0, le=0.5, description="Balanced accuracy below the one in use, at most.")]
    ece: Annotated[Share, Field(description="Expected calibration error, at most.")]
    abstention: Annotated[Share, Field(description="Share of images on which it abstains, at most.")]
    images: Annotated[int, Field(ge=1, le=1_000_000, description="Images with a signed verdict, at least.")]


class LimitsOut(LimitsIn):
    """The limits of a pathway, and who fixed them when."""

    changed_at: Moment
    changed_by: str

    @classmethod
    def of(cls, row: PromotionLimits) -> LimitsOut:
        """The limits as they are sent."""
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class CheckOut(Schema):
    """One limit: what was measured, what is demanded, and whether that is met."""

    name: str
    value: float | None
    limit: float
    met: bool
    words: str

    @classmethod
    def of(cls, one: CriterionCheck) -> CheckOut:
        """The check as it is sent."""
        return cls(**vars(one))


class PathwayClassifiers(Schema):
    """Who reads the images of a pathway, who did before, and what a successor must keep."""

    pathway: str
    title: str
    in_use: AppointmentOut
    shadow: AppointmentOut | None
    can_roll_back: bool
    history: list[AppointmentOut]
    limits: LimitsOut | None
    checks: list[CheckOut] | None


class ShadowIn(Schema):
    """Which classifier is to read in the shadow."""

    digest: Digest


class PromotionCreate(Schema):
    """Which classifier is to be taken into use where; a margin may only be smaller than the one that is fixed."""

    digest: Digest
    pathway: Line
    margin: Annotated[float, Field(ge=0, le=0.5)] | None = None


class PromotionOut(Schema):
    """A request to take a classifier into use, what was measured, and the answer."""

    id: str
    pathway: str
    classifier: str
    digest: str
    replaces: str
    margin: float
    state: Literal["waiting", "approved", "rejected"]
    limits_fixed_at: str
    limits_fixed_by: str
    checks: list[CheckOut]
    keeps_limits: bool
    mine: bool
    requested_at: Moment
    requested_by: str
    decided_at: Moment | None
    decided_by: str | None
    reason: str | None

    @classmethod
    def of(cls, promotion: Promotion, asker_id: str, now: list[CriterionCheck] | None) -> PromotionOut:
        """The promotion as it is sent: with what is known now while it waits, else with what decided it."""
        kept = promotion.evidence.get("decided", promotion.evidence["requested"])
        checks = (
            [CheckOut.of(one) for one in now] if now is not None else [CheckOut.model_validate(one) for one in kept]
        )
        return cls.model_validate(
            {
                **{
                    name: getattr(promotion, name)
                    for name in (
                        *("id", "pathway", "classifier", "digest", "replaces", "margin", "state", "reason"),
                        *("requested_at", "requested_by", "decided_at", "decided_by"),
                    )
                },
                "limits_fixed_at": promotion.evidence["fixed_at"],
                "limits_fixed_by": promotion.evidence["fixed_by"],
                "checks": checks,
                "keeps_limits": all(one.met for one in checks),
                "mine": promotion.requested_by_id == asker_id,
            }
        )


class RejectIn(Schema):
    """Why a promotion is rejected."""

    reason: Annotated[Text, Field(min_length=1, max_length=2000)]


class AgreementOut(Schema):
    """A week of signatures: share of images of which each classifier said what was signed, and abstained."""

    begins: str
    n: int
    in_use: float
    shadow: float
    in_use_uncertain: float
    shadow_uncertain: float

    @classmethod
    def of(cls, one: Agreement) -> AgreementOut:
        """The week as it is sent."""
        return cls(**{**vars(one), "begins": one.begins.isoformat()})


class AgreementsOut(Schema):
    """Agreement with what was signed, week by week; empty where no classifier reads in the shadow."""

    pathway: str
    in_use: str
    shadow: str | None
    weeks: list[AgreementOut]


class SpanOut(Schema):
    """The predictions of a day or a week."""

    begins: str
    n: int
    labels: dict[str, int]
    confidence: float | None
    uncertain: float | None
    novel: float | None
    psi: float | None
    alarm: str | None

    @classmethod
    def of(cls, span: DriftPeriod) -> SpanOut:
        """The span as it is sent."""
        return cls(**{**vars(span), "begins": span.begins.isoformat()})


class DriftOut(Schema):
    """What the classifier in use says now, held against the first images that it read."""

    pathway: str
    digest: str
    reference: SpanOut | None
    spans: list[SpanOut]
    alarm: bool
    sentence: str | None

    @classmethod
    def of(cls, pathway: str, digest: str, drift: Drift) -> DriftOut:
        """The drift as it is sent."""
        return cls(
            pathway=pathway,
            digest=digest,
            reference=SpanOut.of(drift.reference) if drift.reference is not None else None,
            spans=[SpanOut.of(span) for span in drift.spans],
            alarm=drift.alarm is not None,
            sentence=drift.alarm,
        )
