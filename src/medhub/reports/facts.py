# SPDX-License-Identifier: Apache-2.0
"""The facts of a report, and the record of them inside the PDF.

The record contains no identity: it is equal in the copies with and without the patient's name, so that both have the
same digest and lead to the same images, classifier and people.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

RECORD_FORMAT = "medhub-report/1"
RECORD_NAME = "medhub-record.json"
"""Name of the record as a file inside the PDF."""


@dataclass(frozen=True)
class Person:
    """A person and the role in which the person acted."""

    name: str
    role: str


@dataclass(frozen=True)
class PatientIdentity:
    """The identity of the patient, for copies whose readers may see it; never part of the record."""

    name: str
    hospital_number: str | None = None
    birth_date: str | None = None
    more: tuple[tuple[str, str], ...] = ()
    """Further lines, as (label, value)."""


@dataclass(frozen=True)
class Superseded:
    """The issued report that this one corrects."""

    version: int
    facts_digest: str
    reason: str
    issued_at: datetime | None = None


@dataclass(frozen=True)
class ReportEvent:
    """One step in the history of the case."""

    at: datetime
    by: Person
    action: str


@dataclass(frozen=True)
class ImageFinding:
    """One image with its prediction and verdict."""

    number: int
    image_digest: str
    width: int
    height: int
    picture: bytes
    """The image as it was read, as JPEG, PNG or WebP."""
    evidence: bytes | None
    """The same picture with the evidence map laid over it; None where there is none."""
    classifier_label: str | None
    """The most probable label; None where the image was not classified."""
    confidence: float | None
    threshold: float | None
    uncertain: bool
    uncertain_reason: str | None
    """Why the classifier abstained; for a probability below the threshold or an unlike image, the report states it."""
    probabilities: dict[str, float]
    verdict_label: str
    verdict_note: str | None
    verdict_by: str
    verdict_role: str
    verdict_at: datetime
    agrees: bool
    novel: bool = False
    """Whether the image is unlike the training images of the classifier."""


@dataclass(frozen=True)
class ReportFacts:
    """Everything that a report states."""

    case_id: str
    version: int
    project: str
    pathway_title: str
    pathway_name: str
    pathway_digest: str
    patient_code: str
    sex: str | None
    birth_year: int | None
    classifier_name: str | None
    classifier_version: str | None
    classifier_digest: str | None
    images: tuple[ImageFinding, ...]
    signed_by: Person
    signed_at: datetime
    issued_at: datetime
    software_version: str
    institution: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    """The project's own fields of the patient and the study, as (label, value)."""
    identity: PatientIdentity | None = None
    supersedes: Superseded | None = None
    history: tuple[ReportEvent, ...] = ()
    """The acts on the case, oldest first; the signature is added when it is not among them."""
    conclusion: str | None = None
    """What the signer concluded; printed first."""
    classifier_licence: str | None = None
    classifier_notice: str | None = None
    """The uses that the classifier's card excludes."""
    time_zone: str = "UTC"
    """The zone (IANA) in which times are printed; the record is always in UTC."""
    display_names: Mapping[str, str] = field(default_factory=dict)
    """Names of labels for people, which are printed in place of the labels; the record has the labels."""


def verdict_counts(facts: ReportFacts) -> list[tuple[str, int]]:
    """Return how many images have each verdict, the most frequent first."""
    counts = Counter(image.verdict_label for image in facts.images)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def facts_record(facts: ReportFacts) -> dict[str, Any]:
    """Return the facts as plain values, without identity, and with digests instead of pictures."""
    old = facts.supersedes
    return {
        "format": RECORD_FORMAT,
        "software": f"Medhub {facts.software_version}",
        "case": facts.case_id,
        "version": facts.version,
        "supersedes": old
        and {
            "version": old.version,
            "facts_digest": old.facts_digest,
            "reason": old.reason,
            "issued_at": old.issued_at and _format_utc(old.issued_at),
        },
        "project": facts.project,
        "institution": facts.institution,
        "pathway": {"title": facts.pathway_title, "name": facts.pathway_name, "digest": facts.pathway_digest},
        "patient": {
            "code": facts.patient_code,
            "sex": facts.sex,
            "birth_year": facts.birth_year,
            "fields": [list(pair) for pair in facts.fields],
        },
        "classifier": facts.classifier_name
        and {
            "name": facts.classifier_name,
            "version": facts.classifier_version,
            "digest": facts.classifier_digest,
            "licence": facts.classifier_licence,
            "notice": facts.classifier_notice,
        },
        "images": [_image_record(image) for image in facts.images],
        "summary": dict(verdict_counts(facts)),
        "history": [
            {"at": _format_utc(act.at), "who": _person_record(act.by), "what": act.action} for act in facts.history
        ],
        "signed": {"at": _format_utc(facts.signed_at), "who": _person_record(facts.signed_by)},
        "issued_at": _format_utc(facts.issued_at),
    } | ({"conclusion": facts.conclusion} if facts.conclusion is not None else {})


def canonical_json(record: dict[str, Any]) -> bytes:
    """Return the record as canonical JSON: sorted keys, no spaces, UTF-8 (a lone surrogate stays escaped)."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "".join(f"\\u{ord(sign):04x}" if 0xD800 <= ord(sign) < 0xE000 else sign for sign in text).encode()


def facts_digest(record: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical record, in hexadecimal."""
    return hashlib.sha256(canonical_json(record)).hexdigest()


def _image_record(image: ImageFinding) -> dict[str, Any]:
    return {
        "number": image.number,
        "image_digest": image.image_digest,
        "width": image.width,
        "height": image.height,
        "picture_digest": hashlib.sha256(image.picture).hexdigest(),
        "evidence_digest": image.evidence and hashlib.sha256(image.evidence).hexdigest(),
        "prediction": image.classifier_label
        and {
            "label": image.classifier_label,
            "confidence": _round(image.confidence),
            "threshold": _round(image.threshold),
            "uncertain": image.uncertain,
            "reason": image.uncertain_reason,
            "probabilities": {label: _round(p) for label, p in image.probabilities.items()},
        },
        "verdict": {
            "label": image.verdict_label,
            "note": image.verdict_note,
            "at": _format_utc(image.verdict_at),
            "who": {"name": image.verdict_by, "role": image.verdict_role},
            "agrees": image.agrees,
        },
    }


def _person_record(person: Person) -> dict[str, str]:
    return {"name": person.name, "role": person.role}


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _format_utc(moment: datetime) -> str:
    """Return a time in UTC; one without a zone is UTC, as in the database."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
