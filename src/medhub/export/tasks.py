# SPDX-License-Identifier: Apache-2.0
"""Building exports in the background: every image is looked at before anything is packed.

Both take a few seconds at a time and then ask for more, so that neither a large export holds up other jobs nor a
process that dies loses more than those seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from medhub import __version__
from medhub.audit.service import Act, record
from medhub.export import phi_check, selection, service, table
from medhub.export.events import ExportWanted
from medhub.export.models import Export, ExportFinding, ExportImage
from medhub.export.parquet_file import as_parquet
from medhub.export.selection import Facts
from medhub.export.table import ExportRow
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobNotFound
from medhub.foundation.database import in_turn
from medhub.foundation.events import announce
from medhub.foundation.isolation import DecoderFailed
from medhub.records import field_definitions, isolated_calls, vault
from medhub.records import service as records
from medhub.records.models import FieldDefinition, Image
from medhub.records.vault import VaultKeyDestroyed
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.dicomdir import directory_facts, write_dicomdir

BATCH_S = 5.0
# Whether writing in pictures is read.
READ_PIXELS = True
# The scanner reads no more of a multi-frame image each by itself; more time is given on a busy machine.
_MOST_FRAMES = 26
_LOOK_S_A_MEGAPIXEL = 10.0
_LONGEST_LOOK_S = 900.0
_NOTE_S = 1.0  # so often is what was found written down
_LOADED_AT_ONCE = 500
_CANNOT_BE_READ = "cannot be read whole"
# What these say is no value that could be the same elsewhere: each image is decided on by itself.
_OF_ONE_IMAGE = service.OF_ONE_IMAGE
_GIVEN_UP = "The server ended again and again while this export was made. Order it again."
_NOTHING_LEFT = "No image is left in it: all were taken out, or deleted since it was ordered."
_CHANGED = "An image is no longer what the last look saw. Order the export again."


def go_on(app: AppContext, export_id: str) -> None:
    """Look at the next images of an export, or pack it; done again after a kill, nothing is done twice."""
    until = time.monotonic() + BATCH_S
    with app.database.reading() as session:
        export = session.get(Export, export_id)
        state = export.state if export is not None else None
    try:
        if state in {"waiting", "looking"}:
            _look_at_next(app, export_id, until)
        elif state == "packing":
            _pack(app, export_id, until)
    except (service.ExportNotReady, _Broken) as failure:
        _fail(app, export_id, str(failure))
    except OSError as error:
        _fail(app, export_id, f"The export could not be written: {error.strerror or type(error).__name__}.")


def give_up(app: AppContext, export_id: str) -> None:
    """Note that an export failed again and again."""
    _fail(app, export_id, _GIVEN_UP)


def forget_patient(app: AppContext, patient_id: str) -> None:
    """Destroy every export that is held and has images of a patient who was erased; others forget the patient."""
    with app.database.reading() as session:
        chosen = select(ExportImage.export_id).where(
            ExportImage.patient_id == patient_id, ExportImage.excluded.is_(False)
        )
        held_by = list(session.scalars(chosen.distinct()))
    for export_id in held_by:
        _end(app, export_id, "erased", service.ERASED)
    with app.database.writing() as session:
        session.execute(delete(ExportImage).where(ExportImage.patient_id == patient_id))


def destroy_expired(app: AppContext) -> int:
    """Destroy exports whose time is over, and files that no export owns any more."""
    with app.database.reading() as session:
        expired = session.scalars(
            select(Export.id).where(Export.state == "ready", Export.expires_at < clock.now())
        ).all()
        held = set(session.scalars(select(Export.id).where(Export.state.in_(service.HELD))))
    for export_id in expired:
        _end(app, export_id, "expired", None)
    for path in app.settings.exports_folder.glob("*.zip*"):
        if path.name.partition(".")[0] not in held:
            path.unlink(missing_ok=True)
    return len(expired)


class _Broken(Exception):
    """The export cannot be made, and why."""


@dataclass(frozen=True)
class _Order:
    """An export with what is needed to build it."""

    export: Export
    rows: list[ExportImage]
    facts: Mapping[str, Facts]
    definitions: Sequence[FieldDefinition]

    def row_of(self, one: ExportImage) -> ExportRow:
        """What leaves of an image beside its file."""
        facts = self.facts[one.image_id or ""]
        return table.row_of(facts, file=one.file, label=one.label, part=one.part, definitions=self.definitions)

    @property
    def there(self) -> list[ExportImage]:
        """The images that were not deleted since."""
        return [one for one in self.rows if one.image_id in self.facts]


def _load(session: Session, export_id: str, *, unlooked: int | None = None) -> _Order:
    """An export with the images that leave, or with the next few that were not looked at yet."""
    export = session.get_one(Export, export_id)
    chosen = select(ExportImage).where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False))
    if unlooked is not None:
        chosen = chosen.where(ExportImage.looked.is_(False), ExportImage.image_id.is_not(None)).limit(unlooked)
    rows = list(session.scalars(chosen.order_by(ExportImage.number)))
    facts = selection.facts_of(session, [one.image_id for one in rows if one.image_id is not None])
    defined = [
        definition
        for subject in ("patient", "study")
        for definition in field_definitions.of_projects(session, [export.project_id], subject)
    ]
    return _Order(export, rows, facts, defined)


# The last look.


@dataclass(frozen=True)
class _Seen:
    """What was found in one image."""

    number: int
    patient_id: str
    findings: list[tuple[str, str, str]]
    content: str | None
    study_date: str | None


def _look_at_next(app: AppContext, export_id: str, until: float) -> None:
    with app.database.reading() as session:
        order = _load(session, export_id, unlooked=_LOADED_AT_ONCE)
        # From here to the end of these seconds identities are in memory, and nowhere else.
        known = records.known_identities(session, app.keys, _people(session, export_id))
    if order.export.state == "waiting":
        _begin(app, export_id, len(known))
    words = {word: patient_id for patient_id, values in known.items() for word in phi_check.words_of(values)}
    seen: list[_Seen] = []
    told = time.monotonic()
    for one in order.there:
        seen.append(_examine(app, order, one, known.get(one.patient_id, []), words))
        if time.monotonic() > told + _NOTE_S:
            _note(app, export_id, seen)
            seen, told = [], time.monotonic()
        if time.monotonic() > until:
            break
    _note(app, export_id, seen)
    with app.database.writing() as session:
        in_turn(session, f"export {export_id}")
        export = session.get(Export, export_id)
        if export is None or export.state != "looking":
            return
        if _load(session, export_id, unlooked=1).there:
            announce(session, ExportWanted(export_id=export_id))
            return
        _measure(session, export, _load(session, export_id))
        _settle(session, export)


def _people(session: Session, export_id: str) -> list[str]:
    """The patients in an export."""
    chosen = select(ExportImage.patient_id).where(ExportImage.export_id == export_id, ExportImage.excluded.is_(False))
    return sorted(session.scalars(chosen.distinct()))


def _begin(app: AppContext, export_id: str, identities: int) -> None:
    with app.database.writing() as session:
        in_turn(session, f"export {export_id}")
        export = session.get_one(Export, export_id)
        if export.state == "waiting":
            export.state = "looking"
            _record(session, "export.look", export, identities=identities)


def _examine(app: AppContext, order: _Order, one: ExportImage, own: list[str], words: Mapping[str, str]) -> _Seen:
    try:
        data = _file(app, order, one)
        image = order.facts[one.image_id or ""].image
        told = app.isolation.run_within(
            _time_for(app, image), phi_check.look, one.file or "", data, order.row_of(one).written, own, READ_PIXELS
        )
        findings = [(str(place), str(kind), str(excerpt)) for place, kind, excerpt in told["findings"]]
        strangers = [word for word in told["words"] if words.get(word, one.patient_id) != one.patient_id]
        findings += [("text of the file", phi_check.OF_ANOTHER, word) for word in strangers]
        date = told["study_date"] if order.export.form == "dicom" else None
        content = hashlib.sha256(data).hexdigest() if data else None
    except (Unacceptable, DecoderFailed, BlobNotFound) as error:
        # What cannot be read cannot be cleared by anybody but a person.
        return _Seen(one.number, one.patient_id, [("the file", _CANNOT_BE_READ, error.message)], None, None)
    return _Seen(one.number, one.patient_id, findings, content, str(date) if date else None)


def _time_for(app: AppContext, image: Image) -> float:
    """How long an image may be looked at: reading what is written in it takes about a second a million pixels."""
    megapixels = max(1.0, image.width * image.height / 1e6) * min(image.frames, _MOST_FRAMES)
    return min(_LONGEST_LOOK_S, app.settings.decoder_timeout_s + _LOOK_S_A_MEGAPIXEL * megapixels)


def _file(app: AppContext, order: _Order, one: ExportImage) -> bytes:
    """The bytes of an image as they leave."""
    blob = order.facts[one.image_id or ""].image.blob
    if order.export.form == "metadata":
        return b""
    if order.export.form == "dicom":
        return app.blobs.get(blob)
    buffer = io.BytesIO()
    picture = Picture.fromarray(isolated_calls.frame(app, blob))
    if order.export.picture == "png":
        picture.save(buffer, "PNG", compress_level=4)
    else:
        picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _note(app: AppContext, export_id: str, seen: Sequence[_Seen]) -> None:
    """Write down what was found; its values sealed, each under the key of the patient in whose image it was."""
    if not seen:
        return
    with app.database.writing() as session:
        in_turn(session, f"export {export_id}")
        export = session.get(Export, export_id)
        if export is None or export.state != "looking":
            return
        for one in seen:
            changed = session.execute(
                update(ExportImage)
                .where(
                    ExportImage.export_id == export_id, ExportImage.number == one.number, ExportImage.looked.is_(False)
                )
                .values(looked=True, content=one.content, study_date=one.study_date)
                .returning(ExportImage.number)
            )
            if changed.one_or_none() is None:  # another runner was first
                continue
            export.looked += 1
            with suppress(VaultKeyDestroyed):  # erased meanwhile: the export is about to be destroyed
                rows = [_finding(session, app, export_id, one, *found) for found in one.findings]
                if rows:
                    session.execute(insert(ExportFinding), rows)


def _finding(
    session: Session, app: AppContext, export_id: str, seen: _Seen, place: str, kind: str, excerpt: str
) -> dict[str, Any]:
    finding_id = ids.new_id()
    sealed = vault.seal_for(session, app.keys, seen.patient_id, excerpt.encode(), service.sealing(finding_id))
    return {
        "id": finding_id,
        "export_id": export_id,
        "number": seen.number,
        "patient_id": seen.patient_id,
        "place": place[:300],
        "kind": kind[:60],
        "mark": _mark(app, export_id, excerpt, seen.number if kind.startswith(_OF_ONE_IMAGE) else 0),
        "sealed_excerpt": sealed,
        "state": "open",
    }


def _mark(app: AppContext, export_id: str, excerpt: str, number: int = 0) -> str:
    """A keyed hash by which the same value is recognized, whatever it was taken for and wherever it stands."""
    return app.keys.fingerprint("export-findings", f"{export_id} {number} {excerpt.casefold()}".encode())


def _measure(session: Session, export: Export, order: _Order) -> None:
    """Count among how many people each hides by what leaves of them."""
    rows = [(one.patient_id, order.row_of(one), one.study_date) for one in order.there]
    export.anonymity = table.figures(*table.anonymity(rows, order.definitions)) if rows else None


def _settle(session: Session, export: Export) -> None:
    """Pack an export in which nothing was found, and have a person decide on the others."""
    waiting = service.counts_of(session, [export.id])[export.id].open
    if waiting:
        export.state = "blocked"
        _record(session, "export.block", export, findings=waiting)
    else:
        export.state = "packing"
        announce(session, ExportWanted(export_id=export.id))


# Packing.


def _pack(app: AppContext, export_id: str, until: float) -> None:
    with app.database.reading() as session:
        order = _load(session, export_id)
        people = sorted({one.patient_id for one in order.there})
    if not order.there:
        raise _Broken(_NOTHING_LEFT)
    app.settings.exports_folder.mkdir(exist_ok=True, mode=0o700)
    with _alone(app, export_id) as alone:
        if alone:
            _pack_alone(app, export_id, order, people, until)


@contextmanager
def _alone(app: AppContext, export_id: str) -> Iterator[bool]:
    """Whether nobody else packs this export now: a job whose runner stood still may be run by a second one."""
    with service.file_of(app.settings, export_id).with_suffix(".zip.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _pack_alone(app: AppContext, export_id: str, order: _Order, people: list[str], until: float) -> None:
    path = service.file_of(app.settings, export_id).with_suffix(".zip.part")
    if not _add_files(app, order, path, until):
        with app.database.writing() as session:
            announce(session, ExportWanted(export_id=export_id))
        return
    described = _described(app, order)
    with app.database.writing() as session:
        in_turn(session, f"export {export_id}")
        export = session.get_one(Export, export_id)
        if export.state != "packing":
            return
        if service.lacks_patients(session, export_id):  # the job that destroys it is on its way
            return
        if _name_somebody(session, app, export, described, people):
            _settle(session, export)
            return
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in described.items():
            archive.writestr(_entry(name, zipfile.ZIP_DEFLATED), data)
    with path.open("rb") as file:
        digest, size = hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    with app.database.writing() as session:
        in_turn(session, f"export {export_id}")
        export = session.get_one(Export, export_id)
        if export.state != "packing":
            path.unlink(missing_ok=True)
            return
        path.rename(service.file_of(app.settings, export_id))
        path.with_suffix(".lock").unlink(missing_ok=True)
        _measure(session, export, order)
        export.state, export.size_bytes, export.digest = "ready", size, digest
        export.images, export.patients = len(order.there), len(people)
        export.finished_at = clock.now()
        export.expires_at = service.expiry(app.settings, export.finished_at)
        _record(session, "export.ready", export, images=export.images, digest=digest)


def _entry(name: str, method: int) -> zipfile.ZipInfo:
    """An entry that says nothing of when or by whom it was packed."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = method
    entry.external_attr = 0o644 << 16
    return entry


