# SPDX-License-Identifier: Apache-2.0
"""The jobs that each event starts, and the function of each job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from medhub.classification import erasure as classification_erasure
from medhub.classification import tasks as classification
from medhub.classification.events import ImageClassified, ShadowWanted
from medhub.export import erasure as export_erasure
from medhub.export import tasks as export
from medhub.export.events import ExportStepDue
from medhub.export.transfer import send_export
from medhub.foundation.app_context import AppContext
from medhub.foundation.events import Flow
from medhub.foundation.jobs import Handler, LongHandler
from medhub.ingest import erasure as ingest_erasure
from medhub.ingest.events import ImageStored, StudySettled
from medhub.ingest.patient_assignment import follow_claim
from medhub.ingest.quarantine import destroy_unassigned
from medhub.ingest.reindexing import index_project
from medhub.ingest.study_completion import complete_study
from medhub.records.dicom_metadata import build_study_metadata
from medhub.records.erasure import ErasureReporter, finish_erasure
from medhub.records.events import IdentityErased, ImageJoinedPathway, ImagesMoved, PatientErased
from medhub.records.identity_search import index_identities
from medhub.records.image_moves import MoveCheck
from medhub.records.patient_blobs import delete_unreferenced_blobs
from medhub.reports import erasure as reports_erasure
from medhub.reports.printability import check_report_texts
from medhub.reports.service import issue_report
from medhub.review import erasure as review_erasure
from medhub.review.events import CaseSigned
from medhub.review.image_moves_check import follow_images, refuse_moves_under_review
from medhub.review.service import SigningCheck, open_case
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
    ExportStepDue: ("export",),
    PatientErased: ("destroy-exports",),
    IdentityErased: ("destroy-claimed",),
    ImagesMoved: ("follow-images",),
    ImageJoinedPathway: ("classify",),
}


# The functions that count what is held of a patient, before and after an erasure.
ERASURE_REPORTERS: tuple[ErasureReporter, ...] = (
    ingest_erasure.count_held,
    classification_erasure.count_held,
    review_erasure.count_held,
    reports_erasure.count_held,
    training_erasure.count_held,
    export_erasure.count_held,
)


# The functions that may forbid to move images into or out of a study.
MOVE_CHECKS: tuple[MoveCheck, ...] = (refuse_moves_under_review,)


# The functions that may refuse a signature, such as for characters that the report cannot print.
SIGNING_CHECKS: tuple[SigningCheck, ...] = (check_report_texts,)


def job_handlers(app: AppContext) -> Mapping[str, Handler]:
    """The function of each job; all are idempotent."""
    return {
        "classify": partial(classification.classify, app),
        "classify-in-shadow": partial(classification.classify_in_shadow, app),
        "open-case": partial(open_case, app),
        "follow-images": partial(follow_images, app),
        "issue-report": partial(issue_report, app),
        "destroy-blobs": partial(delete_unreferenced_blobs, app),
        "destroy-unassigned": partial(destroy_unassigned, app),
        "follow-claim": partial(follow_claim, app),
        "destroy-claimed": partial(ingest_erasure.destroy_claimed, app),
        "index-identities": partial(index_identities, app),
        "index-project": partial(index_project, app),
        "settle-study": partial(complete_study, app),
        "make-thumbnails": partial(make_thumbnails, app),
        "classify-study": partial(classification.classify_study, app),
        "describe-study": partial(build_study_metadata, app),
        "export": partial(export.advance_export, app),
        "send-export": partial(send_export, app),
        "finish-erasure": partial(finish_erasure, app),
        "destroy-exports": partial(export.destroy_exports_of_patient, app),
        "train": LongHandler(partial(training.run_training, app)),
    }


def failure_handlers(app: AppContext) -> Mapping[str, Handler]:
    """The functions that run when a job has failed for the last time."""
    return {
        "classify": partial(classification.give_up, app),
        "export": partial(export.fail_export, app),
        "train": partial(training.give_up, app),
    }
