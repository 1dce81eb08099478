# SPDX-License-Identifier: Apache-2.0
"""A received file, its state between the steps of the pipeline, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medhub.ingest.context import IngestContext
from medhub.ingest.refusals import Refusal
from medhub.science.arrivals.burned_in_text import BurnedInText, Region
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers

Outcome = Literal["accepted", "duplicate", "quarantined", "discarded"]


@dataclass(frozen=True)
class ReceivedFile:
    """The bytes of a received file, or only its size where it exceeds the limit and was not read."""

    data: bytes | None
    size_bytes: int
    name: str = ""  # for a patient-claim source; in memory only, never stored or logged

    @classmethod
    def of(cls, data: bytes, name: str = "") -> ReceivedFile:
        """A file that was read completely."""
        return cls(data, len(data), name)


@dataclass(frozen=True)
class IngestResult:
    """The result of one file; ``code`` is a short reason where it was not accepted."""

    outcome: Outcome
    reason: str | None = None
    image_id: str | None = None
    code: str | None = None
    identifiers: PatientIdentifiers | None = None  # as sent; only for the answer to the sender


@dataclass(frozen=True)
class ReleaseDecision:
    """A person's decision to release a quarantined arrival, with the boxes to redact, if the person drew them."""

    arrival_id: str
    boxes: Sequence[Region] | None
    note: str | None


@dataclass
class IngestFile:
    """A file on its way through the pipeline; each step fills in its part.

    A step that cannot accept the file sets ``refusal``; the last step quarantines such files. Every file that leaves
    the pipeline has a ``result``.
    """

    data: bytes
    size_bytes: int
    name: str = ""
    release: ReleaseDecision | None = None  # of a file that comes from quarantine
    identifiers: PatientIdentifiers | None = None  # set by identify_patients, as far as read
    context: IngestContext | None = None  # set by identify_patients; None while no patient is known
    received_hash: str = ""  # set by find_duplicates
    cleaning: CleaningContext | None = None  # set by clean_files
    image: CleanedImage | None = None  # set by clean_files
    text: BurnedInText | None = None  # set by check_phi; None where the image cannot contain text
    refusal: Refusal | None = None
    result: IngestResult | None = None

    @property
    def sop_instance_uid(self) -> str:
        """The SOP Instance UID that it came with; empty where it has none."""
        return self.identifiers.sop_instance_uid if self.identifiers is not None else ""

    @property
    def is_open(self) -> bool:
        """Whether the file is neither refused nor finished."""
        return self.refusal is None and self.result is None


@dataclass(frozen=True)
class CleanedArrival:
    """A cleaned and checked file, ready to be stored."""

    context: IngestContext
    image: CleanedImage
    text: BurnedInText | None
    received_hash: str
    release: ReleaseDecision | None = None
    instance_hash: str | None = None