def _add_files(app: AppContext, order: _Order, path: Path, until: float) -> bool:
    """Add files that are not packed yet, for a few seconds; whether all are there now."""
    wanted = {one.file: one for one in order.there if one.file is not None}
    try:
        with zipfile.ZipFile(path) as archive:
            packed = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):  # there is none, or a process died while it wrote
        packed = set()
    if not packed or packed - wanted.keys():
        path.unlink(missing_ok=True)
        packed = set()
    with zipfile.ZipFile(path, "a") as archive:
        for name, one in wanted.items():
            if name in packed:
                continue
            data = _file(app, order, one)
            if hashlib.sha256(data).hexdigest() != one.content:
                raise _Broken(_CHANGED)
            method = zipfile.ZIP_DEFLATED if order.export.form == "dicom" else zipfile.ZIP_STORED
            archive.writestr(_entry(name, method), data, compresslevel=1)
            if time.monotonic() > until:
                break
        return wanted.keys() <= set(archive.namelist())


def _described(app: AppContext, order: _Order) -> dict[str, bytes]:
    """The files that describe the others."""
    rows = [order.row_of(one) for one in order.there]
    columns = (*table.OWN_COLUMNS, *(table.field_column(one) for one in order.definitions))
    about = {
        "medhub": __version__,
        "form": order.export.form,
        "fields": [
            {"column": table.field_column(one), "label": one.label, "kind": one.kind, "unit": one.unit}
            for one in order.definitions
        ],
    }
    described = {
        "metadata.csv": table.as_csv(rows, columns),
        "metadata.json": table.as_json(about, rows),
        "metadata.parquet": app.isolation.run(
            as_parquet, table.typed(columns, order.definitions), table.as_values(rows, columns)
        ),
    }
    if order.export.form == "training":
        described["labels.csv"] = table.listing(rows)
    if order.export.form == "dicom":
        entries = [(one.file or "", app.isolation.run(directory_facts, _file(app, order, one))) for one in order.there]
        digest = app.keys.fingerprint("export-uids", order.export.id.encode())
        described["DICOMDIR"] = write_dicomdir(entries, f"2.25.{int(digest[:32], 16)}")
    return described


