# SPDX-License-Identifier: Apache-2.0
"""Packing an export into its ZIP, a few seconds at a time."""

from __future__ import annotations

import fcntl
import hashlib
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from medhub import __version__
from medhub.errors import Conflict
from medhub.export import metadata_table, phi_check
from medhub.export.events import ExportStepDue
from medhub.export.export_contents import ExportContents, load_contents, store_anonymity
from medhub.export.export_findings import fingerprint_value
from medhub.export.lifecycle import block_or_pack, expiry_time, export_path, has_erased_patients, record_step
from medhub.export.models import Export, ExportFinding
from medhub.export.parquet_file import write_parquet
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.records import service as records

EMPTY_MESSAGE = "No image is left in it: all were excluded, or deleted since the order."
CHANGED_MESSAGE = "An image has changed since the PHI scan. Order the export again."


class ExportImpossible(Conflict):
    """The export cannot be packed; the message says why."""

    code = "export-impossible"


def pack_export(app: AppContext, export_id: str, deadline: float) -> None:
    """Add files to the ZIP until the deadline; with the last one, scan the index files and close the ZIP."""
    with app.database.reading() as session:
        contents = load_contents(session, export_id)
        patient_ids = sorted({row.patient_id for row in contents.existing_rows})
    if not contents.existing_rows:
        raise ExportImpossible(EMPTY_MESSAGE)
    app.settings.exports_folder.mkdir(exist_ok=True, mode=0o700)
    with _try_lock(app, export_id) as locked:
        if locked:
            _pack_locked(app, export_id, contents, patient_ids, deadline)


@contextmanager
def _try_lock(app: AppContext, export_id: str) -> Iterator[bool]:
    """Yield whether this process may pack the export: a second runner may have taken over a stalled job."""
    with export_path(app.settings, export_id).with_suffix(".zip.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _pack_locked(
    app: AppContext, export_id: str, contents: ExportContents, patient_ids: list[str], deadline: float
) -> None:
    path = export_path(app.settings, export_id).with_suffix(".zip.part")
    if not _add_image_files(app, contents, path, deadline):
        with app.database.writing() as session:
            publish(session, ExportStepDue(export_id=export_id))
        return
    index_files = _write_index_files(app, contents)
    with app.database.writing() as session:
        serialize_writers(session, f"export {export_id}")
        export = session.get_one(Export, export_id)
        if export.state != "packing":
            return
        if has_erased_patients(session, export_id):  # a job is about to destroy this export
            return
        if _add_identity_findings(session, app, export, index_files, patient_ids):
            block_or_pack(session, export)
            return
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in index_files.items():
            archive.writestr(_create_entry(name, zipfile.ZIP_DEFLATED), data)
    with path.open("rb") as file:
        digest, size = hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    with app.database.writing() as session:
        serialize_writers(session, f"export {export_id}")
        export = session.get_one(Export, export_id)
        if export.state != "packing":
            path.unlink(missing_ok=True)
            return
        path.rename(export_path(app.settings, export_id))
        path.with_suffix(".lock").unlink(missing_ok=True)
        store_anonymity(export, contents)
        export.state, export.size_bytes, export.digest = "ready", size, digest
        export.images, export.patients = len(contents.existing_rows), len(patient_ids)
        export.finished_at = clock.now()
        export.expires_at = expiry_time(app.settings, export.finished_at)
        record_step(session, "export.ready", export, images=export.images, digest=digest)


def _create_entry(name: str, method: int) -> zipfile.ZipInfo:
    """A ZIP entry without the time and the user of its packing."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = method
    entry.external_attr = 0o644 << 16
    return entry


def _add_image_files(app: AppContext, contents: ExportContents, path: Path, deadline: float) -> bool:
    """Add the files that are not in the ZIP yet, until the deadline; return whether all are in it."""
    rows = {row.file: row for row in contents.existing_rows if row.file is not None}
    try:
        with zipfile.ZipFile(path) as archive:
            packed = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):  # there is none, or a process ended while it wrote
        packed = set()
    if not packed or packed - rows.keys():
        path.unlink(missing_ok=True)
        packed = set()
    method = zipfile.ZIP_DEFLATED if contents.format.compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "a") as archive:
        for name, row in rows.items():
            if name in packed:
                continue
            data = contents.read_file(app, row)
            if hashlib.sha256(data).hexdigest() != row.content:
                raise ExportImpossible(CHANGED_MESSAGE)
            archive.writestr(_create_entry(name, method), data, compresslevel=1)
            if time.monotonic() > deadline:
                break
        return rows.keys() <= set(archive.namelist())


def _write_index_files(app: AppContext, contents: ExportContents) -> dict[str, bytes]:
    """The files that describe all images: the metadata tables, and those of the format."""
    images = contents.packed_images()
    rows = [image.row for image in images]
    columns = (*metadata_table.FIXED_COLUMNS, *map(metadata_table.field_column, contents.definitions))
    header = {
        "medhub": __version__,
        "form": contents.export.form,
        "fields": [
            {
                "column": metadata_table.field_column(definition),
                "label": definition.label,
                "kind": definition.kind,
                "unit": definition.unit,
            }
            for definition in contents.definitions
        ],
    }
    return {
        "metadata.csv": metadata_table.write_csv(rows, columns),
        "metadata.json": metadata_table.write_json(header, rows),
        "metadata.parquet": app.isolation.run(
            write_parquet,
            metadata_table.column_types(columns, contents.definitions),
            metadata_table.write_values(rows, columns),
        ),
        **contents.format.write_index_files(app, contents.export.id, images, contents.export.picture),
    }


def _add_identity_findings(
    session: Session, app: AppContext, export: Export, index_files: Mapping[str, bytes], patient_ids: Sequence[str]
) -> bool:
    """Add a finding for each known identity in the index files that no person has cleared; return if there is one.

    The scan of each image has examined every value in them, so that only identities are left to search for.
    """
    identities = records.identity_texts(session, app.keys, patient_ids)
    words = set().union(*map(phi_check.identity_words, identities.values()))
    query = select(ExportFinding.mark).where(ExportFinding.export_id == export.id, ExportFinding.state == "cleared")
    cleared = set(session.scalars(query.distinct()))
    rows = []
    for name, data in index_files.items():
        for word in sorted(phi_check.find_words(data, words)):
            mark = fingerprint_value(app, export.id, word)
            if mark not in cleared:
                rows.append(
                    {
                        "id": ids.new_id(),
                        "export_id": export.id,
                        "location": name,
                        "kind": phi_check.KNOWN_IDENTITY,
                        "mark": mark,
                        "state": "open",
                    }
                )
    if rows:
        session.execute(insert(ExportFinding), rows)
    return bool(rows)
