# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the audit chain: signed statements about its last entry, for storage on another machine."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from medhub.audit.chain import ACCEPTED
from medhub.audit.models import AuditEntry
from medhub.audit.service import AuditAct, append, verify_chain
from medhub.errors import Conflict, Invalid
from medhub.foundation import clock
from medhub.foundation.keys import Keys


@dataclass(frozen=True)
class Checkpoint:
    """An entry of the chain at a time."""

    seq: int
    hash: str
    at: str


def accept_gaps(session: Session, reason: str) -> None:
    """Note in the log that the operator knows why entries are missing; the log then counts as intact again."""
    if not reason.strip():
        raise Invalid("Give the reason for which entries are missing, for example the restored backup.", field="reason")
    append(session, [AuditAct(ACCEPTED, "audit", actor="command line", detail={"reason": reason.strip()})])


def make_checkpoint(session: Session, keys: Keys) -> str:
    """A signed statement about the last entry, as a line of JSON; refused if the chain is not intact."""
    check = verify_chain(session)
    if check.broken_at is not None:
        raise Conflict(f"The audit log is not intact at entry {check.broken_at}: {check.reason}")
    values = {"seq": check.entries, "hash": check.last_hash, "at": clock.iso(clock.now())}
    signature = _signing_key(keys).sign(_signed_text(values)).hex()
    return json.dumps({**values, "signature": signature})


def read_checkpoint(text: str, keys: Keys) -> Checkpoint:
    """A checkpoint that this installation has signed."""
    try:
        values = json.loads(text)
        signature = bytes.fromhex(values.pop("signature"))
        checkpoint = Checkpoint(int(values["seq"]), str(values["hash"]), str(values["at"]))
        _signing_key(keys).public_key().verify(signature, _signed_text(values))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("This is not a checkpoint of an audit log.", field="checkpoint") from error
    except InvalidSignature as error:
        raise Invalid(
            "The checkpoint was altered, or another installation has signed it.", field="checkpoint"
        ) from error
    return checkpoint


def contradiction(session: Session, checkpoint: Checkpoint) -> str | None:
    """What the chain says otherwise than a checkpoint, if anything."""
    if checkpoint.seq == 0:
        return None
    entry = session.get(AuditEntry, checkpoint.seq)
    if entry is None:
        return f"Entry {checkpoint.seq} is missing; it existed at the checkpoint of {checkpoint.at}."
    if entry.hash != checkpoint.hash:
        return f"Entry {checkpoint.seq} is not the one of the checkpoint of {checkpoint.at}."
    return None


def _signing_key(keys: Keys) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(keys.derive("audit-checkpoint"))


def _signed_text(values: dict[str, object]) -> bytes:
    return b"medhub audit checkpoint " + json.dumps(values, sort_keys=True).encode()
