# SPDX-License-Identifier: Apache-2.0
"""STOW-RS: objects come in, and each gets an answer of its own (PS3.18, 10.5)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.content_negotiation import choose
from medhub.entrypoints.dicomweb.project_paths import PREFIX, Uid, project_to_store_into, root_of
from medhub.entrypoints.dicomweb.qido import JSON_FORMS
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance
from medhub.errors import Invalid
from medhub.ingest import service
from medhub.ingest.context import Answer, too_large
from medhub.ingest.patient_matching import IngestSource
from medhub.ingest.pipeline import receive_files
from medhub.ingest.quarantine import quarantine_unassigned
from medhub.ingest.upload_parser import UploadReader
from medhub.records import isolated_calls
from medhub.records.models import Image, Series, Study
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers

storing = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

RELATED = "multipart/related"
DICOM = "application/dicom"
MOST_OBJECTS = 20_000
# Taken in together: enough for the work of each to be shared, and little enough to lie in memory.
BATCH_OBJECTS = 64
BATCH_BYTES = 16 * 1024**2

# Failure reasons (PS3.18, table I.2-2).
OUT_OF_RESOURCES = 0xA700
NOT_OF_THIS_STUDY = 0xA900
NOT_UNDERSTOOD = 0xC000
NOT_SUPPORTED = 0x0122
NOT_PROCESSED = 0x0110
_REASONS = {
    "empty": NOT_UNDERSTOOD,
    "truncated": NOT_UNDERSTOOD,
    "not-an-image": NOT_UNDERSTOOD,
    "damaged": NOT_UNDERSTOOD,
    "too-many-bytes": OUT_OF_RESOURCES,
    "too-many-pixels": OUT_OF_RESOURCES,
    "unsupported": NOT_SUPPORTED,
}
_WAITS = "Kept apart; it waits for a person to look at it"
_LONGEST_COMMENT = 64  # of a value of LO


@dataclass
class _Outcome:
    """What became of one object of a request."""

    said: PatientIdentifiers
    image_id: str | None = None
    reason: int = 0
    comment: str = ""


@dataclass
class _Store:
    """One request to store: what has come in, and what became of it."""

    call: Call
    door: IngestSource
    study: str | None
    outcomes: list[_Outcome] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= BATCH_OBJECTS or self.waiting_bytes >= BATCH_BYTES

    def take(self, data: bytes) -> None:
        self.waiting.append(data)
        self.waiting_bytes += len(data)

    def receive(self) -> None:
        """Take in what has come, durably."""
        files, self.waiting, self.waiting_bytes = self.waiting, [], 0
        if self.study is not None:
            files = self._of_this_study(files)
        answers = receive_files(self.call.app, self.call.actor, self.door, files) if files else []
        self.outcomes += [_outcome(answer) for answer in answers]

    def _of_this_study(self, files: list[bytes]) -> list[bytes]:
        """The objects that name the study of the address, as their sender or as Medhub knows it."""
        said = isolated_calls.introduce(self.call.app, files, service.limits_of(self.call.app))
        kept = []
        for data, one in zip(files, said, strict=True):
            if isinstance(one, PatientIdentifiers) and one.study_uid != self.study:
                self.outcomes.append(
                    _Outcome(one, reason=NOT_OF_THIS_STUDY, comment="It is of another study; nothing was stored")
                )
            else:
                kept.append(data)
        return kept

    def refuse_large(self, size: int) -> None:
        """Note a file that is too large to be taken, of which nothing was kept."""
        most = self.call.app.settings.upload_max_bytes // 1024**2
        refusal = too_large(self.call.app, size)
        quarantine_unassigned(self.call.app, self.call.actor, self.door, b"", refusal, size)
        self.outcomes.append(
            _Outcome(
                PatientIdentifiers(),
                reason=OUT_OF_RESOURCES,
                comment=f"At most {most} MB are taken; nothing was stored",
            )
        )


def _outcome(answer: Answer) -> _Outcome:
    said = answer.said or PatientIdentifiers()
    if answer.outcome in {"accepted", "duplicate"}:
        return _Outcome(said, image_id=answer.image_id)
    return _Outcome(said, reason=_REASONS.get(answer.code or "", NOT_PROCESSED), comment=_WAITS)


@storing.post("/studies", summary="Store objects", response_class=Response)
async def store(request: Request, call: Annotated[Call, allow("image.upload")]) -> Response:
    """Take in DICOM objects of any studies; each gets an outcome of its own."""
    return await _store(request, call, None)


@storing.post("/studies/{study}", summary="Store objects of a study", response_class=Response)
async def store_into_study(request: Request, call: Annotated[Call, allow("image.upload")], study: Uid) -> Response:
    """Take in DICOM objects of one study; those of others are refused."""
    return await _store(request, call, study)


async def _store(request: Request, call: Call, study: str | None) -> Response:
    media_type = choose(request, JSON_FORMS)
    door = IngestSource(project_to_store_into(request, call), "stow")
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith(RELATED) or "dicom" not in content_type.lower():
        raise HTTPException(415, f'Objects are stored as {RELATED}; type="{DICOM}".')
    if "dicom+json" in content_type.lower() or "dicom+xml" in content_type.lower():
        raise HTTPException(415, f'Only {RELATED}; type="{DICOM}" is taken, not JSON or XML with pixels beside.')
    coming = _Store(call, door, study)
    try:
        reader = UploadReader(content_type, largest_file_bytes=call.app.settings.upload_max_bytes, media_type=RELATED)
        async for part in reader.parts(request.stream()):
            if len(coming.outcomes) + len(coming.waiting) >= MOST_OBJECTS:
                raise HTTPException(413, f"At most {MOST_OBJECTS} objects are taken at once. Store the rest apart.")
            if part.truncated:
                await run_in_threadpool(coming.refuse_large, part.size)
                continue
            coming.take(bytes(part.data))
            if coming.is_full:
                await run_in_threadpool(coming.receive)
    except Invalid as broken:
        raise HTTPException(400, broken.message) from broken
    if coming.waiting:
        await run_in_threadpool(coming.receive)
    if not coming.outcomes:
        raise HTTPException(400, "The request has no objects. Send at least one.")
    return await run_in_threadpool(_answer, request, coming, media_type)


def _answer(request: Request, coming: _Store, media_type: str) -> Response:
    stored = _stored(coming)
    root = root_of(request)
    references = [_reference(one, stored[one.image_id], root) for one in coming.outcomes if one.image_id in stored]
    failures = [_failure(one) for one in coming.outcomes if one.image_id not in stored]
    body: dict[str, Any] = {}
    studies = {stored[one.image_id].study_uid for one in coming.outcomes if one.image_id in stored}
    if len(studies) == 1:
        body["00081190"] = {"vr": "UR", "Value": [f"{root}/studies/{next(iter(studies))}"]}
    known = [one for one in failures if "00081155" in one]
    others = [one for one in failures if "00081155" not in one]
    for tag, items in (("00081198", known), ("00081199", references), ("0008119A", others)):
        if items:
            body[tag] = {"vr": "SQ", "Value": items}
    status = 409 if not references else 202 if failures else 200
    return Response(json.dumps(body), status_code=status, media_type=media_type, headers={"Cache-Control": "no-store"})


def _stored(coming: _Store) -> dict[str | None, StoredInstance]:
    wanted = sorted({one.image_id for one in coming.outcomes if one.image_id})
    found: dict[str | None, StoredInstance] = {}
    with coming.call.app.database.reading() as session:
        for start in range(0, len(wanted), 500):
            chosen = (
                select(Image, Study.study_uid, Series.series_uid)
                .join(Series, Series.id == Image.series_id)
                .join(Study, Study.id == Series.study_id)
                .where(Image.id.in_(wanted[start : start + 500]))
            )
            found |= {
                image.id: StoredInstance(image, of_study, of_series)
                for image, of_study, of_series in session.execute(chosen)
            }
    return found


def _reference(one: _Outcome, stored: StoredInstance, root: str) -> dict[str, Any]:
    """A stored object by the sender's identifiers, and where it is retrieved by Medhub's."""
    return {**_named(one.said), "00081190": {"vr": "UR", "Value": [stored.address(root)]}}


def _failure(one: _Outcome) -> dict[str, Any]:
    comment = (one.comment or _WAITS)[:_LONGEST_COMMENT]
    return {
        "00000902": {"vr": "LO", "Value": [comment]},
        **_named(one.said),
        "00081197": {"vr": "US", "Value": [one.reason or NOT_PROCESSED]},
    }


def _named(said: PatientIdentifiers) -> dict[str, Any]:
    pairs = (("00081150", said.sop_class_uid), ("00081155", said.sop_instance_uid))
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in pairs if uid}
