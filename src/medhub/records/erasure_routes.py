# SPDX-License-Identifier: Apache-2.0
"""Routes of erasures: preview, request, and certificates."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.foundation.http import Id, Page, Paging
from medhub.records import erasure, erasure_requests
from medhub.records.erasure_schemas import (
    ErasureOut,
    ErasurePreviewOut,
    ErasureRequestIn,
    ErasureRequestOut,
    PatientErasedOut,
)
from medhub.records.models import ErasureRequest

patient_erasures = APIRouter(prefix="/api/patients", tags=["patients"])
erasures = APIRouter(prefix="/api/erasures", tags=["patients"])


@patient_erasures.get("/{id}/erasure", summary="What an erasure destroys")
def preview_erasure(call: Annotated[Call, allow("patient.erase")], id: ItemId) -> ErasurePreviewOut:
    """What erasing the patient would destroy, and the request that waits for a second person."""
    with call.reading() as session:
        preview = erasure_requests.preview_erasure(session, call.actor, id)
        return ErasurePreviewOut(
            contents=dict(preview.contents),
            needs_second_person=preview.needs_second_person,
            request=_request_out(call, preview.request) if preview.request is not None else None,
        )


def _request_out(call: Call, request: ErasureRequest) -> ErasureRequestOut:
    return ErasureRequestOut(
        reason=request.reason,
        requested_at=request.requested_at,
        requested_by=request.requested_by,
        mine=request.requested_by_id == call.actor.user_id,
    )


@patient_erasures.post(
    "/{id}/erasure",
    summary="Erase a patient with a reason",
    responses={202: {"model": ErasureRequestOut, "description": "Requested; a second administrator erases."}},
)
def request_erasure(
    call: Annotated[Call, allow("patient.erase")], id: ItemId, given: ErasureRequestIn, response: Response
) -> PatientErasedOut | ErasureRequestOut:
    """Delete all data of the person permanently; if the project demands two people, the first one only requests it."""
    with call.writing() as session:
        result = erasure_requests.request_erasure(session, call.app, call.actor, id, given.reason)
        if isinstance(result, ErasureRequest):
            response.status_code = 202
            return _request_out(call, result)
        return PatientErasedOut(code=result.patient_code, images=result.contents["images"], certificate_id=result.id)


@patient_erasures.delete("/{id}/erasure", status_code=204, summary="Withdraw a requested erasure")
def withdraw_erasure(call: Annotated[Call, allow("patient.erase")], id: ItemId) -> None:
    """Withdraw or reject the request of an erasure; the patient stays."""
    with call.writing() as session:
        erasure_requests.withdraw_request(session, call.actor, id)


@erasures.get("", summary="Certificates of erasure")
def list_erasures(
    call: Annotated[Call, allow("erasure.read")],
    paging: Paging,
    project_id: Annotated[Id | None, Query()] = None,
) -> Page[ErasureOut]:
    """Certificates of erased patients, by code, newest first."""
    with call.reading() as session:
        certificates, total = erasure.list_erasures(
            session,
            call.actor,
            project_id=project_id,
            query=paging.query,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of(
            [ErasureOut.model_validate(certificate, extra="ignore") for certificate in certificates], total
        )


@erasures.get("/{id}", summary="A certificate of erasure")
def read_erasure(call: Annotated[Call, allow("erasure.read")], id: ItemId) -> ErasureOut:
    """What was erased, which classifiers were trained with the person's images, and whether the erasure is complete."""
    with call.reading() as session:
        return ErasureOut.model_validate(erasure.get_erasure(session, call.actor, id), extra="ignore")
