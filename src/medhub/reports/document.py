# SPDX-License-Identifier: Apache-2.0
"""The report as a PDF: facts in, bytes out; the same facts always give the same bytes.

Typst lays out ``report.typ``. Everything that people wrote reaches it as values, never as source, so that nothing in a
name or a note can act. The PDF is tagged (PDF/UA-1) and made to be kept (PDF/A-3a), and carries the record of its
facts as an attached file. No file is written on the way.
"""

from __future__ import annotations

import json
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
    canonical,
    facts_digest,
    facts_record,
    verdict_counts,
)
from medhub.reports.typography import FONTS, breakable, isolated, one_line, right_to_left, shorten
from medhub.reports.typography import clean as cleaned

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
    pdf = compiler.compile(format="pdf", sys_inputs=inputs, pdf_standards=STANDARDS, timestamp=_aware(facts.issued_at))
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
    title = one_line(f"{heading}, case {facts.case_id}, version {facts.version}")
    old = facts.supersedes
    issued = _aware(facts.issued_at)
    return {
        "title": title,
        "heading": _line(heading),
        "author": one_line(facts.institution or facts.project),
        "keywords": [facts_keyword(digest)],
        "date": [issued.year, issued.month, issued.day],
        "record": {"name": RECORD_NAME, "text": canonical(record).decode()},
        "digest": _grouped(digest, 8),
        "project": _line(facts.project),
        "institution": facts.institution and _line(facts.institution),
        "case": _line(facts.case_id),
        "version": facts.version,
        "issued": _when(facts.issued_at, facts.time_zone),
        "patient_code": _line(facts.patient_code),
        "patient": _patient_rows(facts),
        "long_fields": [_field_row(*pair) for pair in facts.fields if _is_long(pair[1])],
        "identity": facts.identity and _identity_rows(facts.identity),
        "case_rows": _case_rows(facts),
        "supersedes": old
        and {
            "version": old.version,
            "digest": _grouped(old.facts_digest, 8),
            "issued": old.issued_at and _when(old.issued_at, facts.time_zone),
            "reason": _note(old.reason),
        },
        "summary": _summary(facts),
        "images": [_image_values(index, image, facts) for index, image in enumerate(facts.images)],
        "notice": _notice(facts),
        "classifier": _classifier_rows(facts),
        "card_notice": facts.classifier_notice and _note(facts.classifier_notice),
        "history": _history(facts),
        "software": one_line(f"Medhub {facts.software_version}"),
    }


def _patient_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    rows = [
        _row("Code", _line(facts.patient_code), code=True),
        _row("Sex", _line(facts.sex or "not stated")),
        _row("Born", str(facts.birth_year) if facts.birth_year else "not stated"),
    ]
    return rows + [_field_row(*pair) for pair in facts.fields if not _is_long(pair[1])]


def _identity_rows(identity: PatientIdentity) -> list[dict[str, Any]]:
    rows = [_row("Name", _line(identity.name))]
    if identity.hospital_number:
        rows.append(_row("Hospital number", _line(identity.hospital_number), code=True))
    if identity.birth_date:
        rows.append(_row("Birth date", _line(_day(identity.birth_date))))
    return rows + [_field_row(label, value) for label, value in identity.more]


def _case_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    return [
        _row("Case", _line(facts.case_id), code=True),
        _row("Version", str(facts.version)),
        _row("Project", _line(facts.project)),
        _row("Pathway", _line(facts.pathway_title)),
        _row("Signed by", _who(facts.signed_by.name, facts.signed_by.role)),
        _row("Signed", _when(facts.signed_at, facts.time_zone)),
    ]


def _classifier_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    rows = [
        _row("Pathway", _line(facts.pathway_name), code=True),
        _row("Pathway digest", _grouped(facts.pathway_digest, 8), code=True),
    ]
    if facts.classifier_name:
        rows += [
            _row("Classifier", _line(facts.classifier_name), code=True),
            _row("Classifier version", _line(facts.classifier_version or "not stated")),
            _row("Classifier digest", _grouped(facts.classifier_digest or "not stated", 8), code=True),
        ]
    if facts.classifier_licence:
        rows.append(_row("Classifier licence", _line(facts.classifier_licence)))
    return [*rows, _row("Software", _line(f"Medhub {facts.software_version}"))]


