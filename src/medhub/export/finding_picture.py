# SPDX-License-Identifier: Apache-2.0
"""The picture beside a finding: the text that the PHI scan found is covered for roles that may not read identities."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import NotFound
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.foundation.app_context import AppContext
from medhub.records import isolated_calls, studies
from medhub.records.models import Image
from medhub.science.arrivals.burned_in_text import Region

# Detections cut the edges of letters off.
_MARGIN = 6
_IN_PIXELS = re.compile(r"\bpixels?\b|\bpicture\b")
_FRAME = re.compile(r"\bframe (\d+)")
_BOX = re.compile(r"\bbox (\d+),(\d+),(\d+),(\d+)$")
# The same area of all frames, or all of a frame.
_EVERY_FRAME = 0
_COMPLETE = (0, 0, 1 << 20, 1 << 20)


def get_finding_image(
    session: Session, actor: Actor, export: Export, finding_id: str
) -> tuple[Image, int, list[Region]]:
    """The image of a finding, the number of the frame to show (from 0), and the areas to cover; the act is audited."""
    finding = session.get(ExportFinding, finding_id)
    if finding is None or finding.export_id != export.id:
        raise NotFound("There is no such finding in this export.")
    image_id = session.scalar(
        select(ExportImage.image_id).where(
            ExportImage.export_id == export.id, ExportImage.number == finding.number, ExportImage.image_id.is_not(None)
        )
    )
    if image_id is None:
        raise NotFound("This finding has no picture.")
    image = studies.get_image(session, actor, image_id, "export.read")
    if image.frames == 0:
        raise NotFound("This finding has no picture.")
    match = _FRAME.search(finding.location)
    frame = min(int(match[1]), image.frames) - 1 if match else 0
    covered: list[Region] = []
    if not actor.may("identity.read", export.project_id):
        locations = select(ExportFinding.location).where(
            ExportFinding.export_id == export.id, ExportFinding.number == finding.number
        )
        covered = [region for location in session.scalars(locations) if (region := _region_of(location)) is not None]
    actor.record(
        session,
        "export.view-finding",
        "export",
        export.id,
        project_id=export.project_id,
        image=image.id,
        covered=len(covered),
    )
    return image, frame, [region for region in covered if region[0] in (frame + 1, _EVERY_FRAME)]


def render_finding(app: AppContext, image: Image, frame: int, covered: list[Region], size: int) -> bytes:
    """Render the frame as WebP, with some areas black."""
    boxes = [(x0 - _MARGIN, y0 - _MARGIN, x1 + _MARGIN, y1 + _MARGIN) for _, x0, y0, x1, y1 in covered]
    return isolated_calls.render_covered_areas(app, image.blob, size, frame, boxes)


def _region_of(location: str) -> Region | None:
    """The area of an image that a location names; all of it where the location names none in these pixels."""
    if not _IN_PIXELS.search(location):
        return None
    frame, box = _FRAME.search(location), _BOX.search(location)
    # The pixels of an icon, or of another object within this one, have another size.
    if box is None or not location.startswith(("pixels", "bytes of the file, pixels")):
        return (_EVERY_FRAME, *_COMPLETE)
    x0, y0, x1, y1 = (int(number) for number in box.groups())
    return (int(frame[1]) if frame else _EVERY_FRAME), x0, y0, x1, y1
