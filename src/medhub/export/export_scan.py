# SPDX-License-Identifier: Apache-2.0
"""The PHI scan of an export's images, a few seconds at a time; findings are stored sealed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from medhub.export import phi_check
from medhub.export.events import ExportStepDue
from medhub.export.export_contents import ExportContents, load_contents, store_anonymity
from medhub.export.export_findings import SINGLE_IMAGE_KINDS, excerpt_context, fingerprint_value
from medhub.export.lifecycle import block_or_pack, record_step
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.foundation import ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobNotFound
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.foundation.isolation import DecoderFailed
from medhub.records import service as records
from medhub.records import vault
from medhub.records.models import Image
from medhub.records.vault import VaultKeyDestroyed
from medhub.science.imaging.decoding_limits import Unacceptable

# Whether the scan reads text in pixels (OCR); tests of other steps switch it off.
READ_PIXELS = True
# The scanner reads at most this many frames of an image; more time is allowed on a busy machine.
_MAX_FRAMES = 26
_TIMEOUT_S_PER_MEGAPIXEL = 10.0
_MAX_TIMEOUT_S = 900.0
_SAVE_INTERVAL_S = 1.0
_IMAGES_PER_QUERY = 500
_UNREADABLE = "cannot be read whole"


@dataclass(frozen=True)
class _ImageScan:
    """The result of one image's scan."""

    number: int
    patient_id: str
    findings: list[tuple[str, str, str]]
    content: str | None
    study_date: str | None


def scan_next_images(app: AppContext, export_id: str, deadline: float) -> None:
    """Scan images until the deadline; after the last one, block the export or start packing it."""
    with app.database.reading() as session:
        contents = load_contents(session, export_id, unscanned_limit=_IMAGES_PER_QUERY)
        # Identities are in memory from here to the end of this step, and are written nowhere.
        identities = records.identity_texts(session, app.keys, _patient_ids(session, export_id))
    if contents.export.state == "waiting":
        _start_scan(app, export_id, len(identities))
    words = {word: patient_id for patient_id, values in identities.items() for word in phi_check.identity_words(values)}
    scans: list[_ImageScan] = []
    last_saved = time.monotonic()
    for row in contents.existing_rows:
        scans.append(_scan_image(app, contents, row, identities.get(row.patient_id, []), words))
        if time.monotonic() > last_saved + _SAVE_INTERVAL_S:
            _save_scans(app, export_id, scans)
            scans, last_saved = [], time.monotonic()
        if time.monotonic() > deadline:
            break
    _save_scans(app, export_id, scans)
    with app.database.writing() as session:
        serialize_writers(session, f"export {export_id}")
        export = session.get(Export, export_id)
        if export is None or export.state != "looking":
            return
        if load_contents(session, export_id, unscanned_limit=1).existing_rows:
            publish(session, ExportStepDue(export_id=export_id))
            return
        store_anonymity(export, load_contents(session, export_id))
        block_or_pack(session, export)


def _patient_ids(session: Session, export_id: str) -> list[str]:
    """The patients with images in an export."""
    query = select(ExportImage.patient_id).where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False))
    return sorted(session.scalars(query.distinct()))


def _start_scan(app: AppContext, export_id: str, identities: int) -> None:
    with app.database.writing() as session:
        serialize_writers(session, f"export {export_id}")
        export = session.get_one(Export, export_id)
        if export.state == "waiting":
            export.state = "looking"
            record_step(session, "export.look", export, identities=identities)


def _scan_image(
    app: AppContext, contents: ExportContents, row: ExportImage, own: list[str], words: Mapping[str, str]
) -> _ImageScan:
    try:
        data = contents.read_file(app, row)
        result = app.isolation.run_within(
            _scan_timeout_s(app, contents.records_of(row).image),
            phi_check.scan_image,
            row.file or "",
            data,
            contents.build_row(row).free_text,
            own,
            READ_PIXELS and contents.format.has_pixels,
        )
        findings = [(str(location), str(kind), str(excerpt)) for location, kind, excerpt in result["findings"]]
        other_names = [word for word in result["words"] if words.get(word, row.patient_id) != row.patient_id]
        findings += [("text of the file", phi_check.OTHER_IDENTITY, word) for word in other_names]
        date = result["study_date"] if contents.format.has_dicom_headers else None
        content = hashlib.sha256(data).hexdigest() if data else None
    except (Unacceptable, DecoderFailed, BlobNotFound) as error:
        # Only a person can decide on a file that cannot be read.
        return _ImageScan(row.number, row.patient_id, [("the file", _UNREADABLE, error.message)], None, None)
    return _ImageScan(row.number, row.patient_id, findings, content, str(date) if date else None)


def _scan_timeout_s(app: AppContext, image: Image) -> float:
    """The time limit for one image: OCR takes about a second per megapixel."""
    megapixels = max(1.0, image.width * image.height / 1e6) * min(image.frames, _MAX_FRAMES)
    return min(_MAX_TIMEOUT_S, app.settings.decoder_timeout_s + _TIMEOUT_S_PER_MEGAPIXEL * megapixels)


def _save_scans(app: AppContext, export_id: str, scans: Sequence[_ImageScan]) -> None:
    """Store the results; each excerpt is sealed under the key of the image's patient."""
    if not scans:
        return
    with app.database.writing() as session:
        serialize_writers(session, f"export {export_id}")
        export = session.get(Export, export_id)
        if export is None or export.state != "looking":
            return
        for scan in scans:
            changed = session.execute(
                update(ExportImage)
                .where(
                    ExportImage.export_id == export_id,
                    ExportImage.number == scan.number,
                    ExportImage.scanned.is_(False),
                )
                .values(scanned=True, content=scan.content, study_date=scan.study_date)
                .returning(ExportImage.number)
            )
            if changed.one_or_none() is None:  # another runner saved this image first
                continue
            export.scanned += 1
            with suppress(VaultKeyDestroyed):  # the patient was erased meanwhile: a job destroys this export
                rows = [_build_finding(session, app, export_id, scan, *finding) for finding in scan.findings]
                if rows:
                    session.execute(insert(ExportFinding), rows)


def _build_finding(
    session: Session, app: AppContext, export_id: str, scan: _ImageScan, location: str, kind: str, excerpt: str
) -> dict[str, Any]:
    finding_id = ids.new_id()
    sealed = vault.seal_for(session, app.keys, scan.patient_id, excerpt.encode(), excerpt_context(finding_id))
    return {
        "id": finding_id,
        "export_id": export_id,
        "number": scan.number,
        "patient_id": scan.patient_id,
        "location": location[:300],
        "kind": kind[:60],
        "mark": fingerprint_value(app, export_id, excerpt, scan.number if kind.startswith(SINGLE_IMAGE_KINDS) else 0),
        "sealed_excerpt": sealed,
        "state": "open",
    }
