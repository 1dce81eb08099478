# SPDX-License-Identifier: Apache-2.0
"""Routes of data sets, trainings, classifiers and promotions."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.classification import appointments
from medhub.classification.registry import find_installed, get_classifier, trained_folder_of
from medhub.errors import Invalid
from medhub.foundation.http import Id, Line, Page, Paging, Text
from medhub.ingest.upload_parser import UploadReader, form
from medhub.records.pathway import Pathway, get_pathway
from medhub.training import datasets as data
from medhub.training import live_metrics, queries, run_requests, runs
from medhub.training import promotions as service
from medhub.training.drift import Step
from medhub.training.models import DataSet, Promotion, TrainingRun
from medhub.training.promotion_criteria import PromotionCriteria, compare
from medhub.training.schemas import (
    AgreementOut,
    AgreementsOut,
    AppointmentOut,
    CheckOut,
    ClassifierCard,
    ComparisonOut,
    DataSetCreate,
    DataSetOut,
    Digest,
    DriftOut,
    LimitsIn,
    LimitsOut,
    PathwayClassifiers,
    PredictionRow,
    PromotionCreate,
    PromotionOut,
    RecipeOut,
    RejectIn,
    RowOut,
    RunCreate,
    RunOut,
    RunRow,
    ShadowIn,
    run_fields,
    run_out,
)

datasets = APIRouter(prefix="/api/datasets", tags=["data sets"])
training = APIRouter(prefix="/api", tags=["training"])
classifiers = APIRouter(prefix="/api/classifiers", tags=["classifiers"])
promotions = APIRouter(prefix="/api/promotions", tags=["promotions"])
pathways = APIRouter(prefix="/api/pathways", tags=["promotions"])

DigestPath = Annotated[Digest, Path(description="Digest of the classifier.")]
PathwayName = Annotated[Line, Path(description="Name of the pathway.")]

_ZIP = form(
    {
        "project_id": {"type": "string", "description": "Id of the project, if you have several."},
        "name": {"type": "string", "maxLength": 100, "examples": ["our-smears"]},
        "file": {
            "type": "string",
            "format": "binary",
            "description": "A ZIP with a folder for each label, or with images and labels.csv.",
        },
    },
    "name",
    "file",
)


def _dataset_out(session: Session, call: Call, dataset: DataSet) -> DataSetOut:
    erased = data.erased(session, [dataset.id]).get(dataset.id, 0)
    return DataSetOut.of(dataset, call.actor.project_names.get(dataset.project_id, ""), erased)


@datasets.get("", summary="Data sets")
def list_datasets(
    call: Annotated[Call, allow("dataset.read")], paging: Paging, project_id: Annotated[Id | None, Query()] = None
) -> Page[DataSetOut]:
    """Versions of data sets, the latest first unless sorted otherwise."""
    with call.reading() as session:
        found, total = data.list_datasets(
            session,
            call.actor,
            project_id=project_id,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        erased = data.erased(session, [one.id for one in found])
        names = call.actor.project_names
        return paging.of(
            [DataSetOut.of(one, names.get(one.project_id, ""), erased.get(one.id, 0)) for one in found], total
        )


@datasets.post("", status_code=201, summary="Make a version of signed verdicts")
def create_dataset(call: Annotated[Call, allow("dataset.create")], given: DataSetCreate) -> DataSetOut:
    """Make a version of what was signed in a project along a pathway, as it stands now."""
    project_id = call.actor.choose_project("dataset.create", given.project_id)
    with call.writing() as session:
        made = data.make_from_verdicts(
            session, call.app, call.actor, project_id=project_id, pathway=given.pathway, name=given.name
        )
        session.flush()
        return _dataset_out(session, call, made)


@datasets.post("/zip", status_code=201, summary="Make a version of an uploaded ZIP", openapi_extra=_ZIP)
async def upload_dataset(request: Request, call: Annotated[Call, allow("dataset.create")]) -> DataSetOut:
    """Make a version of labeled images; only their pixels are kept, neither names nor metadata."""
    reader = UploadReader(
        request.headers.get("content-type", ""), largest_file_bytes=call.app.settings.dataset_max_bytes
    )
    given: dict[str, str] = {}
    archive: bytes | None = None
    async for part in reader.parts(request.stream()):
        if part.filename is None:
            given[part.name] = part.data.decode("utf-8", "replace").replace("\x00", "").strip()
        elif part.name == "file":
            if part.truncated:
                most = call.app.settings.dataset_max_bytes // 1024**2
                raise Invalid(f"The ZIP is larger than {most} MB. Divide it; nothing was stored.", field="file")
            if archive is not None:
                raise Invalid("Send one ZIP at a time.", field="file")
            archive = bytes(part.data)
    if not given.get("name") or len(given["name"]) > 100 or not given["name"].isprintable():
        raise Invalid("Give the data set a name of at most 100 characters.", field="name")
    if archive is None:
        raise Invalid("The upload has no ZIP. Choose one.", field="file")
    return await run_in_threadpool(_make_from_zip, call, given.get("project_id") or None, given["name"], archive)


def _make_from_zip(call: Call, project: str | None, name: str, archive: bytes) -> DataSetOut:
    project_id = call.actor.choose_project("dataset.create", project)
    made = data.make_from_zip(call.app, call.actor, project_id=project_id, name=name, data=archive)
    with call.reading() as session:
        return _dataset_out(session, call, queries.load_datasets(session, [made])[made])


@datasets.get("/{id}", summary="One data set")
def read_dataset(call: Annotated[Call, allow("dataset.read")], id: ItemId) -> DataSetOut:
    """A version: counts by label and part, what was left out, its digest."""
    with call.reading() as session:
        return _dataset_out(session, call, data.get_dataset(session, call.actor, id))


@datasets.get("/{id}/rows", summary="Where the labels come from")
def list_rows(call: Annotated[Call, allow("dataset.read")], id: ItemId, paging: Paging) -> Page[RowOut]:
    """The images of a version with the provenance of each label, in the version's order."""
    with call.reading() as session:
        dataset = data.get_dataset(session, call.actor, id)
        call.actor.record(session, "dataset.read", "dataset", dataset.id, project_id=dataset.project_id)
        found = data.list_rows(session, dataset, offset=paging.offset, limit=paging.page_size)
        return paging.of([RowOut.of(facts) for facts in found], dataset.images)


