# SPDX-License-Identifier: Apache-2.0
"""Preview what a de-identification profile does to files; nothing of them is written."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from medhub.accounts.actor import Actor
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import IngestFile
from medhub.ingest.pipeline import check_phi, clean_files
from medhub.ingest.refusals import PhiReviewNeeded
from medhub.records import isolated_calls
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.deid.profile import Profile

MOST_FILES = 50


@dataclass(frozen=True)
class PreviewedFile:
    """The result that one file would have."""

    filename: str
    outcome: str  # cleaned, quarantined
    reason: str
    boxes: tuple[Region, ...]


@dataclass
class Preview:
    """The results that files would have."""

    files: list[PreviewedFile] = field(default_factory=list)
    actions: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (attribute, done, rule) -> files
    texts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (attribute, value) -> files


def preview_profile(app: AppContext, project_id: str, profile: Profile, files: Iterable[tuple[str, bytes]]) -> Preview:
    """Run the cleaning and PHI check of the pipeline on files in memory, and report the results."""
    cleaning = CleaningContext(
        uid_key=secrets.token_bytes(32), patient_code="P-PREVIEW", received_at=clock.now(), profile=profile
    )
    source, preview = IngestSource(project_id, "upload"), Preview()
    for filename, data in files:
        file = IngestFile(data, len(data), cleaning=cleaning)
        clean_files(app, source, [file])
        check_phi(app, [file])
        outcome, reason, boxes = "cleaned", "", file.text.boxes if file.text is not None else ()
        if file.refusal is not None:
            outcome, reason = "quarantined", file.refusal.message
            boxes = file.refusal.boxes if isinstance(file.refusal, PhiReviewNeeded) else ()
        preview.files.append(PreviewedFile(filename, outcome, reason, boxes))
        if file.image is not None:
            preview.actions.update({(line.name, line.done, line.rule) for line in file.image.manifest})
            preview.texts.update(isolated_calls.read_remaining_texts(app, file.image.dicom))
    return preview


def record_preview(actor: Actor, app: AppContext, project_id: str, profile: Profile, files: int) -> None:
    """Write the audit entry of a preview, without any content of the files."""
    with app.database.reading() as session:
        actor.record(
            session, "profile.preview", "project", project_id, project_id=project_id, profile=profile.name, files=files
        )
