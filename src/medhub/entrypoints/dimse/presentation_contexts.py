# SPDX-License-Identifier: Apache-2.0
"""SOP classes and transfer syntaxes that nodes may use (PS3.4, PS3.6 annex A)."""

from __future__ import annotations

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import AllTransferSyntaxes
from pynetdicom.sop_class import _STORAGE_CLASSES

VERIFICATION = "1.2.840.10008.1.1"
# Find, move and get, in this order.
PATIENT_ROOT = tuple(f"1.2.840.10008.5.1.4.1.2.1.{number}" for number in (1, 2, 3))
STUDY_ROOT = tuple(f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
QUERY_CLASSES = frozenset(PATIENT_ROOT + STUDY_ROOT)
WORKLIST = "1.2.840.10008.5.1.4.31"
PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"
COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
WORKLIST_CLASSES = frozenset({WORKLIST, PERFORMED_STEP})

_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."


def _is_retired_storage_class(uid: str) -> bool:
    """Whether PS3.6 (table A-1) lists a retired storage class; old archives still hold such objects."""
    name, kind, _, retired, _ = UID_dictionary[uid]
    stored = uid.startswith(_STORAGE_ROOT) or ("Storage" in name and "Commitment" not in name)
    return kind == "SOP Class" and bool(retired) and stored


# pynetdicom lists the classes of the current standard.
STORAGE_CLASSES = frozenset(map(str, _STORAGE_CLASSES.values())) | frozenset(
    uid for uid in UID_dictionary if _is_retired_storage_class(uid)
)

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
# Queries and their responses are encoded by Medhub itself.
PLAIN_SYNTAXES = frozenset({IMPLICIT, EXPLICIT})
TRANSFER_SYNTAXES = frozenset(map(str, AllTransferSyntaxes))