@datasets.get(
    "/{id}/provenance.csv",
    summary="Where the labels come from, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A CSV in UTF-8."}},
)
def read_provenance(call: Annotated[Call, allow("dataset.read")], id: ItemId) -> Response:
    """The provenance of every label of a version."""
    columns = list(RowOut.model_fields)
    buffer = io.StringIO()
    lines = csv.writer(buffer)
    lines.writerow(columns)
    with call.reading() as session:
        dataset = data.get_dataset(session, call.actor, id)
        call.actor.record(session, "dataset.export", "dataset", dataset.id, project_id=dataset.project_id)
        for facts in data.all_rows(session, dataset):
            row = RowOut.of(facts).model_dump(mode="json")
            lines.writerow([_cell(row[column]) for column in columns])
    name = f'attachment; filename="{dataset.id}.csv"'
    return Response(buffer.getvalue(), media_type="text/csv", headers={"Content-Disposition": name})


def _cell(value: object) -> object:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


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
        found, total = runs.list_runs(
            session,
            call.actor,
            project_id=project_id,
            dataset_id=dataset_id,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        known = queries.load_datasets(session, [run.dataset_id for run in found])
        return paging.of([RunRow(**run_fields(run, known[run.dataset_id])) for run in found], total)


def _run_out(session: Session, run: TrainingRun) -> RunOut:
    return run_out(run, queries.load_datasets(session, [run.dataset_id])[run.dataset_id])


@training.post("/training-runs", status_code=201, summary="Start a training")
def start_run(call: Annotated[Call, allow("training.run")], given: RunCreate) -> RunOut:
    """Have a classifier trained from a data set; it waits until a runner is free."""
    with call.writing() as session:
        run = runs.start(
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
        return _run_out(session, runs.stop(session, call.actor, id))


@classifiers.get("/{digest}", summary="One classifier")
def read_classifier(call: Annotated[Call, allow("classifier.read")], digest: DigestPath) -> ClassifierCard:
    """A classifier with its whole card, and where it reads."""
    settings = call.app.settings
    installed = find_installed(settings, digest)
    with call.reading() as session:
        reading = appointments.by_digest(session, settings)
        run = runs.made_by(session, digest)
        return ClassifierCard(
            digest=digest,
            card=installed.card,
            display_names=installed.card.display_names(),
            trained_here=installed.folder.parent == trained_folder_of(settings).resolve(),
            appointments=[AppointmentOut.of(one) for one in appointments.of_classifier(session, digest)],
            in_use_on=reading.get((digest, appointments.IN_USE), []),
            shadow_on=reading.get((digest, appointments.SHADOW), []),
            run_id=run.id if run is not None and call.actor.may("training.read", run.project_id) else None,
        )


@classifiers.get("/{digest}/predictions", summary="All predictions of a version")
def list_predictions(
    call: Annotated[Call, allow("training.read")],
    digest: DigestPath,
    paging: Paging,
    part: Annotated[Literal["shown", "shadow"], Query(description="Those that were shown, or the others.")] = "shown",
) -> Page[PredictionRow]:
    """What a classifier said of the images in the asker's projects, the latest first."""
    with call.reading() as session:
        found, total = queries.list_predictions(
            session, call.actor, digest, part, offset=paging.offset, limit=paging.page_size
        )
        return paging.of([PredictionRow.of(one) for one in found], total)


@classifiers.get("/{digest}/compare", summary="Compare with another classifier")
def compare_classifiers(
    call: Annotated[Call, allow("training.read")],
    digest: DigestPath,
    other: Annotated[Digest, Query(alias="with", description="Digest of the other classifier.")],
    pathway: Annotated[Text | None, Query(max_length=60)] = None,
) -> ComparisonOut:
    """Hold two classifiers against what was signed of the same images, none of which either learned from."""
    projects = call.actor.projects("training.read")
    settings = call.app.settings
    with call.reading() as session:
        signed = live_metrics.signed_images(session, settings, digest, other, pathway=pathway, projects=projects)
        return ComparisonOut.of(compare(live_metrics.pairs_of(signed)))


def _promotion_out(session: Session, call: Call, promotion: Promotion) -> PromotionOut:
    now = None
    if promotion.state == "waiting":
        now = service.checks_now(session, call.app.settings, promotion)
    return PromotionOut.of(promotion, call.actor.user_id, now)


@promotions.get("", summary="Promotions")
def list_promotions(
    call: Annotated[Call, allow("training.read")],
    paging: Paging,
    pathway: Annotated[Text | None, Query(max_length=60)] = None,
    state: Literal["waiting", "approved", "rejected"] | None = None,
) -> Page[PromotionOut]:
    """Requests to take a classifier into use and their answers, the latest first."""
    with call.reading() as session:
        found, total = service.list_promotions(
            session, pathway=pathway, state=state, sort=paging.sort, offset=paging.offset, limit=paging.page_size
        )
        return paging.of([_promotion_out(session, call, one) for one in found], total)


@promotions.post("", status_code=201, summary="Ask for a promotion")
def request_promotion(call: Annotated[Call, allow("promotion.request")], given: PromotionCreate) -> PromotionOut:
    """Ask for a classifier to be taken into use; another person approves it."""
    with call.writing() as session:
        made = service.request(
            session,
            call.app,
            call.actor,
            digest=given.digest,
            pathway_name=given.pathway,
            margin=given.margin,
        )
        session.flush()
        return _promotion_out(session, call, made)


@promotions.get("/{id}", summary="One promotion")
def read_promotion(call: Annotated[Call, allow("training.read")], id: ItemId) -> PromotionOut:
    """A promotion with each limit: what is demanded, what was measured, whether that is met."""
    with call.reading() as session:
        return _promotion_out(session, call, service.get_promotion(session, id))


@promotions.post("/{id}/approve", summary="Approve a promotion")
def approve_promotion(call: Annotated[Call, allow("promotion.decide")], id: ItemId) -> PromotionOut:
    """Take the classifier into use, if it keeps every limit and somebody else asked for it."""
    with call.writing() as session:
        return _promotion_out(session, call, service.approve(session, call.app, call.actor, id))


@promotions.post("/{id}/reject", summary="Reject a promotion")
def reject_promotion(call: Annotated[Call, allow("promotion.decide")], id: ItemId, given: RejectIn) -> PromotionOut:
    """Say no to a promotion, and why."""
    with call.writing() as session:
        return _promotion_out(session, call, service.reject(session, call.actor, id, given.reason))


def _pathway_classifiers(session: Session, call: Call, pathway: Pathway) -> PathwayClassifiers:
    settings = call.app.settings
    appointed = appointments.current(session, pathway.name, appointments.IN_USE)
    shadow = appointments.current(session, pathway.name, appointments.SHADOW)
    fixed = service.limits_of(session, pathway.name)
    checks = None
    if shadow is not None and fixed is not None:
        limits = PromotionCriteria(fixed.margin, fixed.ece, fixed.abstention, fixed.images)
        checks = service.measured(session, settings, pathway, shadow.digest, limits)
    if appointed is not None:
        in_use = AppointmentOut.of(appointed)
    else:
        own = get_classifier(settings, pathway.classifier)
        in_use = AppointmentOut(
            pathway=pathway.name,
            part="in use",
            classifier=own.card.name,
            digest=own.digest,
            since=None,
            until=None,
            by=None,
        )
    return PathwayClassifiers(
        pathway=pathway.name,
        title=pathway.title,
        in_use=in_use,
        shadow=AppointmentOut.of(shadow) if shadow is not None else None,
        can_roll_back=appointments.can_roll_back(session, settings, pathway),
        history=[AppointmentOut.of(one) for one in appointments.history(session, pathway.name)],
        limits=LimitsOut.of(fixed) if fixed is not None else None,
        checks=[CheckOut.of(one) for one in checks] if checks is not None else None,
    )


def _read_pathway(call: Call, pathway: Pathway) -> PathwayClassifiers:
    """What is known of a pathway; after a change, so that nobody waits with writing until it is measured."""
    with call.reading() as session:
        return _pathway_classifiers(session, call, pathway)


@pathways.get("/{name}/classifiers", summary="Who reads the images of a pathway")
def read_pathway_classifiers(call: Annotated[Call, allow("training.read")], name: PathwayName) -> PathwayClassifiers:
    """The classifier in use, the one in the shadow, those before, and the limits of a promotion."""
    return _read_pathway(call, get_pathway(call.app.settings, name))


@pathways.put("/{name}/limits", summary="Fix the limits of a promotion")
def fix_limits(call: Annotated[Call, allow("limits.change")], name: PathwayName, given: LimitsIn) -> PathwayClassifiers:
    """Fix what a classifier must keep; requests that wait keep the limits under which they were made."""
    pathway = get_pathway(call.app.settings, name)
    with call.writing() as session:
        service.fix_limits(session, call.actor, pathway, PromotionCriteria(**given.model_dump()))
    return _read_pathway(call, pathway)


@pathways.put("/{name}/shadow", summary="Have a classifier read in the shadow")
def begin_shadow(
    call: Annotated[Call, allow("classifier.shadow")], name: PathwayName, given: ShadowIn
) -> PathwayClassifiers:
    """Have a classifier read all that comes in, and what was signed lately, without being shown to those who read."""
    pathway = get_pathway(call.app.settings, name)
    with call.writing() as session:
        service.begin_shadow(session, call.app, call.actor, pathway, given.digest)
    return _read_pathway(call, pathway)


@pathways.delete("/{name}/shadow", summary="End reading in the shadow")
def end_shadow(call: Annotated[Call, allow("classifier.shadow")], name: PathwayName) -> PathwayClassifiers:
    """Have no classifier read in the shadow any more; what it said stays."""
    pathway = get_pathway(call.app.settings, name)
    with call.writing() as session:
        appointments.end_shadow(session, call.actor, pathway)
    return _read_pathway(call, pathway)


@pathways.post("/{name}/rollback", summary="Bring back the classifier before")
def roll_back(call: Annotated[Call, allow("classifier.roll-back")], name: PathwayName) -> PathwayClassifiers:
    """Bring back the classifier that was in use before; what is uploaded from now on is read by it."""
    pathway = get_pathway(call.app.settings, name)
    with call.writing() as session:
        appointments.roll_back(session, call.actor, call.app.settings, pathway)
    return _read_pathway(call, pathway)


@pathways.get("/{name}/agreement", summary="Agreement with signed verdicts")
def read_agreement(
    call: Annotated[Call, allow("training.read")],
    name: PathwayName,
    project_id: Annotated[Id | None, Query()] = None,
) -> AgreementsOut:
    """Week by week, how often the classifier in use and the one in the shadow said what was signed."""
    pathway = get_pathway(call.app.settings, name)
    projects = call.actor.projects("training.read", project_id)
    with call.reading() as session:
        in_use = appointments.digest_in_use(session, call.app.settings, pathway)
        shadow = appointments.current(session, pathway.name, appointments.SHADOW)
        weeks: list[live_metrics.Agreement] = []
        if shadow is not None:
            signed = live_metrics.signed_images(
                session, call.app.settings, shadow.digest, in_use, pathway=pathway.name, projects=projects
            )
            weeks = live_metrics.agreement(signed)
        return AgreementsOut(
            pathway=pathway.name,
            in_use=in_use,
            shadow=shadow.digest if shadow is not None else None,
            weeks=[AgreementOut.of(one) for one in weeks],
        )


@pathways.get("/{name}/drift", summary="Drift")
def read_drift(
    call: Annotated[Call, allow("training.read")],
    name: PathwayName,
    step: Annotated[Step, Query(description="Span of a point.")] = "week",
    project_id: Annotated[Id | None, Query()] = None,
) -> DriftOut:
    """What the classifier in use says over time, held against the first images that it read; an alarm if it changed."""
    pathway = get_pathway(call.app.settings, name)
    projects = call.actor.projects("training.read", project_id)
    with call.reading() as session:
        digest = appointments.digest_in_use(session, call.app.settings, pathway)
        return DriftOut.of(pathway.name, digest, live_metrics.drift(session, pathway, digest, projects, step))
