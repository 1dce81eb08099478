# SPDX-License-Identifier: Apache-2.0
"""Exceptions of medhub.errors as status codes of DIMSE (PS3.7 annex C, PS3.4 annexes B and C).

A status goes without words: an error comment would tell a foreign node what only people may read.
"""

from __future__ import annotations

from medhub.errors import Conflict, Invalid, MedhubError, NotAllowed, NotAuthenticated, NotFound, Unavailable

SUCCESS = 0x0000
CANCEL = 0xFE00
PENDING = 0xFF00
SUB_OPERATIONS_WARNING = 0xB000  # some of them failed

NOT_AUTHORIZED = 0x0124
NO_SUCH_CLASS = 0x0122
INVALID_INSTANCE = 0x0117
OUT_OF_RESOURCES = 0xA700
NO_SUB_OPERATIONS = 0xA702  # none can be done
DESTINATION_UNKNOWN = 0xA801
WRONG_IDENTIFIER = 0xA900
CANNOT_UNDERSTAND = 0xC000

STATUS: dict[type[MedhubError], int] = {
    NotAuthenticated: NOT_AUTHORIZED,
    NotAllowed: NOT_AUTHORIZED,
    NotFound: DESTINATION_UNKNOWN,
    Conflict: CANNOT_UNDERSTAND,
    Invalid: WRONG_IDENTIFIER,
    Unavailable: OUT_OF_RESOURCES,
    MedhubError: CANNOT_UNDERSTAND,
}


def status_of(error: Exception) -> int:
    """The status of a failure: that of the nearest kind in the tree; a disk that is full is one of resources."""
    if isinstance(error, OSError):
        return OUT_OF_RESOURCES
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), CANNOT_UNDERSTAND)
