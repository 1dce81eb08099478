# SPDX-License-Identifier: Apache-2.0
"""Manifests of images: the profile applied to an image, and what was done to which attribute."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import NotFound
from medhub.foundation import clock
from medhub.foundation.database import serialize_writers
from medhub.ingest.ingest_file import CleanedArrival
from medhub.ingest.models import Manifest, ManifestLines
from medhub.records import studies
from medhub.records.models import Image
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.deid.attributes.method_attributes import ENGINE
from medhub.science.deid.identity_cache import cached_by_identity
from medhub.science.deid.manifest import ManifestLine


def build_manifest_row(
    session: Session, image: Image, arrival: CleanedArrival, cleaned: CleanedImage, written: set[str]
) -> dict[str, Any]:
    """Build the values of a manifest row; its lines are written once for all images to which the same was done.

    ``written`` are the digests of lines that this batch has written already.
    """
    digest = _digest_lines(cleaned.manifest)
    if digest not in written and session.get(ManifestLines, digest) is None:
        serialize_writers(session, "manifest lines")
        if session.get(ManifestLines, digest) is None:
            session.add(ManifestLines(digest=digest, lines=_as_lists(cleaned.manifest)))
            session.flush()
    written.add(digest)
    profile, text = arrival.context.profile, arrival.text
    by_program = text is not None or cleaned.searched
    by_person = arrival.release is not None and arrival.release.boxes is not None
    return {
        "image_id": image.id,
        "profile": profile.profile.name,
        "profile_version": profile.profile.version,
        "profile_digest": profile.digest,
        "engine": ENGINE,
        "lines": digest,
        "looked_through": "person" if by_person else "program" if by_program else "no",
        "boxes": [list(box) for box in text.boxes] if text is not None else [],
        "kept": [list(box) for box in text.allowed] if text is not None else [],
        "created_at": clock.now(),
    }


def read_manifest(session: Session, actor: Actor, image_id: str) -> tuple[Manifest, list[Any]]:
    """The manifest of an image and its lines; the act is audited."""
    image = studies.get_image(session, actor, image_id)
    manifest = session.get(Manifest, image.id)
    if manifest is None:
        raise NotFound("This image came in before manifests were kept.")
    studies.record_image(session, actor, "image.view", image, what="manifest")
    return manifest, session.get_one(ManifestLines, manifest.lines).lines


def _as_lists(manifest: Sequence[ManifestLine]) -> list[list[Any]]:
    return [list(vars(line).values()) for line in manifest]


@cached_by_identity
def _digest_lines(manifest: tuple[ManifestLine, ...]) -> str:
    return hashlib.sha256(json.dumps(_as_lists(manifest)).encode()).hexdigest()
