# SPDX-License-Identifier: Apache-2.0
"""Making versions of data sets, from signed verdicts or from an uploaded ZIP, and finding them again."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.database import serialize_writers
from medhub.foundation.isolation import DecoderFailed
from medhub.foundation.settings import Settings
from medhub.foundation.sorting import sort_clause
from medhub.records.models import Image, Patient
from medhub.records.pathway import get_pathway
from medhub.review.models import Case, Verdict
from medhub.science.arrivals.transient_decoding import decode_without_writing
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.training import dataset_contents
from medhub.training.dataset_contents import Entry
from medhub.training.labeled_zip import LabeledZipLimits, read_archive
from medhub.training.models import DataSet, DataSetRow

# One ZIP at a time: each lies in memory, and the decoding processes are there for uploads of patients too.
_zip_lock = threading.Lock()


class DataSetNotFound(NotFound):
    """There is no such data set, or not in a project of the asker's."""

    code = "dataset-not-found"


LONGEST_NAME = 100


class ZipBusy(Conflict):
    """Another ZIP is being read."""

    code = "zip-busy"


def check_name(name: str) -> str:
    """Refuse a name that is empty, too long or not printable."""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(f"Give the data set a name of at most {LONGEST_NAME} characters.", field="name")
    return name


def pictures_of(settings: Settings) -> BlobStore:
    """Where the pictures of uploaded data sets lie; those of patients lie with the patients."""
    return BlobStore(settings.data / "datasets")


def make_from_verdicts(
    session: Session, app: AppContext, actor: Actor, *, project_id: str, pathway: str, name: str | None
) -> DataSet:
    """Make a version of what was signed in a project along a pathway, as it stands now."""
    actor.require("dataset.create", project_id, "project")
    definition = get_pathway(app.settings, pathway)
    counted = set(definition.labels) - set(definition.not_counted)
    left_out: Counter[str] = Counter()
    entries = []
    for verdict, case, image in session.execute(_select_verdicts(project_id, definition.name)):
        if case.signed_at is None:
            left_out["under correction"] += 1
        elif verdict.label not in counted:
            left_out["not counted" if verdict.label in definition.not_counted else "unknown label"] += 1
        elif image.state == "unreadable":
            left_out["unreadable"] += 1
        else:
            entries.append(
                Entry(
                    content=image.blob,
                    group=image.patient_id,
                    label=verdict.label,
                    image_id=image.id,
                    patient_id=image.patient_id,
                    case_id=case.id,
                    case_version=case.version,
                    labeled_by=verdict.by,
                    labeled_at=verdict.at,
                )
            )
    dataset = _write_version(
        session, app, actor, project_id, name or definition.name, "verdicts", definition.name, entries, left_out
    )
    actor.record(session, "dataset.create", "dataset", dataset.id, project_id=project_id, images=dataset.images)
    return dataset


def _select_verdicts(project_id: str, pathway: str) -> Any:
    """The verdicts of signed cases, and of those under correction, which are left out and counted."""
    return (
        select(Verdict, Case, Image)
        .join(Case, Case.id == Verdict.case_id)
        .join(Image, Image.id == Verdict.image_id)
        .where(Case.project_id == project_id, Case.pathway == pathway, Case.superseded.is_(False))
        .where(Case.signed_at.is_not(None) | Case.supersedes_id.is_not(None))
        .order_by(Image.id)
    )


def make_from_zip(app: AppContext, actor: Actor, *, project_id: str, name: str, data: bytes) -> str:
    """Make a version of the labeled images in a ZIP; only their pixels are kept. Returns the id."""
    actor.require("dataset.create", project_id, "project")
    if not _zip_lock.acquire(blocking=False):
        raise ZipBusy("Another ZIP is being read. Try again when it is done; nothing was stored.")
    store = pictures_of(app.settings)
    new: list[str] = []
    try:
        entries, left_out = _read_labeled_images(app, store, project_id, data, new)
        with app.database.writing() as session:
            dataset = _write_version(session, app, actor, project_id, name, "uploaded", None, entries, left_out)
            actor.record(session, "dataset.create", "dataset", dataset.id, project_id=project_id, images=dataset.images)
            return dataset.id
    except BaseException:
        for digest in new:
            store.delete(digest)
        raise
    finally:
        _zip_lock.release()


def _read_labeled_images(
    app: AppContext, store: BlobStore, project_id: str, data: bytes, new: list[str]
) -> tuple[list[Entry], Counter[str]]:
    settings = app.settings
    limits = LabeledZipLimits(max_file_bytes=settings.upload_max_bytes)
    decoding = DecodingLimits(max_bytes=settings.upload_max_bytes, max_pixels=settings.upload_max_pixels)
    left_out: Counter[str] = Counter()
    entries: dict[str, Entry] = {}
    disputed: set[str] = set()
    reading = app.reading or app.isolation
    documents: Counter[str] = Counter()
    for file in read_archive(data, limits, documents):
        try:
            pixels = reading.run(decode_without_writing, file.data, decoding)
        except (Unacceptable, DecoderFailed) as refusal:
            writing = refusal.facts.get("reason") == "writing"
            left_out["with writing that a person must see" if writing else "unreadable"] += 1
            continue
        content = _store_pixels(store, pixels, new)
        group = app.keys.fingerprint("dataset-groups", f"{project_id}:{file.group or content}".encode())[:32]
        known = entries.get(content)
        if known is None:
            entries[content] = Entry(content=content, group=group, label=file.label, part=file.part)
        elif known.label == file.label:
            left_out["the same picture again"] += 1
        else:
            disputed.add(content)
            left_out["the same picture under another label"] += 1
    left_out["the same picture under another label"] += len(disputed)
    for kind, count in documents.items():
        left_out[f"not images ({kind})"] += count
    return [entry for content, entry in entries.items() if content not in disputed], left_out


