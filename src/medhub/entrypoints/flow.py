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
from medhub.foundation.events import Flow
from medhub.foundation.installation import Installation
from medhub.foundation.jobs import Handler, Long
from medhub.ingest import erasure as ingest_erasure
from medhub.ingest.events import ImageStored
from medhub.records.erasure import Witness
from medhub.records.erasure import finish as finish_erasure
from medhub.records.events import PatientErased
from medhub.records.service import destroy_unnamed_blobs
from medhub.reports import erasure as reports_erasure
from medhub.reports.service import issue
from medhub.review import erasure as review_erasure
from medhub.review.events import CaseSigned
from medhub.review.service import open_case
from medhub.training import erasure as training_erasure
from medhub.training import tasks as training
from medhub.training.events import TrainingAsked

FLOW: Flow = {
    ImageStored: ("classify",),
    ImageClassified: ("open-case",),
    CaseSigned: ("issue-report",),
    ShadowWanted: ("classify-in-shadow",),
    TrainingAsked: ("train",),
    ExportWanted: ("export",),
    PatientErased: ("destroy-exports",),
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


def handlers(house: Installation) -> Mapping[str, Handler]:
    """What each job does; all of it is done once even when it is run twice."""
    return {
        "classify": partial(classification.classify, house),
        "classify-in-shadow": partial(classification.classify_in_shadow, house),
        "open-case": partial(open_case, house),
        "issue-report": partial(issue, house),
        "destroy-blobs": partial(destroy_unnamed_blobs, house),
        "export": partial(export.go_on, house),
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
