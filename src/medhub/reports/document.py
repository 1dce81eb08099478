# SPDX-License-Identifier: Apache-2.0
"""The report as a PDF: facts in, bytes out; the same facts always give the same bytes.

Typst lays out ``report.typ``. Everything that people wrote reaches it as values, never as source, so that nothing in a
name or a note can act. The PDF is tagged (PDF/UA-1) and made to be kept (PDF/A-3a), and carries the record of its
facts as an attached file. No file is written on the way.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typst

from medhub.reports import report_images
from medhub.reports.embedded_record import facts_keyword
from medhub.reports.facts import (
    RECORD_NAME,
    ImageFinding,
    PatientIdentity,
    Person,
    ReportEvent,
    ReportFacts,
    Superseded,
    canonical_json,
    facts_digest,
    facts_record,
    verdict_counts,
)
from medhub.reports.typography import (
    FONTS,
    allow_breaks,
    is_right_to_left,
    isolate_direction,
    printable_text,
    shorten_text,
    single_line,
)

__all__ = [
    "RECORD_NAME",
    "ImageFinding",
    "PatientIdentity",
    "Person",
    "ReportEvent",
    "ReportFacts",
    "Superseded",
    "facts_digest",
    "facts_record",
    "render",
]

STANDARDS: list[Any] = ["a-3a", "ua-1"]
LONG_NOTE = 260
"""A longer note moves from beside its image to a section of its own, where it may run over pages."""
LONG_NOTE_LINES = 4
LONG_FIELD = 90
"""A longer value of a field is printed over the whole width."""
SIDE_ALONE, SIDE_MANY = 1000, 480
"""Longest side of a picture in pixels: at least 280 dpi at the size it is printed."""
UNCERTAIN = "Uncertain"

_SEXES = {"F": "Female", "M": "Male", "O": "Other", "U": "not stated"}
_ACTIONS = {
    "opened": "Opened the case",
    "signed": "Signed the case",
    "correction opened": "Opened the correction",
    "verdict": "Gave a verdict",
    "verdict taken back": "Took a verdict back",
}
"""The acts in the history of a case as people read them."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def render(facts: ReportFacts) -> bytes:
    """Return the report as PDF, not yet signed (see ``medhub.reports.pdf_signature``)."""
    record = facts_record(facts)
    inputs = {"facts": json.dumps(_page_values(facts, record), ensure_ascii=True)}
    side = SIDE_ALONE if len(facts.images) == 1 else SIDE_MANY
    for index, image in enumerate(facts.images):
        inputs[f"picture-{index}"] = report_images.svg(*report_images.jpeg(image.picture, side))
        if image.evidence is not None:
            inputs[f"evidence-{index}"] = report_images.svg(*report_images.jpeg(image.evidence, side))
    compiler = typst.Compiler(_source(), font_paths=_fonts(), ignore_system_fonts=True)
    pdf = compiler.compile(
        format="pdf", sys_inputs=inputs, pdf_standards=STANDARDS, timestamp=_ensure_zone(facts.issued_at)
    )
    if not isinstance(pdf, bytes):  # pragma: no cover - typst returns a list for other formats only
        raise TypeError(f"typst returned {type(pdf).__name__} for a PDF")
    return pdf


@cache
def _fonts() -> typst.Fonts:
    """Return the bundled fonts, read once: nothing of the system, so that a report is the same everywhere."""
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(FONTS)])


@cache
def _source() -> bytes:
    return (Path(__file__).parent / "report.typ").read_bytes()


def _page_values(facts: ReportFacts, record: dict[str, Any]) -> dict[str, Any]:
    """Return the values that ``report.typ`` prints, each as text that can be printed."""
    digest = facts_digest(record)
    heading = f"{facts.pathway_title}: report"
    title = single_line(f"{heading}, case {facts.case_id}, version {facts.version}")
    old = facts.supersedes
    issued = _ensure_zone(facts.issued_at)
    return {
        "title": title,
        "heading": _print_line(heading),
        "author": single_line(facts.institution or facts.project),
        "keywords": [facts_keyword(digest)],
        "date": [issued.year, issued.month, issued.day],
        "record": {"name": RECORD_NAME, "text": canonical_json(record).decode()},
        "project": _print_line(facts.project),
        "institution": facts.institution and _print_line(facts.institution),
        "case": _print_line(facts.case_id),
        "version": facts.version,
        "issued": _print_time(facts.issued_at, facts.time_zone),
        "patient_code": _print_line(facts.patient_code),
        "patient": _patient_rows(facts),
        "long_fields": [_build_field_row(*pair) for pair in facts.fields if _is_long(pair[1])],
        "identity": facts.identity and _identity_rows(facts.identity),
        "case_rows": _case_rows(facts),
        "supersedes": old
        and {
            "version": old.version,
            "issued": old.issued_at and _print_time(old.issued_at, facts.time_zone),
            "reason": _print_note(old.reason),
        },
        "conclusion": facts.conclusion and _print_note(facts.conclusion),
        "summary": _summarize(facts),
        "images": [_image_values(index, image, facts) for index, image in enumerate(facts.images)],
        "notice": _build_notice(facts),
        "classifier": _classifier_rows(facts),
        "technical": _digest_rows(facts, digest),
        "image_digests": [
            _build_row(f"Image {image.number} digest", f"{_group_digits(image.image_digest[:32], 8)} …", code=True)
            for image in facts.images
        ],
        "card_notice": facts.classifier_notice and _print_note(facts.classifier_notice),
        "history": _build_history(facts),
        "software": single_line(f"Medhub {facts.software_version}"),
    }


