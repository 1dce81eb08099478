# SPDX-License-Identifier: Apache-2.0
"""Command sets of DIMSE messages (PS3.7 section 6.3 and annex E): a strict reader, and C-STORE responses.

A command set is a flat list of elements of group 0000 in implicit VR, little endian.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

C_STORE_RQ = 0x0001
C_STORE_RSP = 0x8001
NO_DATA_SET = 0x0101

MOST_COMMAND_BYTES = 16 * 1024
_HEAD = struct.Struct("<HHI")
_SHORT = struct.Struct("<H")
_AFFECTED_CLASS, _FIELD, _MESSAGE_ID, _DATA_SET_TYPE, _STATUS, _AFFECTED_INSTANCE = (
    0x0002, 0x0100, 0x0110, 0x0800, 0x0900, 0x1000,
)  # fmt: skip
_RESPONDED_TO = 0x0120
_UID = re.compile(rb"[0-9]{1,62}(\.[0-9]{1,62})+")


@dataclass(frozen=True)
class Command:
    """The elements of a command set that the listener uses."""

    field: int
    message_id: int
    has_data_set: bool
    sop_class: bytes  # empty, like the instance, where it is not a UID
    sop_instance: bytes


def read_command(encoded: bytes) -> Command:
    """Read a command set; raises ``ValueError`` where it is invalid."""
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(encoded):
        if offset + _HEAD.size > len(encoded):
            raise ValueError("the command set is cut off")
        group, element, length = _HEAD.unpack_from(encoded, offset)
        offset += _HEAD.size
        if group != 0 or offset + length > len(encoded):
            raise ValueError("this is no element of a command set")
        elements[element] = encoded[offset : offset + length]
        offset += length
    return Command(
        field=_read_short(elements, _FIELD),
        message_id=_read_short(elements, _MESSAGE_ID) if _MESSAGE_ID in elements else 0,
        has_data_set=_read_short(elements, _DATA_SET_TYPE) != NO_DATA_SET,
        sop_class=_read_uid(elements.get(_AFFECTED_CLASS, b"")),
        sop_instance=_read_uid(elements.get(_AFFECTED_INSTANCE, b"")),
    )


def _read_short(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element, b"")
    if len(value) != _SHORT.size:
        raise ValueError("a command set lacks a number")
    return int(_SHORT.unpack(value)[0])


def _read_uid(value: bytes) -> bytes:
    uid = value.rstrip(b"\0 ")
    return uid if len(uid) <= 64 and _UID.fullmatch(uid) else b""


def store_response(context_id: int, command: Command, status: int) -> bytes:
    """The P-DATA-TF PDU (PS3.8 section 9.3.5) that answers a C-STORE request."""
    elements = [
        *([(_AFFECTED_CLASS, _pad_even(command.sop_class))] if command.sop_class else []),
        (_FIELD, _SHORT.pack(C_STORE_RSP)),
        (_RESPONDED_TO, _SHORT.pack(command.message_id)),
        (_DATA_SET_TYPE, _SHORT.pack(NO_DATA_SET)),
        (_STATUS, _SHORT.pack(status)),
        *([(_AFFECTED_INSTANCE, _pad_even(command.sop_instance))] if command.sop_instance else []),
    ]
    body = b"".join(_HEAD.pack(0, element, len(value)) + value for element, value in elements)
    encoded = _HEAD.pack(0, 0, 4) + struct.pack("<I", len(body)) + body
    # The last fragment of a command: control header 3 (PS3.8 annex E.2).
    return struct.pack(">BBIIBB", 0x04, 0, len(encoded) + 6, len(encoded) + 2, context_id, 0x03) + encoded


def _pad_even(uid: bytes) -> bytes:
    return uid if len(uid) % 2 == 0 else uid + b"\0"


def file_head(sop_class: bytes, sop_instance: bytes, transfer_syntax: str, implementation: str) -> bytes:
    """Preamble and file meta information (PS3.10 section 7.1) of a data set received by the network."""

    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HH2sH", 2, number, b"UI", len(value)) + value

    version = struct.pack("<HH2sHI", 2, 0x0001, b"OB", 0, 2) + b"\0\1"
    body = (
        version
        + element(0x0002, _pad_even(sop_class))
        + element(0x0003, _pad_even(sop_instance))
        + element(0x0010, _pad_even(transfer_syntax.encode()))
        + element(0x0012, _pad_even(implementation.encode()))
    )
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body
