# SPDX-License-Identifier: Apache-2.0
"""Facts of a report, made up by the tests."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image, ImageDraw

from medhub.reports.document import ImageFinding, PatientIdentity, Person, ReportEvent, ReportFacts

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FactsMaker = Callable[..., ReportFacts]


def picture(seed: int, kind: str = "JPEG", side: int = 96) -> bytes:
    """Return a small picture with a dark disc on a light ground."""
    image = Image.new("RGB", (side, side), (250, 230, 200))
    ImageDraw.Draw(image).ellipse((20, 20, side - 20 - seed % 9, side - 20), fill=(90, 30 + seed % 60, 140))
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def finding(number: int) -> ImageFinding:
    pixels = picture(number)
    return ImageFinding(
        number=number,
        image_digest=hashlib.sha256(pixels).hexdigest(),
        width=360,
        height=363,
        picture=pixels,
        evidence=picture(number + 1),
        classifier_label="neutrophil",
        confidence=0.93,
        threshold=0.75,
        uncertain=False,
        uncertain_reason=None,
        probabilities={"neutrophil": 0.93, "monocyte": 0.05, "ig": 0.02},
        verdict_label="neutrophil",
        verdict_note=None,
        verdict_by="Aminah binti Yusof",
        verdict_role="physician",
        verdict_at=NOON + timedelta(minutes=number),
        agrees=True,
    )


def build_facts(count: int = 2, *, each: dict[str, Any] | None = None, **changes: Any) -> ReportFacts:
    """Return the facts of a report on ``count`` images; ``each`` changes every image, the rest the facts."""
    signer = Person("Aminah binti Yusof", "physician")
    facts = ReportFacts(
        case_id="C-2026-0042",
        version=1,
        project="Hematology",
        institution="Hospital Contoh",
        pathway_title="Blood smear review",
        pathway_name="smear-review",
        pathway_digest="ab" * 32,
        patient_code="P-7F3K",
        sex="F",
        birth_year=1980,
        fields=(("Ward", "4B"),),
        identity=PatientIdentity("Siti Rahmah binti Osman", "MRN-998877", "1980-03-21"),
        classifier_name="smear-cells",
        classifier_version="1.2.3",
        classifier_digest="cd" * 32,
        images=tuple(replace(finding(number + 1), **(each or {})) for number in range(count)),
        signed_by=signer,
        signed_at=NOON + timedelta(hours=1),
        issued_at=NOON + timedelta(hours=1, seconds=5),
        software_version="0.1.0",
        history=(ReportEvent(NOON, Person("Tan Wei Ling", "technologist"), "Uploaded the images"),),
    )
    return replace(facts, **changes)


@pytest.fixture(scope="session")
def make_facts() -> FactsMaker:
    """Return the maker of facts, as ``make_facts(3, case_id="...", each={"verdict_note": "..."})``."""
    return build_facts
