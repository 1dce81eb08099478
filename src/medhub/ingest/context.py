# SPDX-License-Identifier: Apache-2.0
"""What is known of a file on its way in, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medhub.errors import Invalid
from medhub.foundation.app_context import AppContext
from medhub.ingest.models import Arrival, Route
from medhub.ingest.profiles import ProjectProfileChoice
from medhub.records.pathway import Pathway
from medhub.science.arrivals.burned_in_text import BurnedInText
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.imaging.decoding_limits import Unacceptable


class ArrivalRefused(Invalid):
    """A whole file that does not fit what is here already; the fact ``reason`` says in a word why."""

    code = "arrival-refused"


def too_large(app: AppContext, size_bytes: int) -> Unacceptable:
    """Why a file is not taken of which, since it is longer than the limit, nothing was kept."""
    return Unacceptable(
        f"This file has {size_bytes // 1024**2} MB; at most {app.settings.upload_max_bytes // 1024**2} MB are taken. "
        "Export it smaller, or ask the administrator to raise the limit. Nothing was stored.",
        reason="too-many-bytes",
    )


Outcome = Literal["accepted", "duplicate", "quarantined", "discarded"]


@dataclass(frozen=True)
class TargetStudy:
    """The study, and the series if one was named, that files are to lie in whatever they say."""

    study_id: str
    study_uid: str
    series_uid: str | None = None
    modality: str | None = None  # of that series


@dataclass(frozen=True)
class IngestContext:
    """For which patient and pathway files come in; checked once, good for many files."""

    patient_id: str
    patient_code: str
    project_id: str
    sex: str
    birth_year: int | None
    pathway: Pathway | None  # None for what is archived alone
    chosen: ProjectProfileChoice
    known: tuple[str, ...] = ()  # who the patient is, from the vault; in memory alone
    route: Route = "upload"
    peer: str | None = None
    attributes: tuple[str, ...] = ()  # by which the project searches beside the usual ones
    settle_s: int = 0
    duplicates: str = "keep"  # keep, replace, changed: what becomes of another file with the same identifier
    place: TargetStudy | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one file; ``code`` says in a word why it was not accepted."""

    outcome: Outcome
    reason: str | None = None
    image_id: str | None = None
    code: str | None = None
    said: PatientIdentifiers | None = None  # by which identifiers it was sent; for the answer to its sender alone


@dataclass(frozen=True)
class CleanedArrival:
    """A cleaned file on its way into the rows.

    A quarantined arrival that a person ``released`` becomes the accepted one; who looked ``by_person`` chose its boxes.
    """

    receiving: IngestContext
    prepared: CleanedImage
    seen: BurnedInText | None
    received_hash: str
    released: Arrival | None = None
    note: str | None = None
    by_person: bool = False
