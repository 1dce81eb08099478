# SPDX-License-Identifier: Apache-2.0
"""Which event starts which job, and what each job does: the whole flow on one page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from medhub.classification import erasure as classification_erasure
from medhub.classification import tasks as classification
from medhub.classification.events import ImageClassified, ShadowWanted
from medhub.export import erasure as export_erasure
from medhub.export import tasks as export
from medhub.export.events import ExportWanted
from medhub.export.sending import send_export
from medhub.foundation.events import Flow
from medhub.foundation.installation import Installation
from medhub.foundation.jobs import Handler, Long
from medhub.ingest import erasure as ingest_erasure
from medhub.ingest.assignment import follow_claim
from medhub.ingest.events import ImageStored, StudySettled
from medhub.ingest.indexing import index_project
from medhub.ingest.quarantine import destroy_unassigned
from medhub.ingest.settling import settle
from medhub.records.erasure import Witness
from medhub.records.erasure import finish as finish_erasure
from medhub.records.events import ImagePlaced, ImagesMoved, PatientErased
from medhub.records.metadata import describe_study
from medhub.records.moving import Guard
from medhub.records.service import destroy_unnamed_blobs
from medhub.reports import erasure as reports_erasure
from medhub.reports.service import issue
from medhub.review import erasure as review_erasure
from medhub.review.events import CaseSigned
from medhub.review.moving import follow_images, refuse_begun
from medhub.review.service import open_case
from medhub.training import erasure as training_erasure
from medhub.training import tasks as training
from medhub.training.events import TrainingAsked
from medhub.viewing.tasks import make_thumbnails

FLOW: Flow = {
    ImageStored: ("classify",),
    StudySettled: ("make-thumbnails", "classify-study", "describe-study"),
    ImageClassified: ("open-case",),
    CaseSigned: ("issue-report",),
    ShadowWanted: ("classify-in-shadow",),
    TrainingAsked: ("train",),
    ExportWanted: ("export",),
    PatientErased: ("destroy-exports", "destroy-claimed"),
    ImagesMoved: ("follow-images",),
    ImagePlaced: ("classify",),
}


# Who is asked what is held of a patient, before an erasure and after it.
WITNESSES: tuple[Witness, ...] = (
    ingest_erasure.held_of,
    classification_erasure.held_of,
    review_erasure.held_of,
    reports_erasure.held_of,
    training_erasure.held_of,
    export_erasure.held_of,
)


# Who is asked whether images may come into a study or leave it.
GUARDS: tuple[Guard, ...] = (refuse_begun,)


def handlers(house: Installation) -> Mapping[str, Handler]:
    """What each job does; all of it is done once even when it is run twice."""
    return {
        "classify": partial(classification.classify, house),
        "classify-in-shadow": partial(classification.classify_in_shadow, house),
        "open-case": partial(open_case, house),
        "follow-images": partial(follow_images, house),
        "issue-report": partial(issue, house),
        "destroy-blobs": partial(destroy_unnamed_blobs, house),
        "destroy-unassigned": partial(destroy_unassigned, house),
        "follow-claim": partial(follow_claim, house),
        "destroy-claimed": partial(ingest_erasure.destroy_claimed, house),
        "index-project": partial(index_project, house),
        "settle-study": partial(settle, house),
        "make-thumbnails": partial(make_thumbnails, house),
        "classify-study": partial(classification.classify_study, house),
        "describe-study": partial(describe_study, house),
        "export": partial(export.go_on, house),
        "send-export": partial(send_export, house),
        "finish-erasure": partial(finish_erasure, house),
        "destroy-exports": partial(export.forget_patient, house),
        "train": Long(partial(training.train, house)),
    }


def abandoned(house: Installation) -> Mapping[str, Handler]:
    """What is done when a job has failed for the last time."""
    return {
        "classify": partial(classification.give_up, house),
        "export": partial(export.give_up, house),
        "train": partial(training.give_up, house),
    }
