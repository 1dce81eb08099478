# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of images under review, verdicts and cases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from medhub.classification.models import Prediction
from medhub.classification.schemas import PredictionOut
from medhub.foundation import clock
from medhub.foundation.http import Moment, Page, Schema, Text
from medhub.records.pathway import Pathway, StageAct
from medhub.review.models import CaseEvent, Verdict, verdict_etag
from medhub.review.queries import CaseFacts, ImageFacts
from medhub.review.rules import is_ready_to_sign
from medhub.science.imaging.dicom.object_kinds import ShownAs

ImageState = Literal["waiting", "read", "unreadable", "archived", "verified", "signed"]


class VerdictIn(Schema):
    """A verdict; a note is required if the classifier was uncertain."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"label": "eosinophil", "note": "Bilobed, red granules."}]}
    )

    label: Annotated[Text, Field(min_length=1, max_length=100)]
    note: Annotated[Text, Field(max_length=4000)] | None = None


class VerdictOut(Schema):
    """The verdict of a person on an image."""

    label: str
    note: str | None
    by: str
    by_id: str
    role: str
    at: Moment
    agrees: bool

    @classmethod
    def of(cls, verdict: Verdict) -> VerdictOut:
        """The schema of a verdict."""
        return cls(
            label=verdict.label,
            note=verdict.note,
            by=verdict.by,
            by_id=verdict.by_id,
            role=verdict.role,
            at=verdict.at,
            agrees=verdict.agrees,
        )


class EventOut(Schema):
    """An event in the history of a case."""

    at: Moment
    by: str
    role: str | None
    action: str
    image_id: str | None
    detail: dict[str, Any]

    @classmethod
    def of(cls, event: CaseEvent) -> EventOut:
        """The schema of an event."""
        return cls(
            at=event.at, by=event.by, role=event.role, action=event.action, image_id=event.image_id, detail=event.detail
        )


class ImageRow(Schema):
    """An image as lists show it."""

    id: str
    project_id: str
    patient_id: str
    patient_code: str
    study_id: str
    series_id: str
    case_id: str | None
    number: int
    modality: str
    kind: Literal["photograph", "dicom"]
    shown_as: ShownAs
    width: int
    height: int
    frames: int
    size_bytes: int
    created_at: Moment
    verified: bool
    locked: bool
    picture: Annotated[bool, Field(description="Whether the image has a picture.")]
    state: ImageState
    prediction: PredictionOut | None
    verdict: VerdictOut | None
    etag: Annotated[str, Field(description="For `If-Match` of a write of the verdict.")]

    @classmethod
    def of(cls, facts: ImageFacts) -> ImageRow:
        """The image with its prediction and verdict."""
        return cls(**image_fields(facts))


def image_fields(facts: ImageFacts) -> dict[str, Any]:
    """The fields of an image's row."""
    image = facts.image
    signed = facts.case is not None and facts.case.signed_at is not None
    state = "signed" if signed else "verified" if facts.verdict is not None else image.state
    return {
        "id": image.id,
        "project_id": image.project_id,
        "patient_id": image.patient_id,
        "patient_code": facts.patient_code,
        "study_id": image.study_id,
        "series_id": image.series_id,
        "case_id": facts.case.id if facts.case is not None else None,
        "number": image.number,
        "modality": image.modality,
        "kind": image.kind,
        "shown_as": image.shown_as,
        "width": image.width,
        "height": image.height,
        "frames": image.frames,
        "size_bytes": image.size_bytes,
        "created_at": image.created_at,
        "verified": image.verified,
        "locked": image.locked,
        "picture": (image.frames > 0 or image.shown_as == "document") and image.state != "unreadable",
        "state": state,
        "prediction": PredictionOut.of(facts.prediction) if facts.prediction is not None else None,
        "verdict": VerdictOut.of(facts.verdict) if facts.verdict is not None else None,
        "etag": verdict_etag(facts.case, facts.verdict),
    }


class ImagePage(Page[ImageRow]):
    """One page of a list of images."""

    next_cursor: Annotated[
        str | None,
        Field(description="The `cursor` of the images after this page; none on the last page and with another `sort`."),
    ] = None


class CaseBrief(Schema):
    """The case of an image."""

    id: str
    stage: str
    pathway: str
    version: int
    signed: bool


class ImageOut(ImageRow):
    """An image with all predictions and its history."""

    predictions: list[PredictionOut]
    history: list[EventOut]
    labels: list[str]
    display_names: dict[str, str]
    case: CaseBrief | None

    @classmethod
    def with_history(
        cls,
        facts: ImageFacts,
        predictions: list[Prediction],
        events: list[CaseEvent],
        pathway: Pathway | None,
        display_names: dict[str, str],
    ) -> ImageOut:
        """The image with its predictions and history."""
        case = facts.case
        return cls(
            **image_fields(facts),
            predictions=[PredictionOut.of(prediction) for prediction in predictions],
            history=[EventOut.of(event) for event in events],
            labels=list(pathway.labels) if pathway is not None else [],
            display_names=display_names,
            case=None
            if case is None
            else CaseBrief(
                id=case.id,
                stage=case.stage,
                pathway=case.pathway,
                version=case.version,
                signed=case.signed_at is not None,
            ),
        )


