# SPDX-License-Identifier: Apache-2.0
"""Routes of data sets."""

from __future__ import annotations

import csv
import io
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid
from medhub.foundation.http import STREAMED_BODY, Id, Page, Paging
from medhub.foundation.spreadsheet_cells import spreadsheet_cell
from medhub.foundation.work_pools import run_until_disconnect, runs_in
from medhub.ingest.upload_parser import UploadReader, form
from medhub.training import datasets as data
from medhub.training import queries
from medhub.training.models import DataSet
from medhub.training.schemas import DataSetCreate, DataSetOut, RowOut

datasets = APIRouter(prefix="/api/datasets", tags=["data sets"])


_ZIP = form(
    {
        "project_id": {"type": "string", "description": "Id of the project, if you have several."},
        "name": {"type": "string", "maxLength": 100, "examples": ["our-smears"]},
        "file": {
            "type": "string",
            "format": "binary",
            "description": "A ZIP with a folder for each label, or with images and labels.csv.",
        },
    },
    "name",
    "file",
)


def _dataset_out(session: Session, call: Call, dataset: DataSet) -> DataSetOut:
    erased = data.count_erased(session, [dataset.id]).get(dataset.id, 0)
    return DataSetOut.of(dataset, call.actor.project_names.get(dataset.project_id, ""), erased)


@datasets.get("", summary="Data sets")
def list_datasets(
    call: Annotated[Call, allow("dataset.read")], paging: Paging, project_id: Annotated[Id | None, Query()] = None
) -> Page[DataSetOut]:
    """Versions of data sets, the latest first unless sorted otherwise."""
    with call.reading() as session:
        page, total = data.list_datasets(
            session,
            call.actor,
            project_id=project_id,
            query=paging.query,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        erased = data.count_erased(session, [dataset.id for dataset in page])
        names = call.actor.project_names
        return paging.of(
            [DataSetOut.of(dataset, names.get(dataset.project_id, ""), erased.get(dataset.id, 0)) for dataset in page],
            total,
        )


@datasets.post("", status_code=201, summary="Make a version of signed verdicts")
@runs_in("outside")
def create_dataset(call: Annotated[Call, allow("dataset.create")], given: DataSetCreate) -> DataSetOut:
    """Make a version of what was signed in a project along a pathway, as it stands now."""
    project_id = call.actor.choose_project("dataset.create", given.project_id)
    with call.writing() as session:
        dataset = data.make_from_verdicts(
            session, call.app, call.actor, project_id=project_id, pathway=given.pathway, name=given.name
        )
        session.flush()
        return _dataset_out(session, call, dataset)


@datasets.post(
    "/zip",
    status_code=201,
    summary="Make a version of an uploaded ZIP",
    dependencies=[STREAMED_BODY],
    openapi_extra=_ZIP,
)
async def upload_dataset(request: Request, call: Annotated[Call, allow("dataset.create")]) -> DataSetOut:
    """Make a version of labeled images; only their pixels are kept, neither names nor metadata."""
    with call.app.received.lease() as lease:
        reader = UploadReader(
            request.headers.get("content-type", ""), largest_file_bytes=call.app.settings.dataset_max_bytes, lease=lease
        )
        fields: dict[str, str] = {}
        archive: bytes | None = None
        async for part in reader.parts(request.stream()):
            if part.filename is None:
                fields[part.name] = part.data.decode("utf-8", "replace").replace("\x00", "").strip()
            elif part.name == "file":
                if part.truncated:
                    most = call.app.settings.dataset_max_bytes // 1024**2
                    raise Invalid(f"The ZIP is larger than {most} MB. Divide it; nothing was stored.", field="file")
                if archive is not None:
                    raise Invalid("Send one ZIP at a time.", field="file")
                archive = bytes(part.data)
            else:
                part.free()
        name = data.check_name(fields.get("name", ""))
        if archive is None:
            raise Invalid("The upload has no ZIP. Choose one.", field="file")
        project = fields.get("project_id") or None
        return await run_until_disconnect(request.receive, "upload", _make_from_zip, call, project, name, archive)


def _make_from_zip(call: Call, project: str | None, name: str, archive: bytes) -> DataSetOut:
    project_id = call.actor.choose_project("dataset.create", project)
    dataset_id = data.make_from_zip(call.app, call.actor, project_id=project_id, name=name, data=archive)
    with call.reading() as session:
        return _dataset_out(session, call, queries.load_datasets(session, [dataset_id])[dataset_id])


@datasets.get("/{id}", summary="One data set")
def read_dataset(call: Annotated[Call, allow("dataset.read")], id: ItemId) -> DataSetOut:
    """A version: counts by label and part, what was left out, its digest."""
    with call.reading() as session:
        return _dataset_out(session, call, data.get_dataset(session, call.actor, id))


@datasets.get("/{id}/rows", summary="Where the labels come from")
def list_rows(call: Annotated[Call, allow("dataset.read")], id: ItemId, paging: Paging) -> Page[RowOut]:
    """The images of a version with the provenance of each label, in the version's order."""
    with call.reading() as session:
        dataset = data.get_dataset(session, call.actor, id)
        call.actor.record(session, "dataset.read", "dataset", dataset.id, project_id=dataset.project_id)
        rows = data.list_rows(session, dataset, offset=paging.offset, limit=paging.page_size)
        return paging.of([RowOut.of(facts) for facts in rows], dataset.images)


@datasets.get(
    "/{id}/provenance.csv",
    summary="Where the labels come from, as CSV",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A CSV in UTF-8."}},
)
@runs_in("outside")
def read_provenance(call: Annotated[Call, allow("dataset.read")], id: ItemId) -> Response:
    """The provenance of every label of a version."""
    buffer = io.StringIO()
    lines = csv.writer(buffer)
    lines.writerow(columns := [field.serialization_alias or name for name, field in RowOut.model_fields.items()])
    with call.reading() as session:
        dataset = data.get_dataset(session, call.actor, id)
        call.actor.record(session, "dataset.export", "dataset", dataset.id, project_id=dataset.project_id)
        for facts in data.all_rows(session, dataset):
            row = RowOut.of(facts).model_dump(mode="json", by_alias=True)
            lines.writerow([spreadsheet_cell(row[column]) for column in columns])
    name = f'attachment; filename="{dataset.id}.csv"'
    return Response(buffer.getvalue(), media_type="text/csv", headers={"Content-Disposition": name})
