# SPDX-License-Identifier: Apache-2.0
"""STOW-RS: store objects; each has its own result in the response (PS3.18, 10.5)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.content_negotiation import DICOM_XML, choose_json_or_xml
from medhub.entrypoints.dicomweb.native_xml import native_model
from medhub.entrypoints.dicomweb.project_paths import PREFIX, Uid, project_to_store_into, root_of
from medhub.entrypoints.dicomweb.qido import UTF_8
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance, instances_by_image_id
from medhub.errors import Invalid
from medhub.foundation.byte_budget import ByteLease
from medhub.foundation.http import STREAMED_BODY
from medhub.foundation.work_pools import run_in, run_until_disconnect
from medhub.ingest.context import IngestSource, decoding_limits
from medhub.ingest.ingest_file import IngestResult, ReceivedFile
from medhub.ingest.pipeline import ingest_files
from medhub.ingest.upload_parser import UploadPart, UploadReader
from medhub.records import isolated_calls
from medhub.science.arrivals.patient_identifiers import PatientIdentifiers
from medhub.science.imaging.codecs.codestreams import COMPRESSED_SYNTAXES, DEFLATED_FRAMES
from medhub.science.imaging.dicom.object_checks import NATIVE_SYNTAXES
from medhub.science.imaging.dicom.object_kinds import class_name, is_of_nobody

storing = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

RELATED = "multipart/related"
DICOM = "application/dicom"
MOST_OBJECTS = 20_000
# Ingested together: enough objects to share the work of a transaction, and few enough to stay in memory.
BATCH_OBJECTS = 64
BATCH_BYTES = 16 * 1024**2

_DEFLATED = "1.2.840.10008.1.2.1.99"  # Deflated Explicit VR Little Endian: the file, not the pixels

# Failure reasons (PS3.18, table I.2-2).
OUT_OF_RESOURCES = 0xA700
NOT_OF_THIS_STUDY = 0xA900
NOT_UNDERSTOOD = 0xC000
CLASS_NOT_SUPPORTED = 0x0122
SYNTAX_NOT_SUPPORTED = 0xC122
NOT_PROCESSED = 0x0110
_REASONS = {
    "empty": NOT_UNDERSTOOD,
    "truncated": NOT_UNDERSTOOD,
    "not-an-image": NOT_UNDERSTOOD,
    "damaged": NOT_UNDERSTOOD,
    "too-many-bytes": OUT_OF_RESOURCES,
    "too-many-pixels": OUT_OF_RESOURCES,
}
READABLE_SYNTAXES = frozenset(map(str, NATIVE_SYNTAXES | COMPRESSED_SYNTAXES | {DEFLATED_FRAMES})) | {_DEFLATED}
_QUARANTINED = "Kept apart; it waits for a person to look at it"
_LONGEST_COMMENT = 64  # of a value of LO


@dataclass
class _InstanceResult:
    """The result of one object of a request."""

    identifiers: PatientIdentifiers
    image_id: str | None = None
    reason: int = 0
    comment: str = ""


@dataclass
class _StoreRequest:
    """A request to store: the objects that are not ingested yet, and the results of the others."""

    call: Call
    source: IngestSource
    study: str | None
    results: list[_InstanceResult] = field(default_factory=list)
    pending: list[UploadPart] = field(default_factory=list)
    pending_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.pending) >= BATCH_OBJECTS or self.pending_bytes >= BATCH_BYTES

    def add(self, part: UploadPart) -> None:
        self.pending.append(part)
        self.pending_bytes += len(part.data)

    def ingest_pending(self) -> None:
        """Ingest the pending objects."""
        parts, self.pending, self.pending_bytes = self.pending, [], 0
        objects = [bytes(part.data) for part in parts]
        if self.study is not None:
            objects = self._refuse_other_studies(objects)
        files = [ReceivedFile.of(data) for data in objects]
        answers = ingest_files(self.call.app, self.call.actor, self.source, files)
        self.results += [_result_of(answer) for answer in answers]
        for part in parts:
            part.free()

    def _refuse_other_studies(self, objects: list[bytes]) -> list[bytes]:
        """The objects that name the study of the address; the others are refused."""
        identifiers = isolated_calls.read_patient_identifiers(self.call.app, objects, decoding_limits(self.call.app))
        accepted = []
        for data, named in zip(objects, identifiers, strict=True):
            if isinstance(named, PatientIdentifiers) and named.study_uid != self.study:
                comment = "It is of another study; nothing was stored"
                self.results.append(_InstanceResult(named, reason=NOT_OF_THIS_STUDY, comment=comment))
            else:
                accepted.append(data)
        return accepted

    def refuse_large(self, size_bytes: int) -> None:
        """Add the arrival of a file that exceeds the limit and was not read."""
        most = self.call.app.settings.upload_max_bytes // 1024**2
        ingest_files(self.call.app, self.call.actor, self.source, [ReceivedFile(None, size_bytes)])
        comment = f"At most {most} MB are taken; nothing was stored"
        self.results.append(_InstanceResult(PatientIdentifiers(), reason=OUT_OF_RESOURCES, comment=comment))


def _result_of(answer: IngestResult) -> _InstanceResult:
    identifiers = answer.identifiers or PatientIdentifiers()
    if answer.outcome in {"accepted", "duplicate"}:
        return _InstanceResult(identifiers, image_id=answer.image_id)
    if answer.code == "unsupported":
        return _InstanceResult(identifiers, reason=_reason_of_unsupported(identifiers), comment=_QUARANTINED)
    return _InstanceResult(identifiers, reason=_REASONS.get(answer.code or "", NOT_PROCESSED), comment=_QUARANTINED)


def _reason_of_unsupported(identifiers: PatientIdentifiers) -> int:
    """What is unsupported: senders stop to send all objects of a class or transfer syntax that is refused."""
    sop_class, syntax = identifiers.sop_class_uid, identifiers.transfer_syntax_uid
    if not sop_class:
        return NOT_UNDERSTOOD  # not DICOM, or without the attributes of an object
    if syntax and syntax not in READABLE_SYNTAXES:
        return SYNTAX_NOT_SUPPORTED
    return NOT_PROCESSED if class_name(sop_class) and not is_of_nobody(sop_class) else CLASS_NOT_SUPPORTED


@storing.post("/studies", summary="Store objects", dependencies=[STREAMED_BODY], response_class=Response)
async def store(request: Request, call: Annotated[Call, allow("image.upload")]) -> Response:
    """Store DICOM objects of any studies; each has its own result."""
    return await _store(request, call, None)


@storing.post(
    "/studies/{study}",
    summary="Store objects of a study",
    dependencies=[STREAMED_BODY],
    response_class=Response,
)
async def store_into_study(request: Request, call: Annotated[Call, allow("image.upload")], study: Uid) -> Response:
    """Store DICOM objects of one study; objects of other studies are refused."""
    return await _store(request, call, study)


async def _store(request: Request, call: Call, study: str | None) -> Response:
    media_type = choose_json_or_xml(request, multipart_xml=False)
    source = IngestSource(project_to_store_into(request, call), "stow")
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith(RELATED) or "dicom" not in content_type.lower():
        raise HTTPException(415, f'Objects are stored as {RELATED}; type="{DICOM}".')
    if "dicom+json" in content_type.lower() or "dicom+xml" in content_type.lower():
        raise HTTPException(415, f'Only {RELATED}; type="{DICOM}" is taken, not JSON or XML with pixels beside.')
    storing_request = _StoreRequest(call, source, study)
    with call.app.received.lease() as lease:
        await _receive_objects(request, storing_request, content_type, lease)
    if not storing_request.results:
        raise HTTPException(400, "The request has no objects. Send at least one.")
    return await run_in_threadpool(_build_response, request, storing_request, media_type)


async def _receive_objects(
    request: Request, storing_request: _StoreRequest, content_type: str, lease: ByteLease
) -> None:
    """Ingest the objects of a request in batches."""
    try:
        most = storing_request.call.app.settings.upload_max_bytes
        reader = UploadReader(content_type, largest_file_bytes=most, media_type=RELATED, lease=lease)
        async for part in reader.parts(request.stream()):
            if len(storing_request.results) + len(storing_request.pending) >= MOST_OBJECTS:
                raise HTTPException(413, f"At most {MOST_OBJECTS} objects are taken at once. Store the rest apart.")
            if part.truncated:
                await run_in("upload", storing_request.refuse_large, part.size)
                continue
            storing_request.add(part)
            if storing_request.is_full:
                await run_in("upload", storing_request.ingest_pending)
    except Invalid as error:
        raise HTTPException(400, error.message) from error
    if storing_request.pending:
        await run_until_disconnect(request.receive, "upload", storing_request.ingest_pending)


def _build_response(request: Request, storing_request: _StoreRequest, media_type: str) -> Response:
    results = storing_request.results
    instances = _load_instances(storing_request)
    root = root_of(request)
    references = [
        _reference_item(result, instances[result.image_id], root) for result in results if result.image_id in instances
    ]
    failures = [_failure_item(result) for result in results if result.image_id not in instances]
    body: dict[str, Any] = {"00080005": {"vr": "CS", "Value": [UTF_8]}}
    studies = {instances[result.image_id].study_uid for result in results if result.image_id in instances}
    if len(studies) == 1:
        body["00081190"] = {"vr": "UR", "Value": [f"{root}/studies/{next(iter(studies))}"]}
    named = [item for item in failures if "00081155" in item]
    unnamed = [item for item in failures if "00081155" not in item]
    for tag, items in (("00081198", named), ("00081199", references), ("0008119A", unnamed)):
        if items:
            body[tag] = {"vr": "SQ", "Value": items}
    status = 409 if not references else 202 if failures else 200
    content = native_model(body) if media_type == DICOM_XML else json.dumps(body).encode()
    return Response(content, status_code=status, media_type=media_type, headers={"Cache-Control": "no-store"})


def _load_instances(storing_request: _StoreRequest) -> dict[str | None, StoredInstance]:
    """The stored objects of a request by image id."""
    image_ids = sorted({result.image_id for result in storing_request.results if result.image_id})
    with storing_request.call.app.database.reading() as session:
        return instances_by_image_id(session, image_ids)


def _reference_item(result: _InstanceResult, instance: StoredInstance, root: str) -> dict[str, Any]:
    """An object by the identifiers of its sender, and the address of the stored object."""
    return {**_uid_elements(result.identifiers), "00081190": {"vr": "UR", "Value": [instance.address(root)]}}


def _failure_item(result: _InstanceResult) -> dict[str, Any]:
    comment = (result.comment or _QUARANTINED)[:_LONGEST_COMMENT]
    return {
        "00000902": {"vr": "LO", "Value": [comment]},
        **_uid_elements(result.identifiers),
        "00081197": {"vr": "US", "Value": [result.reason or NOT_PROCESSED]},
    }


def _uid_elements(identifiers: PatientIdentifiers) -> dict[str, Any]:
    pairs = (("00081150", identifiers.sop_class_uid), ("00081155", identifiers.sop_instance_uid))
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in pairs if uid}
