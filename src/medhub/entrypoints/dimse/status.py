# SPDX-License-Identifier: Apache-2.0
"""Status codes of DIMSE for the exceptions of medhub.errors (PS3.7 annex C, PS3.4 annexes B and C).

A status has no error comment: a remote node must not receive messages that are written for users.
"""

from __future__ import annotations

from medhub.errors import Conflict, Invalid, MedhubError, NotAllowed, NotAuthenticated, NotFound, Unavailable

SUCCESS = 0x0000
CANCEL = 0xFE00
PENDING = 0xFF00
SUB_OPERATIONS_WARNING = 0xB000  # some sub-operations failed

NOT_AUTHORIZED = 0x0124
NO_SUCH_CLASS = 0x0122
INVALID_INSTANCE = 0x0117
INVALID_VALUE = 0x0106  # an attribute has a value that it cannot have
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
NO_SUCH_INSTANCE = 0x0112
ATTRIBUTE_MISSING = 0x0120
INVALID_ARGUMENT = 0x0115
CLASS_CONFLICT = 0x0119
NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
NO_SUB_OPERATIONS = 0xA702  # no sub-operation succeeded
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
    """The status of an exception, by its nearest base class; an error of the disk is out of resources."""
    if isinstance(error, OSError):
        return OUT_OF_RESOURCES
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), CANNOT_UNDERSTAND)
