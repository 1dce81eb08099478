# SPDX-License-Identifier: Apache-2.0
"""Reasons for which the pipeline does not accept a file; each has a sentence for a person and a short code."""

from __future__ import annotations

from collections.abc import Sequence

from medhub.errors import Invalid
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.imaging.decoding_limits import Unacceptable


class ArrivalRefused(Invalid):
    """A readable file that conflicts with stored data; the fact ``reason`` is a short code."""

    code = "arrival-refused"


Refusal = Unacceptable | ArrivalRefused


class PatientMismatch(ArrivalRefused):
    """The identifiers in a file contradict what is known of the patient; a person decides whose file it is."""

    code = "conflicting-patient"

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        """Store the ids of the patients to whom the file may belong."""
        super().__init__(message, reason="conflicting-patient")
        self.candidates = tuple(dict.fromkeys(candidates))


class PhiReviewNeeded(ArrivalRefused):
    """The pixels of a file may contain identifying text; a person must look at them."""

    code = "in-doubt"

    def __init__(self, message: str, boxes: Sequence[Region] = ()) -> None:
        """Store the boxes that may contain text."""
        super().__init__(message, reason="writing")
        self.boxes = tuple(boxes)


class FileUndecodable(ArrivalRefused):
    """A file on which the isolated decoder failed; a person looks at it."""

    def __init__(self, failure: DecoderFailed) -> None:
        """Store the failure of the decoder."""
        super().__init__(
            f"{failure.message} It is kept apart until a person has looked at it.", reason=failure.facts.get("how")
        )
        self.failure = failure


def too_large(app: AppContext, size_bytes: int) -> Unacceptable:
    """The refusal of a file that is larger than the limit and was not read."""
    return Unacceptable(
        f"This file has {size_bytes // 1024**2} MB; at most {app.settings.upload_max_bytes // 1024**2} MB are taken. "
        "Export it smaller, or ask the administrator to raise the limit. Nothing was stored.",
        reason="too-many-bytes",
    )


def code_of(refusal: Refusal) -> str:
    """The short code of a refusal, as stored with the arrival."""
    return str(refusal.facts.get("reason", "unsupported"))
