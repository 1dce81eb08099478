# SPDX-License-Identifier: Apache-2.0
"""Routes of one classifier: its card, its predictions, and comparisons with others."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from medhub.accounts.access import Call, allow
from medhub.classification import appointments
from medhub.classification.registry import find_installed, trained_folder_of
from medhub.foundation.http import Page, Paging, Text
from medhub.training import live_metrics, queries, runs
from medhub.training.promotion_criteria import compare
from medhub.training.promotion_schemas import AppointmentOut, ClassifierCard, ComparisonOut, Digest, PredictionRow

classifiers = APIRouter(prefix="/api/classifiers", tags=["classifiers"])

DigestPath = Annotated[Digest, Path(description="Digest of the classifier.")]


@classifiers.get("/{digest}", summary="One classifier")
def read_classifier(call: Annotated[Call, allow("classifier.read")], digest: DigestPath) -> ClassifierCard:
    """A classifier with its whole card, and where it reads."""
    settings = call.app.settings
    installed = find_installed(settings, digest)
    with call.reading() as session:
        reading = appointments.by_digest(session, settings)
        run = runs.run_of_classifier(session, digest)
        return ClassifierCard(
            digest=digest,
            card=installed.card,
            display_names=installed.card.display_names(),
            trained_here=installed.folder.parent == trained_folder_of(settings).resolve(),
            appointments=[
                AppointmentOut.of(appointment) for appointment in appointments.of_classifier(session, digest)
            ],
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
