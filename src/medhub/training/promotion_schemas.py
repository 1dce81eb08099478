# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends and takes of classifiers, promotions, and figures over stored predictions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medhub.accounts.actor import Actor
from medhub.classification.models import Appointment, Prediction, ShadowPrediction
from medhub.foundation.http import Id, Line, Moment, Schema, Text
from medhub.science.inference.card import ModelCard
from medhub.training.drift import Drift, DriftPeriod
from medhub.training.live_metrics import Agreement
from medhub.training.models import Promotion, PromotionLimits
from medhub.training.promotion_criteria import Comparison, CriterionCheck

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Literal["in use", "shadow"]


class AppointmentOut(Schema):
    """From when until when a classifier had a part on a pathway in a project, and who gave it."""

    project_id: str
    pathway: str
    part: Part
    classifier: str
    digest: str
    since: Moment | None
    until: Moment | None
    by: str | None

    @classmethod
    def of(cls, appointment: Appointment) -> AppointmentOut:
        """The appointment as it is sent."""
        return cls.model_validate({name: getattr(appointment, name) for name in cls.model_fields})


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
    def of(cls, prediction: Prediction | ShadowPrediction) -> PredictionRow:
        """The prediction as it is sent."""
        return cls(
            image_id=prediction.image_id,
            part="shown" if isinstance(prediction, Prediction) else "shadow",
            label=prediction.label,
            likeliest=prediction.likeliest,
            confidence=prediction.confidence,
            uncertain=prediction.uncertain,
            novel=prediction.novel,
            created_at=prediction.created_at,
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
    def of(cls, comparison: Comparison) -> ComparisonOut:
        """The comparison as it is sent."""
        return cls(**vars(comparison))


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
    def of(cls, check: CriterionCheck) -> CheckOut:
        """The check as it is sent."""
        return cls(**vars(check))


class PathwayClassifiers(Schema):
    """The classifiers of a pathway in a project, those before, and what a successor must keep."""

    project_id: str
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
    project_id: Annotated[Id | None, Field(description="Id of the project, if you have several.")] = None
    margin: Annotated[float, Field(ge=0, le=0.5)] | None = None


class PromotionOut(Schema):
    """A request to take a classifier into use, what was measured, and the answer."""

    id: str
    project_id: str
    project: str
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
    def of(cls, promotion: Promotion, asker: Actor, now: list[CriterionCheck] | None) -> PromotionOut:
        """The promotion as it is sent: with what is known now while it waits, else with what decided it."""
        recorded = promotion.evidence.get("decided", promotion.evidence["requested"])
        checks = (
            [CheckOut.of(check) for check in now]
            if now is not None
            else [CheckOut.model_validate(values) for values in recorded]
        )
        return cls.model_validate(
            {
                **{
                    name: getattr(promotion, name)
                    for name in (
                        *(
                            "id",
                            "project_id",
                            "pathway",
                            "classifier",
                            "digest",
                            "replaces",
                            "margin",
                            "state",
                            "reason",
                        ),
                        *("requested_at", "requested_by", "decided_at", "decided_by"),
                    )
                },
                "limits_fixed_at": promotion.evidence["fixed_at"],
                "limits_fixed_by": promotion.evidence["fixed_by"],
                "checks": checks,
                "keeps_limits": all(check.met for check in checks),
                "project": asker.project_names.get(promotion.project_id, ""),
                "mine": promotion.requested_by_id == asker.user_id,
            }
        )


class ApproveIn(Schema):
    """Why a promotion is approved."""

    reason: Annotated[Text, Field(min_length=1, max_length=2000)]


class RejectIn(Schema):
    """Why a promotion is rejected."""

    reason: Annotated[Text, Field(min_length=1, max_length=2000)]


class AgreementOut(Schema):
    """A week of signatures: share of images of which each classifier said what was signed, and abstained."""

    starts: Annotated[str, Field(serialization_alias="begins")]
    n: int
    in_use: float
    shadow: float
    in_use_uncertain: float
    shadow_uncertain: float

    @classmethod
    def of(cls, week: Agreement) -> AgreementOut:
        """The week as it is sent."""
        return cls(**{**vars(week), "starts": week.starts.isoformat()})


class AgreementsOut(Schema):
    """Agreement with what was signed, week by week; empty where no classifier reads in the shadow."""

    pathway: str
    in_use: str
    shadow: str | None
    weeks: list[AgreementOut]


class SpanOut(Schema):
    """The predictions of a day or a week."""

    starts: Annotated[str, Field(serialization_alias="begins")]
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
        return cls(**{**vars(span), "starts": span.starts.isoformat()})


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
