# SPDX-License-Identifier: Apache-2.0
"""Stored objects by the UIDs of an address."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request

from medhub.accounts.access import Call
from medhub.entrypoints.dicomweb.project_paths import NothingThere, projects_of, root_of
from medhub.records.models import Image, Series, Study


@dataclass(frozen=True)
class StoredInstance:
    """An object with the UIDs of its study and series."""

    image: Image
    study_uid: str
    series_uid: str

    def address(self, root: str) -> str:
        """The URL from which it is retrieved."""
        image_uid = self.image.sop_instance_uid
        return f"{root}/studies/{self.study_uid}/series/{self.series_uid}/instances/{image_uid}"


_INSTANCES = (
    select(Image, Study.study_uid, Series.series_uid)
    .join(Series, Series.id == Image.series_id)
    .join(Study, Study.id == Series.study_id)
)
_IDS_PER_QUERY = 500


def find_instances(
    session: Session, projects: Collection[str], study: str, series: str | None = None, instance: str | None = None
) -> list[StoredInstance]:
    """The objects of a study or a series, or one object, in the order of their numbers."""
    query = _INSTANCES.where(Study.project_id.in_(sorted(projects)), Study.study_uid == study)
    if series is not None:
        query = query.where(Series.series_uid == series)
    if instance is not None:
        query = query.where(Image.sop_instance_uid == instance, Image.project_id.in_(sorted(projects)))
    order = (Study.id, Series.number, Series.id, Image.instance_number, Image.number, Image.id)
    return [StoredInstance(*row) for row in session.execute(query.order_by(*order))]


def instances_by_image_id(session: Session, image_ids: Sequence[str]) -> dict[str | None, StoredInstance]:
    """The objects with these image ids."""
    instances: dict[str | None, StoredInstance] = {}
    for start in range(0, len(image_ids), _IDS_PER_QUERY):
        query = _INSTANCES.where(Image.id.in_(image_ids[start : start + _IDS_PER_QUERY]))
        instances |= {row[0].id: StoredInstance(*row) for row in session.execute(query)}
    return instances


def read_instances(
    request: Request, call: Call, what: str, study: str, series: str | None = None, instance: str | None = None
) -> list[StoredInstance]:
    """The objects of an address, with an audit entry; raises ``NothingThere`` where there are none."""
    with call.reading() as session:
        instances = find_instances(session, projects_of(request, call, "image.read"), study, series, instance)
        if not instances:
            raise NothingThere("No object has these UIDs, or it is not in a project of yours.")
        first = instances[0].image
        kind, identifier = (
            ("image", first.id) if instance else ("series", first.series_id) if series else ("study", first.study_id)
        )
        call.actor.record(
            session,
            f"{kind}.retrieve",
            kind,
            identifier,
            project_id=first.project_id,
            patient_id=first.patient_id,
            what=what,
            images=len(instances),
        )
    return instances


def read_instance(
    request: Request, call: Call, what: str, study: str, series: str, instance: str
) -> tuple[StoredInstance, str]:
    """The object of an address, and its URL."""
    (stored, *_) = read_instances(request, call, what, study, series, instance)
    return stored, stored.address(root_of(request))