def _patient_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    rows = [
        _build_row("Code", _print_line(facts.patient_code), code=True),
        _build_row("Sex", _print_line(_SEXES.get(facts.sex or "U", facts.sex or ""))),
        _build_row("Born", str(facts.birth_year) if facts.birth_year else "not stated"),
    ]
    return rows + [_build_field_row(*pair) for pair in facts.fields if not _is_long(pair[1])]


def _identity_rows(identity: PatientIdentity) -> list[dict[str, Any]]:
    rows = [_build_row("Name", _print_line(identity.name))]
    if identity.hospital_number:
        rows.append(_build_row("Hospital number", _print_line(identity.hospital_number), code=True))
    if identity.birth_date:
        rows.append(_build_row("Birth date", _print_line(_print_date(identity.birth_date))))
    return rows + [_build_field_row(label, value) for label, value in identity.more]


def _case_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    return [
        _build_row("Case", _print_line(facts.case_id), code=True),
        _build_row("Version", str(facts.version)),
        _build_row("Project", _print_line(facts.project)),
        _build_row("Pathway", _print_line(facts.pathway_title)),
        _build_row("Signed by", _print_person(facts.signed_by.name, facts.signed_by.role)),
        _build_row("Signed", _print_time(facts.signed_at, facts.time_zone)),
    ]


def _classifier_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    rows = [
        _build_row("Pathway", _print_line(facts.pathway_name), code=True),
        _build_row("Pathway digest", _group_digits(facts.pathway_digest, 8), code=True),
    ]
    if facts.classifier_name:
        rows += [
            _build_row("Classifier", _print_line(facts.classifier_name), code=True),
            _build_row("Classifier version", _print_line(facts.classifier_version or "not stated")),
            _build_row("Classifier digest", _group_digits(facts.classifier_digest or "not stated", 8), code=True),
        ]
    if facts.classifier_licence:
        rows.append(_build_row("Classifier licence", _print_line(facts.classifier_licence)))
    return [*rows, _build_row("Software", _print_line(f"Medhub {facts.software_version}"))]


def _digest_rows(facts: ReportFacts, digest: str) -> list[dict[str, Any]]:
    """The digests by which the facts and those of the replaced report can be recognized."""
    rows = [_build_row("Facts digest", _group_digits(digest, 8), code=True)]
    if facts.supersedes is not None:
        old = facts.supersedes
        rows.append(_build_row(f"Facts, version {old.version}", _group_digits(old.facts_digest, 8), code=True))
    return rows


def _summarize(facts: ReportFacts) -> dict[str, Any]:
    images = facts.images
    predicted = Counter(UNCERTAIN if i.uncertain else i.classifier_label for i in images if i.classifier_label)
    verdicts = dict(verdict_counts(facts))
    labels = [*verdicts, *sorted(label for label in predicted if label is not None and label not in verdicts)]
    classified = [image for image in images if image.classifier_label]
    sure = [image for image in classified if not image.uncertain]
    reasons: dict[str, list[int]] = {}
    for image in classified:
        if image.uncertain:
            reasons.setdefault(_group_of_reason(image), []).append(image.number)
    return {
        "total": len(images),
        "rows": [
            {"label": _print_label(facts, label), "verdicts": verdicts.get(label, 0), "said": predicted.get(label, 0)}
            for label in labels
        ],
        "classified": len(classified),
        "sure": len(sure),
        "agree": sum(image.agrees for image in sure),
        "differ": sum(not image.agrees for image in sure),
        "uncertain": len(classified) - len(sure),
        "differ_numbers": [image.number for image in sure if not image.agrees],
        "uncertain_reasons": [{"reason": reason, "numbers": numbers} for reason, numbers in reasons.items()],
    }


def _group_of_reason(image: ImageFinding) -> str:
    if image.novel:
        return "unlike the training images"
    return "below the threshold" if _is_below_threshold(image) else "for another reason"


def _is_below_threshold(image: ImageFinding) -> bool:
    return image.confidence is not None and image.threshold is not None and image.confidence < image.threshold


