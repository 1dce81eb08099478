# SPDX-License-Identifier: Apache-2.0
"""The ingest pipeline: every received file passes these steps, whatever its source.

1. ``identify_patients``: a patient-claim source finds the patient of each file.
2. ``find_duplicates``: a file that was stored before is answered.
3. ``clean_files``: an isolated process removes identifying values, in memory.
4. ``check_phi``: an isolated process looks for identifying text in the pixels and redacts it.
5. ``store_or_quarantine``: one transaction stores the accepted files of a batch, and one quarantines the refused ones.

Nothing is written before it is cleaned or sealed, and a file has a result only when its bytes and its row are durable.

Files are processed in batches, and each step opens its own transaction: the pipeline is the edge where transactions are
committed, as a route or a job is for other use cases. A failure of the database or the disk ends the batch with an
exception; the sender repeats it, and what was already stored is then a duplicate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.foundation.work_pools import check_wanted, keep_context
from medhub.ingest.arrival_log import add_duplicate, hash_instance
from medhub.ingest.context import IngestSource, build_cleaning_context, decoding_limits
from medhub.ingest.image_writer import store_images
from medhub.ingest.ingest_file import CleanedArrival, IngestFile, IngestResult, ReceivedFile
from medhub.ingest.models import Receipt
from medhub.ingest.patient_claims import CLAIM_SOURCES
from medhub.ingest.quarantine import quarantine_files
from medhub.ingest.refusals import ArrivalRefused, FileUndecodable, PhiReviewNeeded, too_large
from medhub.records import isolated_calls
from medhub.science.arrivals.burned_in_text import BurnedInText
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.deid.ocr import OcrUnavailable
from medhub.science.imaging.decoding_limits import Unacceptable

BATCH_FILES = 32
BATCH_BYTES = 16 * 1024**2


def ingest_files(
    app: AppContext, actor: Actor, source: IngestSource, files: Sequence[ReceivedFile]
) -> list[IngestResult]:
    """Ingest files; the list has the result of each, in their order.

    The caller has checked that the actor may bring files into the project of the source.
    """
    batches = list(_split_batches(files))
    # The files of a patient whom a user chose are numbered in their order.
    if len(batches) < 2 or source.context is not None:
        return [result for batch in batches for result in _ingest_batch(app, actor, source, batch)]
    # One thread more than isolated processes: while one batch is stored, all processes stay busy.
    with ThreadPoolExecutor(max_workers=app.settings.decoder_workers + 1) as pool:
        results = pool.map(keep_context(partial(_ingest_batch, app, actor, source)), batches)
        return [result for batch_results in results for result in batch_results]


def ingest_file(app: AppContext, actor: Actor, source: IngestSource, data: bytes) -> IngestResult:
    """Ingest one file."""
    (result,) = ingest_files(app, actor, source, [ReceivedFile.of(data)])
    return result


def _split_batches(files: Sequence[ReceivedFile]) -> Iterator[list[ReceivedFile]]:
    batch: list[ReceivedFile] = []
    size = 0
    for file in files:
        file_size = len(file.data or b"")
        if batch and (len(batch) >= BATCH_FILES or size + file_size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file_size
    if batch:
        yield batch


def _ingest_batch(
    app: AppContext, actor: Actor, source: IngestSource, received: Sequence[ReceivedFile]
) -> list[IngestResult]:
    check_wanted()
    files = [
        IngestFile(file.data or b"", file.size_bytes, file.name)
        if file.data is not None
        else IngestFile(b"", file.size_bytes, file.name, refusal=too_large(app, file.size_bytes))
        for file in received
    ]
    identify_patients(app, actor, source, files)
    find_duplicates(app, actor, source, files)
    clean_files(app, source, files)
    check_phi(app, files)
    return store_or_quarantine(app, actor, source, files)


def identify_patients(app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
    """Find the patient of each file by the patient-claim source that the ingest source names."""
    CLAIM_SOURCES[source.claim].identify(app, actor, source, files)


def find_duplicates(app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
    """Answer files that were stored before, byte for byte, even where they name another patient."""
    identified = [file for file in files if file.context is not None and file.result is None]
    if not identified:
        return
    for file in identified:
        file.received_hash = hash_received(app, source.project_id, file.data)
    with app.database.reading() as session:
        known = known_hashes(session, source.project_id, [file.received_hash for file in identified])
    if not known:
        return
    with app.database.writing() as session:
        for file in identified:
            receipt = session.get(Receipt, (source.project_id, file.received_hash))
            if receipt is not None and file.context is not None:
                file.result = add_duplicate(
                    session,
                    actor,
                    source,
                    file.context,
                    receipt.image_id,
                    file.size_bytes,
                    hash_instance(app.keys, source.project_id, file.sop_instance_uid),
                )


def hash_received(app: AppContext, project_id: str, data: bytes) -> str:
    """The keyed hash by which received bytes are recognized when they are sent again."""
    return app.keys.fingerprint("arrivals", project_id.encode() + hashlib.sha256(data).digest())


def known_hashes(session: Session, project_id: str, hashes: Sequence[str]) -> set[str]:
    """The hashes of files that were stored in a project before."""
    query = select(Receipt.received_hash).where(Receipt.project_id == project_id, Receipt.received_hash.in_(hashes))
    return set(session.scalars(query))


def clean_files(app: AppContext, source: IngestSource, files: Sequence[IngestFile]) -> None:
    """Remove identifying values from the headers, in an isolated process; the pixels stay as received."""
    files = [file for file in files if file.is_open]
    if not files:
        return
    _set_cleaning_contexts(app, source, files)
    contexts = [file.cleaning for file in files if file.cleaning is not None]
    try:
        images = isolated_calls.prepare_files(app, [file.data for file in files], contexts, decoding_limits(app))
    except DecoderFailed as failure:
        if len(files) == 1:
            files[0].refusal = FileUndecodable(failure)
            return
        # One by one, to find the file on which the decoder fails.
        for file in files:
            clean_files(app, source, [file])
        return
    for file, image in zip(files, images, strict=True):
        if isinstance(image, CleanedImage):
            file.image = image
        else:
            file.refusal = image


def _set_cleaning_contexts(app: AppContext, source: IngestSource, files: Sequence[IngestFile]) -> None:
    """Build the cleaning context of each file; files of the same patient share one object."""
    contexts: dict[int, CleaningContext] = {}
    for file in files:
        if file.cleaning is not None or file.context is None:
            continue
        key = id(file.context)
        if key not in contexts:
            with_thumbnail = source.route == "upload"  # thumbnails of other routes are rendered later
            contexts[key] = build_cleaning_context(app, file.context, with_thumbnail=with_thumbnail)
        file.cleaning = contexts[key]


def check_phi(app: AppContext, files: Sequence[IngestFile]) -> None:
    """Redact identifying text in the pixels, or only the boxes that a person drew; refuse what a person must review."""
    for file in files:
        if not file.is_open or file.image is None:
            continue
        try:
            file.text = _redact_text(app, file, file.image)
        except (Unacceptable, ArrivalRefused) as refusal:
            file.refusal = refusal
        except DecoderFailed as failure:
            file.refusal = FileUndecodable(failure)


def _redact_text(app: AppContext, file: IngestFile, image: CleanedImage) -> BurnedInText | None:
    boxes = file.release.boxes if file.release is not None else None
    if file.cleaning is None or (not image.unseen and boxes is None):
        return None
    try:
        text = isolated_calls.clean_pixels(app, file.data, image, file.cleaning, decoding_limits(app), boxes)
    except OcrUnavailable as missing:
        raise PhiReviewNeeded(f"Its pixels were not searched for text. {missing.message}") from missing
    if text.doubt:
        raise PhiReviewNeeded(text.doubt, text.boxes)
    return text


def store_or_quarantine(
    app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]
) -> list[IngestResult]:
    """Store the accepted files in one transaction and quarantine the refused ones in another."""
    store_accepted(app, actor, source, files)
    refused = [file for file in files if file.result is None]
    for file, result in zip(refused, quarantine_files(app, actor, source, refused), strict=True):
        file.result = result
    return [
        replace(file.result, identifiers=file.identifiers or PatientIdentifiers())
        for file in files
        if file.result is not None
    ]


def store_accepted(app: AppContext, actor: Actor, source: IngestSource, files: Sequence[IngestFile]) -> None:
    """Store the accepted files in one transaction; those that conflict with stored images are refused."""
    accepted: list[IngestFile] = []
    arrivals: list[CleanedArrival] = []
    for file in files:
        if file.is_open and file.context is not None and file.image is not None:
            accepted.append(file)
            instance_hash = hash_instance(app.keys, source.project_id, file.sop_instance_uid)
            arrivals.append(
                CleanedArrival(file.context, file.image, file.text, file.received_hash, file.release, instance_hash)
            )
    for file, answer in zip(accepted, store_images(app, actor, source, arrivals), strict=True):
        if isinstance(answer, ArrivalRefused):
            file.refusal = answer
        else:
            file.result = answer
