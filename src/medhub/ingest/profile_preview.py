# SPDX-License-Identifier: Apache-2.0
"""What a profile would do to files, before it is done: nothing of them is written anywhere."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from medhub.accounts.actor import Actor
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest.service import limits_of
from medhub.records import isolated_calls
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.arrivals.cleaning import CleaningContext, Unacceptable
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.deid.profile import Profile

MOST_FILES = 50


@dataclass(frozen=True)
class PreviewedFile:
    """What would become of one file."""

    filename: str
    outcome: str  # cleaned, quarantined
    reason: str
    boxes: tuple[Region, ...]


@dataclass
class Preview:
    """What would become of several files."""

    files: list[PreviewedFile] = field(default_factory=list)
    actions: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # attribute, done, rule: files
    texts: Counter[tuple[str, str]] = field(default_factory=Counter)  # attribute, value: files


def preview(app: AppContext, profile: Profile, files: Iterable[tuple[str, bytes]]) -> Preview:
    """Do to files in memory what an arrival would have done to it, and tell what that was."""
    context = CleaningContext(
        uid_key=secrets.token_bytes(32), patient_code="P-PREVIEW", received_at=clock.now(), profile=profile
    )
    limits, found = limits_of(app), Preview()
    for filename, data in files:
        boxes: tuple[Region, ...] = ()
        try:
            prepared = isolated_calls.prepare(app, data, context, limits)
            reason = ""
            if prepared.unseen:
                seen = isolated_calls.look(app, data, prepared, context, limits)
                reason, boxes = seen.doubt, seen.boxes
        except (Unacceptable, DecoderFailed, OcrUnavailable) as refusal:
            found.files.append(PreviewedFile(filename, "quarantined", refusal.message, ()))
            continue
        found.files.append(PreviewedFile(filename, "quarantined" if reason else "cleaned", reason, boxes))
        found.actions.update({(line.name, line.done, line.rule) for line in prepared.manifest})
        found.texts.update(isolated_calls.texts(app, prepared.dicom))
    return found


def record_preview(actor: Actor, app: AppContext, project_id: str, profile: Profile, files: int) -> None:
    """Have the look at somebody's files recorded; nothing of them is in it."""
    with app.database.reading() as session:
        actor.record(
            session, "profile.preview", "project", project_id, project_id=project_id, profile=profile.name, files=files
        )
