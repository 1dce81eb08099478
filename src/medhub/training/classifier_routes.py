# SPDX-License-Identifier: Apache-2.0
"""Routes of one classifier: its card, its predictions, and comparisons with others."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from medhub.accounts.access import Call, allow
from medhub.classification import appointments
from medhub.classification.registry import trained_folder_of
from medhub.classification.schemas import ClassifierOut
from medhub.foundation.http import Id, Page, Paging, Text
from medhub.training import live_metrics, queries, runs
from medhub.training.promotion_criteria import compare
from medhub.training.promotion_schemas import AppointmentOut, ClassifierCard, ComparisonOut, Digest, PredictionRow
from medhub.training.usable_classifiers import find_visible, visible_classifiers

classifiers = APIRouter(prefix="/api/classifiers", tags=["classifiers"])

DigestPath = Annotated[Digest, Path(description="Digest of the classifier.")]


@classifiers.get("", summary="Classifiers")
def list_classifiers(
    call: Annotated[Call, allow("classifier.read")], project_id: Annotated[Id | None, Query()] = None
) -> list[ClassifierOut]:
    """The classifiers that the asker's projects can use, with the main parts of their cards, and where they read."""
    settings = call.app.settings
    trained = trained_folder_of(settings).resolve()
    project_ids = call.actor.projects("classifier.read", project_id)
    with call.reading() as session:
        reading = appointments.by_digest(session, settings, project_ids)
        visible = visible_classifiers(session, settings, project_ids)
    return [
        ClassifierOut.of(
            installed,
            trained_here=installed.folder.parent == trained,
            in_use_on=reading.get((installed.digest, appointments.IN_USE), []),
            shadow_on=reading.get((installed.digest, appointments.SHADOW), []),
        )
        for installed in visible
    ]


@classifiers.get("/{digest}", summary="One classifier")
def read_classifier(call: Annotated[Call, allow("classifier.read")], digest: DigestPath) -> ClassifierCard:
    """A classifier with its whole card, and where it reads."""
    settings = call.app.settings
    project_ids = call.actor.projects("classifier.read")
    with call.reading() as session:
        installed = find_visible(session, settings, project_ids, digest)
        reading = appointments.by_digest(session, settings, project_ids)
        appointed = appointments.of_classifier(session, digest, project_ids)
        run = runs.run_of_classifier(session, digest)
        return ClassifierCard(
            digest=digest,
            card=installed.card,
            display_names=installed.card.display_names(),
            trained_here=installed.folder.parent == trained_folder_of(settings).resolve(),
            appointments=[AppointmentOut.of(appointment) for appointment in appointed],
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
        predictions, total = queries.list_predictions(
            session, call.actor, digest, part, offset=paging.offset, limit=paging.page_size
        )
        return paging.of([PredictionRow.of(prediction) for prediction in predictions], total)


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