def _print_reason(image: ImageFinding) -> str | None:
    """Why the classifier abstained, from the facts themselves where they give the reason."""
    if image.novel:
        return "Unlike the training images of the classifier."
    if image.confidence is not None and image.threshold is not None and _is_below_threshold(image):
        # Cut, not rounded: 0.7496 must not read "0.75 of 0.75".
        return f"Below the threshold: {math.floor(image.confidence * 100) / 100:.2f} of {image.threshold:.2g}."
    if not image.uncertain_reason:
        return None
    return _print_line(shorten_text(single_line(image.uncertain_reason), LONG_NOTE))


def _image_values(index: int, image: ImageFinding, facts: ReportFacts) -> dict[str, Any]:
    note = printable_text(image.verdict_note or "")
    long = len(note) > LONG_NOTE or note.count("\n") >= LONG_NOTE_LINES
    ranked = sorted(image.probabilities.items(), key=lambda pair: (-pair[1], pair[0]))
    if not ranked and image.classifier_label and image.confidence is not None:
        ranked = [(image.classifier_label, image.confidence)]
    return {
        "index": index,
        "number": image.number,
        "size": f"{image.width} × {image.height} px",
        "evidence": image.evidence is not None,
        "label": _print_label(facts, image.classifier_label) if image.classifier_label else None,
        "confidence": image.confidence,
        "threshold": image.threshold,
        "uncertain": image.uncertain,
        "reason": _print_reason(image),
        "bars": [{"label": _print_label(facts, label), "value": value} for label, value in ranked],
        "verdict": _print_label(facts, image.verdict_label),
        "by": _print_person(image.verdict_by, image.verdict_role),
        "at": _print_time(image.verdict_at, facts.time_zone),
        "agrees": image.agrees,
        "note": _print_note(shorten_text(" ".join(note.split()), LONG_NOTE - 60) if long else note) if note else None,
        "long_note": _print_note(note) if long else None,
    }


def _build_notice(facts: ReportFacts) -> dict[str, Any]:
    readers: dict[tuple[str, str], int] = Counter((i.verdict_by, i.verdict_role) for i in facts.images)
    return {
        "classifier": facts.classifier_name
        and _print_line(f"{facts.classifier_name} {facts.classifier_version or ''}"),
        "readers": [
            {"who": _print_person(name, role), "images": count}
            for (name, role), count in sorted(readers.items(), key=lambda item: (-item[1], item[0]))
        ],
        "signer": _print_person(facts.signed_by.name, facts.signed_by.role),
        "signed": _print_time(facts.signed_at, facts.time_zone),
    }


def _build_history(facts: ReportFacts) -> list[dict[str, Any]]:
    acts = list(facts.history)
    signed = any(act.by == facts.signed_by and _ensure_zone(act.at) == _ensure_zone(facts.signed_at) for act in acts)
    if not signed:
        acts.append(ReportEvent(facts.signed_at, facts.signed_by, "Signed the case"))
    return [
        {
            "at": _print_time(act.at, facts.time_zone),
            "who": isolate_direction(_print_line(shorten_text(act.by.name, 120))),
            "role": _print_line(shorten_text(act.by.role, 60)),
            "what": _print_line(_ACTIONS.get(act.action, act.action[:1].upper() + act.action[1:])),
        }
        for act in acts
    ]


def _print_line(text: str) -> str:
    return allow_breaks(single_line(text))


def _print_person(name: str, role: str) -> str:
    return f"{isolate_direction(_print_line(shorten_text(name, 120)))}, {_print_line(shorten_text(role, 60))}"


def _print_note(text: str) -> dict[str, Any]:
    printed = allow_breaks(printable_text(text))
    return {"text": printed, "rtl": is_right_to_left(printed)}


def _print_label(facts: ReportFacts, label: str) -> str:
    return isolate_direction(_print_line(shorten_text(single_line(facts.display_names.get(label, label)), 60)))


def _is_long(value: str) -> bool:
    return len(value) > LONG_FIELD or "\n" in value


def _build_field_row(label: str, value: str) -> dict[str, Any]:
    return _build_row(label, allow_breaks(printable_text(value)))


def _build_row(label: str, printed: str, *, code: bool = False) -> dict[str, Any]:
    return {"label": _print_line(label), "text": printed, "rtl": is_right_to_left(printed), "code": code}


def _group_digits(digest: str, size: int) -> str:
    digest = single_line(digest)
    return " ".join(digest[start : start + size] for start in range(0, len(digest), size))


def _ensure_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print_time(moment: datetime, zone: str) -> str:
    local = _ensure_zone(moment).astimezone(UTC if zone == "UTC" else ZoneInfo(zone))
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}, {local:%H:%M} {local:%Z}"


def _print_date(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
