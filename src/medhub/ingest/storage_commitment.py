# SPDX-License-Identifier: Apache-2.0
"""What became of received objects, by the UIDs with which they were sent: the facts of a storage commitment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.foundation.keys import Keys
from medhub.ingest.arrival_log import hash_instance
from medhub.ingest.models import Arrival
from medhub.records.models import Image

Custody = Literal["stored", "quarantined", "other-class", "unknown"]
_HASHES_PER_QUERY = 500


def find_custody(session: Session, keys: Keys, project_id: str, references: Sequence[tuple[str, str]]) -> list[Custody]:
    """Say of each object, by SOP class and received SOP instance UID, whether it is safely in the archive.

    The last arrival counts that is not discarded: an object that waits in quarantine is kept, but not accepted yet.
    """
    hashes = {uid: hash_instance(keys, project_id, uid) or "" for _, uid in references}
    wanted = sorted(set(hashes.values()))
    custody: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for start in range(0, len(wanted), _HASHES_PER_QUERY):
        query = (
            select(Arrival, Image.sop_class_uid)
            .outerjoin(Image, Image.id == Arrival.image_id)
            .where(
                Arrival.project_id == project_id,
                Arrival.instance_hash.in_(wanted[start : start + _HASHES_PER_QUERY]),
            )
            .order_by(Arrival.created_at.desc(), Arrival.id)
        )
        for arrival, sop_class in session.execute(query):
            if arrival.image_id is not None:
                custody[arrival.instance_hash or ""].append(("stored", sop_class))
            elif arrival.outcome == "quarantined" and arrival.sealed_bytes is not None:
                custody[arrival.instance_hash or ""].append(("quarantined", ""))
    return [_custody_of(custody[hashes[uid]], sop_class) for sop_class, uid in references]


def _custody_of(arrivals: Sequence[tuple[str, str]], sop_class: str) -> Custody:
    if not arrivals:
        return "unknown"
    last, stored_class = arrivals[0]
    if last == "quarantined":
        return "quarantined"
    return "stored" if stored_class == sop_class else "other-class"
