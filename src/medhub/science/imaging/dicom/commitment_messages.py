# SPDX-License-Identifier: Apache-2.0
"""Data sets of storage commitment (PS3.4, J.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.received_file import quiet

_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class CommitmentRequest:
    """A request for storage commitment: the UID of the transaction, and SOP class and instance UID of each object."""

    transaction_uid: str
    references: tuple[tuple[str, str], ...]


def read_commitment_request(encoded: bytes, *, implicit_vr: bool) -> CommitmentRequest:
    """Read the action information of a request, little endian.

    Raises
    ------
    Unacceptable
        When it cannot be parsed, or has no transaction, no object, or an object without a valid UID.
    """
    with quiet():
        try:
            dataset = read_dataset(BytesIO(encoded), implicit_vr, True)
            transaction = str(dataset.TransactionUID)
            references = tuple(
                (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                for item in dataset.ReferencedSOPSequence
            )
        except Exception as error:  # a parser of hostile bytes may raise anything; all mean the same
            raise Unacceptable("This request cannot be parsed.", reason="damaged") from error
    uids = [transaction, *(uid for reference in references for uid in reference)]
    if not references or not all(map(_UID.fullmatch, uids)):
        raise Unacceptable("This request names no objects.", reason="damaged")
    return CommitmentRequest(transaction, references)


def write_commitment_result(
    transaction_uid: str,
    committed: Sequence[tuple[str, str]],
    failed: Sequence[tuple[str, str, int]],
    *,
    implicit_vr: bool,
) -> bytes:
    """Write the event information of a result, little endian: committed objects, and others with their reason."""
    with quiet():
        dataset = Dataset()
        dataset.TransactionUID = transaction_uid
        if committed:
            dataset.ReferencedSOPSequence = [_reference(*reference) for reference in committed]
        if failed:
            items = [_reference(sop_class, uid) for sop_class, uid, _ in failed]
            for item, (_, _, reason) in zip(items, failed, strict=True):
                item.FailureReason = reason
            dataset.FailedSOPSequence = items
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = implicit_vr, True
        write_dataset(stream, dataset)
        return bytes(stream.getvalue())


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item
