# SPDX-License-Identifier: Apache-2.0
"""Read the identifiers in received DICOM files, in an isolated process."""

from __future__ import annotations

from collections.abc import Sequence

from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest.context import decoding_limits
from medhub.ingest.ingest_file import IngestFile
from medhub.ingest.refusals import FileUndecodable, Refusal
from medhub.records import isolated_calls
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers


def read_identifiers(app: AppContext, files: Sequence[IngestFile]) -> list[Refusal | None]:
    """Set ``identifiers`` of each file; the list gives the reason where they cannot be read."""
    if not files:
        return []
    try:
        answers = isolated_calls.read_patient_identifiers(app, [file.data for file in files], decoding_limits(app))
    except DecoderFailed as failure:
        if len(files) == 1:
            return [FileUndecodable(failure)]
        # One by one, to find the file on which the decoder fails.
        return [refusal for file in files for refusal in read_identifiers(app, [file])]
    refusals: list[Refusal | None] = []
    for file, answer in zip(files, answers, strict=True):
        if isinstance(answer, PatientIdentifiers):
            file.identifiers = answer
            refusals.append(None)
        else:
            refusals.append(answer)
    return refusals


def read_identifiers_of(app: AppContext, data: bytes) -> PatientIdentifiers | None:
    """The identifiers in one file; ``None`` where they cannot be read."""
    file = IngestFile(data, len(data))
    read_identifiers(app, [file])
    return file.identifiers