def _name_somebody(
    session: Session, app: AppContext, export: Export, described: Mapping[str, bytes], people: Sequence[str]
) -> bool:
    """Whether what describes the whole names a known person, other than as a person has cleared it.

    Each value in it was looked at before, image by image; so here only identities are searched for.
    """
    identities = records.known_identities(session, app.keys, people)
    words = set().union(*(phi_check.words_of(values) for values in identities.values()))
    chosen = select(ExportFinding.mark).where(ExportFinding.export_id == export.id, ExportFinding.state == "cleared")
    cleared = set(session.scalars(chosen.distinct()))
    rows = []
    for name, data in described.items():
        for word in sorted(phi_check.search(data, words)):
            mark = _mark(app, export.id, word)
            if mark not in cleared:
                described_by = {"id": ids.new_id(), "export_id": export.id, "place": name, "kind": phi_check.KNOWN}
                rows.append({**described_by, "mark": mark, "state": "open"})
    if rows:
        session.execute(insert(ExportFinding), rows)
    return bool(rows)


def _record(session: Session, action: str, export: Export, **detail: Any) -> None:
    record(session, Act(action, "export", export.id, project_id=export.project_id, detail=detail))


def _fail(app: AppContext, export_id: str, why: str) -> None:
    _end(app, export_id, "failed", why)


def _end(app: AppContext, export_id: str, state: str, why: str | None) -> None:
    with app.database.writing() as session:
        in_turn(session, f"export {export_id}")
        export = session.get(Export, export_id)
        if export is not None and export.state in service.HELD:
            service.end(session, app, export, state, why)
            _record(session, f"export.{state}", export)