class ImageChange(Schema):
    """A change of an image."""

    number: Annotated[int, Field(ge=1, le=1_000_000, description="Its position in the study.")]


class Count(Schema):
    """A count."""

    count: int


class CaseRow(Schema):
    """A case as lists show it."""

    id: str
    project_id: str
    project: str
    patient_id: str
    patient_code: str
    patient_sex: str
    patient_age: int | None
    study_id: str
    pathway: str
    stage: str
    stage_title: str
    version: int
    supersedes_id: str | None
    superseded_by_id: str | None
    correction_reason: str | None
    opened_at: Moment
    signed_at: Moment | None
    signed_by: str | None
    images: int
    verified: int
    uncertain: int
    waiting: int
    waiting_for_me: bool
    ready_to_sign: Annotated[bool, Field(description="Whether every image has a verdict and only the signature waits.")]

    @classmethod
    def of(cls, facts: CaseFacts, project: str, pathway: Pathway, mine: bool) -> CaseRow:
        """The case with its counts."""
        return cls(**case_fields(facts, project, pathway, mine))


def case_fields(facts: CaseFacts, project: str, pathway: Pathway, mine: bool) -> dict[str, Any]:
    """The fields of a case's row."""
    case, patient = facts.case, facts.patient
    return {
        "id": case.id,
        "project_id": case.project_id,
        "project": project,
        "patient_id": patient.id,
        "patient_code": patient.code,
        "patient_sex": patient.sex,
        "patient_age": clock.now().year - patient.birth_year if patient.birth_year is not None else None,
        "study_id": case.study_id,
        "pathway": case.pathway,
        "stage": case.stage,
        "stage_title": pathway.stage(case.stage).title,
        "version": case.version,
        "supersedes_id": case.supersedes_id,
        "superseded_by_id": facts.superseded_by_id,
        "correction_reason": case.correction_reason,
        "opened_at": case.opened_at,
        "signed_at": case.signed_at,
        "signed_by": case.signed_by,
        "images": facts.images,
        "verified": facts.verified,
        "uncertain": facts.uncertain,
        "waiting": facts.waiting,
        "waiting_for_me": mine,
        "ready_to_sign": not case.superseded
        and is_ready_to_sign(
            pathway.act(case.stage, "sign"), images=facts.images, waiting=facts.waiting, verified=facts.verified
        ),
    }


class Allowed(Schema):
    """The acts that the caller may do in the stage of the case."""

    verdict: bool
    sign: bool
    correct: bool


class CaseOut(CaseRow):
    """A case with its images and its history."""

    images_list: list[ImageRow]
    labels: list[str]
    display_names: dict[str, str]
    threshold: float
    limit: Literal["fixed", "learned"]
    sign_note: str | None
    history: list[EventOut]
    allowed: Allowed
    blockers: list[str]
    etag: Annotated[str, Field(description="For `If-Match` of a signature or correction.")]


class SignCaseRequest(Schema):
    """A signature with an optional closing note."""

    note: Annotated[Text, Field(max_length=4000)] | None = None
    accept_unprintable: Annotated[
        bool,
        Field(
            description="Sign although the report must print the codes of some characters (otherwise: 422, code "
            "`not-printable`, with the characters in `unprintable`)."
        ),
    ] = False


class CorrectIn(Schema):
    """The reason of a correction."""

    reason: Annotated[Text, Field(min_length=1, max_length=4000, examples=["Image 3 shows a basophil."])]


class StageOut(Schema):
    """A stage of a pathway."""

    name: str
    title: str
    report: bool
    roles: list[str]
    acts: list[StageAct]


class PathwayOut(Schema):
    """A pathway."""

    name: str
    title: str
    version: int
    digest: str
    modality: str
    labels: list[str]
    display_names: dict[str, str]
    not_counted: list[str]
    threshold: float
    limit: Literal["fixed", "learned"]
    classifier: str
    stages: list[StageOut]

    @classmethod
    def of(cls, pathway: Pathway, display_names: dict[str, str]) -> PathwayOut:
        """The schema of a pathway."""
        return cls(
            name=pathway.name,
            title=pathway.title,
            version=pathway.version,
            digest=pathway.digest,
            modality=pathway.modality,
            labels=list(pathway.labels),
            display_names=display_names,
            not_counted=list(pathway.not_counted),
            threshold=pathway.threshold,
            limit=pathway.limit,
            classifier=pathway.classifier,
            stages=[
                StageOut(
                    name=stage.name,
                    title=stage.title,
                    report=stage.report,
                    roles=sorted({role for act in stage.acts for role in act.roles}),
                    acts=list(stage.acts),
                )
                for stage in pathway.stages
            ],
        )
