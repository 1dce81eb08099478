# SPDX-License-Identifier: Apache-2.0
"""The protocol of a patient-claim source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import IngestFile


class PatientClaimSource(Protocol):
    """A way to find the patient of received files.

    An implementation has no state. It is registered under its name in ``patient_claims.CLAIM_SOURCES``; an entry point
    uses it by ``IngestSource(..., claim=NAME)``.
    """

    @property
    def name(self) -> str:
        """Unique name, in lower case with hyphens."""

    def identify(self, app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
        """Find the patients of one batch of files.

        For each file that has no refusal, set ``context`` (``context.build_context`` makes one from a patient and a
        pathway), or ``refusal``, or both: a file with a context and a refusal is quarantined under the key of that
        patient, one without a context under the key of the project until a person assigns it. Never merge patients
        silently: raise nothing, and refuse where two statements about the patient contradict each other.

        Reading the file is done in an isolated process (``reading.read_identifiers``); ``file.name`` and
        ``file.identifiers`` may identify a person and are never stored or logged. An implementation opens its own
        transaction, at most one a batch.
        """
