# SPDX-License-Identifier: Apache-2.0
"""Files that name their patient themselves: by STOW-RS, C-STORE, a watched folder or the command line.

They come in many at a time. Each step is done for a batch: what the files say of themselves, whose they are, cleaning
in a process apart, and one transaction that writes all that was accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest import service
from medhub.ingest.arrival_log import note_duplicate
from medhub.ingest.context import Answer, ArrivalRefused, CleanedArrival, IngestContext
from medhub.ingest.image_writer import store_all
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.models import Receipt
from medhub.ingest.patient_matching import IngestSource, find_patient, wait_for_all
from medhub.ingest.profiles import profile_of
from medhub.ingest.quarantine import quarantine, quarantine_unassigned
from medhub.records import isolated_calls
from medhub.records.pathway import get_pathway
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.imaging.decoding_limits import Unacceptable

MOST_FILES = 32
MOST_BYTES = 16 * 1024**2

Refusal = Unacceptable | ArrivalRefused


@dataclass
class _File:
    """One file on its way in, with what has been found out of it."""

    data: bytes
    said: PatientIdentifiers | None = None
    receiving: IngestContext | None = None
    received_hash: str = ""
    prepared: CleanedImage | None = None
    refusal: Refusal | None = None
    answer: Answer | None = None

    @property
    def is_open(self) -> bool:
        return self.refusal is None and self.answer is None


def receive_files(app: AppContext, actor: Actor, door: IngestSource, files: Sequence[bytes]) -> list[Answer]:
    """Take in files that name their patients themselves; each gets an answer of its own, in their order, durable.

    Whoever calls has checked that the actor may bring files into the door's project.
    """
    batches = list(_batches(files))
    if len(batches) < 2:
        return [answer for batch in batches for answer in _receive(app, actor, door, batch)]
    # One more than clean: while one batch is written, none of those that clean is idle.
    with ThreadPoolExecutor(max_workers=app.settings.decoder_workers + 1) as pool:
        several = pool.map(lambda batch: _receive(app, actor, door, batch), batches)
        return [answer for answers in several for answer in answers]


def _batches(files: Sequence[bytes]) -> Iterator[list[_File]]:
    batch: list[_File] = []
    size = 0
    for data in files:
        if batch and (len(batch) >= MOST_FILES or size + len(data) > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(_File(data))
        size += len(data)
    if batch:
        yield batch


def _receive(app: AppContext, actor: Actor, door: IngestSource, batch: list[_File]) -> list[Answer]:
    _introduce(app, batch)
    _find_patients(app, actor, door, batch)
    _note_known(app, actor, door, batch)
    _prepare(app, batch)
    _store(app, actor, batch)
    return [_answer(app, actor, door, file) for file in batch]


def _introduce(app: AppContext, batch: list[_File]) -> None:
    limits = service.limits_of(app)
    try:
        said = isolated_calls.introduce(app, [file.data for file in batch], limits)
    except DecoderFailed as failure:
        if len(batch) == 1:
            batch[0].refusal = service.undecodable(failure)
            return
        for file in batch:  # which of them it was shows one by one
            _introduce(app, [file])
        return
    for file, one in zip(batch, said, strict=True):
        if isinstance(one, PatientIdentifiers):
            file.said = one
        else:
            file.refusal = one


def _find_patients(app: AppContext, actor: Actor, door: IngestSource, batch: list[_File]) -> None:
    found: dict[tuple[str, ...], IngestContext] = {}
    with app.database.writing() as session:
        archive = settings_of(session, door.project_id)
        chosen = profile_of(session, door.project_id)
        wait_for_all(session, app.keys, door.project_id, [file.said for file in batch if file.said is not None])
        for file in batch:
            said = file.said
            if said is None or not file.is_open:
                continue
            person = (said.patient_id, said.issuer, said.name, said.birth_date, said.sex, said.study_uid, said.modality)
            if person not in found:
                try:
                    patient = find_patient(session, app, actor, door, said, chosen)
                except ArrivalRefused as refusal:
                    file.refusal = refusal
                    continue
                name = door.pathway or archive.pathways.get(said.modality) or archive.pathways.get("*")
                pathway = get_pathway(app.settings, name) if name else None
                receiving = service.receiving_of(session, app, patient, pathway)
                found[person] = replace(receiving, route=door.route, peer=door.peer, settle_s=archive.settle_s)
            file.receiving = found[person]
            file.received_hash = service.hash_of(app, file.receiving, file.data)


def _note_known(app: AppContext, actor: Actor, door: IngestSource, batch: list[_File]) -> None:
    """Answer for files that came in before, byte for byte."""
    hashes = [file.received_hash for file in batch if file.receiving is not None]
    with app.database.reading() as session:
        known = service.known_receipts(session, door.project_id, hashes)
    if not known:
        return
    with app.database.writing() as session:
        for file in batch:
            if file.receiving is None or not file.is_open:
                continue
            receipt = session.get(Receipt, (file.receiving.project_id, file.received_hash))
            if receipt is not None:
                file.answer = note_duplicate(session, actor, file.receiving, receipt.image_id, len(file.data))


def _prepare(app: AppContext, batch: list[_File]) -> None:
    files = [file for file in batch if file.is_open]
    if not files:
        return
    contexts: dict[int, CleaningContext] = {}
    for file in files:
        assert file.receiving is not None  # noqa: S101 - open files have found their patient
        if id(file.receiving) not in contexts:
            contexts[id(file.receiving)] = service.context_of(app, file.receiving)
    try:
        prepared = isolated_calls.prepare_all(
            app,
            [file.data for file in files],
            [contexts[id(file.receiving)] for file in files],
            service.limits_of(app),
        )
    except DecoderFailed as failure:
        if len(files) == 1:
            files[0].refusal = service.undecodable(failure)
            return
        for file in files:
            _prepare(app, [file])
        return
    for file, one in zip(files, prepared, strict=True):
        if isinstance(one, CleanedImage):
            file.prepared = one
        else:
            file.refusal = one


def _store(app: AppContext, actor: Actor, batch: list[_File]) -> None:
    files: list[_File] = []
    several: list[CleanedArrival] = []
    for file in batch:
        if not file.is_open or file.receiving is None or file.prepared is None:
            continue
        try:
            seen = service.look(app, file.receiving, file.data, file.prepared)
        except (Unacceptable, ArrivalRefused) as refusal:
            file.refusal = refusal
        except DecoderFailed as failure:
            file.refusal = service.undecodable(failure)
        else:
            files.append(file)
            several.append(CleanedArrival(file.receiving, file.prepared, seen, file.received_hash))
    if not several:
        return
    for file, answer in zip(files, store_all(app, actor, several), strict=True):
        if isinstance(answer, ArrivalRefused):
            file.refusal = answer
        else:
            file.answer = answer


def _answer(app: AppContext, actor: Actor, door: IngestSource, file: _File) -> Answer:
    said = file.said or PatientIdentifiers()
    if file.answer is not None:
        return replace(file.answer, said=said)
    refusal = file.refusal
    assert refusal is not None  # noqa: S101 - what is not answered was refused
    if file.receiving is None:
        return replace(quarantine_unassigned(app, actor, door, file.data, refusal), said=said)
    return replace(quarantine(app, actor, file.receiving, file.data, refusal), said=said)