def _store_pixels(store: BlobStore, pixels: NDArray[np.uint8], new: list[str]) -> str:
    """Keep the pixels alone, and note what was not there before."""
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    if not store.has(digest):
        new.append(digest)
        store.put(data)
    return digest


def _write_version(
    session: Session,
    app: AppContext,
    actor: Actor,
    project_id: str,
    name: str,
    origin: str,
    pathway: str | None,
    entries: Sequence[Entry],
    left_out: Counter[str],
) -> DataSet:
    dataset_contents.check_labels(entry.label for entry in entries)
    key = app.keys.derive("splits")
    parts = [dataset_contents.part_of(key, entry) for entry in entries]
    lines = (
        entry.line(part, app.keys.fingerprint("dataset-groups", entry.group.encode()))
        for entry, part in zip(entries, parts, strict=True)
    )
    serialize_writers(session, f"data set {project_id} {name}")
    latest = select(func.max(DataSet.version)).where(DataSet.project_id == project_id, DataSet.name == name)
    dataset = DataSet(
        id=ids.new_id(),
        project_id=project_id,
        name=name,
        version=(session.scalar(latest) or 0) + 1,
        origin=origin,
        pathway=pathway,
        digest=dataset_contents.digest_of_rows(lines),
        images=len(entries),
        counts=dataset_contents.count_labels([entry.label for entry in entries], parts),
        left_out={reason: count for reason, count in sorted(left_out.items()) if count},
        created_at=clock.now(),
        created_by_id=actor.user_id,
        created_by=actor.name,
    )
    session.add(dataset)
    session.flush()
    rows = [
        {
            "dataset_id": dataset.id,
            "number": number,
            "image_id": entry.image_id,
            "patient_id": entry.patient_id,
            "content": entry.content if entry.image_id is None else None,
            "group_key": entry.group if entry.image_id is None else None,
            "label": entry.label,
            "part": part,
            "case_id": entry.case_id,
            "case_version": entry.case_version,
            "labeled_by": entry.labeled_by,
            "labeled_at": entry.labeled_at,
        }
        for number, (entry, part) in enumerate(zip(entries, parts, strict=True), 1)
    ]
    session.execute(insert(DataSetRow), rows)
    return dataset


def get_dataset(session: Session, actor: Actor, dataset_id: str, action: str = "dataset.read") -> DataSet:
    """A data set in a project of the actor's."""
    dataset = session.get(DataSet, dataset_id)
    if dataset is None:
        raise DataSetNotFound("There is no such data set, or not in a project of yours.")
    actor.require(action, dataset.project_id, "data set")
    return dataset


def list_datasets(
    session: Session,
    actor: Actor,
    *,
    project_id: str | None,
    query: str | None,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[DataSet], int]:
    """A page of the data sets in the actor's projects, the latest first."""
    statement = select(DataSet).where(DataSet.project_id.in_(actor.projects("dataset.read", project_id)))
    if query:
        statement = statement.where(func.lower(DataSet.name).contains(query.lower(), autoescape=True))
    columns = {"created_at": DataSet.created_at, "name": DataSet.name, "images": DataSet.images}
    page = statement.order_by(sort_clause(sort, columns, "-created_at"), DataSet.id).offset(offset).limit(limit)
    datasets = list(session.scalars(page))
    return datasets, pagination.total_rows(session, statement, offset=offset, limit=limit, page_rows=len(datasets))


def count_erased(session: Session, dataset_ids: Sequence[str]) -> dict[str, int]:
    """How many rows of each data set are of patients who were erased since."""
    rows = session.execute(
        select(DataSetRow.dataset_id, func.count())
        .where(DataSetRow.dataset_id.in_(dataset_ids), DataSetRow.image_id.is_(None), DataSetRow.content.is_(None))
        .group_by(DataSetRow.dataset_id)
    )
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True)
class RowFacts:
    """A row with the code of its patient."""

    row: DataSetRow
    patient_code: str | None


def list_rows(session: Session, dataset: DataSet, *, offset: int, limit: int) -> list[RowFacts]:
    """A page of a data set's rows."""
    rows = session.execute(
        select(DataSetRow, Patient.code)
        .outerjoin(Patient, Patient.id == DataSetRow.patient_id)
        .where(DataSetRow.dataset_id == dataset.id)
        .order_by(DataSetRow.number)
        .offset(offset)
        .limit(limit)
    )
    return [RowFacts(row, code) for row, code in rows]


def all_rows(session: Session, dataset: DataSet) -> Iterator[RowFacts]:
    """All rows of a data set, read page by page."""
    offset = 0
    while page := list_rows(session, dataset, offset=offset, limit=1000):
        yield from page
        offset += len(page)


@dataclass(frozen=True)
class File:
    """An image of a data set as a training takes it: where its bytes lie, and what is known of it."""

    number: int
    blob: str  # of a patient's image: digest of its DICOM file; of an uploaded one: of its picture
    uploaded: bool
    label: str
    group: str
    part: str


def files_of(session: Session, dataset_id: str) -> list[File]:
    """The images of a data set that are still there."""
    rows = session.execute(
        select(DataSetRow, Image.blob)
        .outerjoin(Image, Image.id == DataSetRow.image_id)
        .where(DataSetRow.dataset_id == dataset_id)
        .order_by(DataSetRow.number)
    )
    files = []
    for row, blob in rows:
        if row.content is not None:
            files.append(File(row.number, row.content, True, row.label, row.group_key or row.content, row.part))
        elif blob is not None and row.patient_id is not None:
            files.append(File(row.number, blob, False, row.label, row.patient_id, row.part))
    return files