def _summary(facts: ReportFacts) -> dict[str, Any]:
    images = facts.images
    said = Counter(UNCERTAIN if i.uncertain else i.classifier_label for i in images if i.classifier_label)
    verdicts = dict(verdict_counts(facts))
    labels = [*verdicts, *sorted(label for label in said if label is not None and label not in verdicts)]
    classified = [image for image in images if image.classifier_label]
    sure = [image for image in classified if not image.uncertain]
    return {
        "total": len(images),
        "rows": [
            {"label": _label(facts, label), "verdicts": verdicts.get(label, 0), "said": said.get(label, 0)}
            for label in labels
        ],
        "classified": len(classified),
        "sure": len(sure),
        "agree": sum(image.agrees for image in sure),
        "differ": sum(not image.agrees for image in sure),
        "uncertain": len(classified) - len(sure),
        "differ_numbers": [image.number for image in sure if not image.agrees],
        "uncertain_numbers": [image.number for image in classified if image.uncertain],
    }


def _image_values(index: int, image: ImageFinding, facts: ReportFacts) -> dict[str, Any]:
    note = cleaned(image.verdict_note or "")
    long = len(note) > LONG_NOTE or note.count("\n") >= LONG_NOTE_LINES
    ranked = sorted(image.probabilities.items(), key=lambda pair: (-pair[1], pair[0]))
    if not ranked and image.classifier_label and image.confidence is not None:
        ranked = [(image.classifier_label, image.confidence)]
    return {
        "index": index,
        "number": image.number,
        "size": f"{image.width} × {image.height} px",
        "digest": _grouped(image.image_digest[:32], 8),
        "evidence": image.evidence is not None,
        "label": _label(facts, image.classifier_label) if image.classifier_label else None,
        "confidence": image.confidence,
        "threshold": image.threshold,
        "uncertain": image.uncertain,
        "reason": _line(shorten(one_line(image.uncertain_reason), LONG_NOTE)) if image.uncertain_reason else None,
        "bars": [{"label": _label(facts, label), "value": value} for label, value in ranked],
        "verdict": _label(facts, image.verdict_label),
        "by": _who(image.verdict_by, image.verdict_role),
        "at": _when(image.verdict_at, facts.time_zone),
        "agrees": image.agrees,
        "note": _note(shorten(" ".join(note.split()), LONG_NOTE - 60) if long else note) if note else None,
        "long_note": _note(note) if long else None,
    }


def _notice(facts: ReportFacts) -> dict[str, Any]:
    readers: dict[tuple[str, str], int] = Counter((i.verdict_by, i.verdict_role) for i in facts.images)
    return {
        "classifier": facts.classifier_name and _line(f"{facts.classifier_name} {facts.classifier_version or ''}"),
        "readers": [
            {"who": _who(name, role), "images": count}
            for (name, role), count in sorted(readers.items(), key=lambda item: (-item[1], item[0]))
        ],
        "signer": _who(facts.signed_by.name, facts.signed_by.role),
        "signed": _when(facts.signed_at, facts.time_zone),
    }


def _history(facts: ReportFacts) -> list[dict[str, Any]]:
    acts = list(facts.history)
    signed = any(act.by == facts.signed_by and _aware(act.at) == _aware(facts.signed_at) for act in acts)
    if not signed:
        acts.append(ReportEvent(facts.signed_at, facts.signed_by, "Signed the case"))
    return [
        {
            "at": _when(act.at, facts.time_zone),
            "who": isolated(_line(shorten(act.by.name, 120))),
            "role": _line(shorten(act.by.role, 60)),
            "what": _line(act.what),
        }
        for act in acts
    ]


def _line(text: str) -> str:
    return breakable(one_line(text))


def _who(name: str, role: str) -> str:
    return f"{isolated(_line(shorten(name, 120)))}, {_line(shorten(role, 60))}"


def _note(text: str) -> dict[str, Any]:
    printed = breakable(cleaned(text))
    return {"text": printed, "rtl": right_to_left(printed)}


def _label(facts: ReportFacts, label: str) -> str:
    return isolated(_line(shorten(one_line(facts.display_names.get(label, label)), 60)))


def _is_long(value: str) -> bool:
    return len(value) > LONG_FIELD or "\n" in value


def _field_row(label: str, value: str) -> dict[str, Any]:
    return _row(label, breakable(cleaned(value)))


def _row(label: str, printed: str, *, code: bool = False) -> dict[str, Any]:
    return {"label": _line(label), "text": printed, "rtl": right_to_left(printed), "code": code}


def _grouped(digest: str, size: int) -> str:
    digest = one_line(digest)
    return " ".join(digest[start : start + size] for start in range(0, len(digest), size))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _when(moment: datetime, zone: str) -> str:
    local = _aware(moment).astimezone(UTC if zone == "UTC" else ZoneInfo(zone))
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year}, {local:%H:%M} {local:%Z}"


def _day(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
