# SPDX-License-Identifier: Apache-2.0
"""The identifiers in a received file before it is cleaned: those of the patient, and those of the object."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_length
from medhub.science.imaging.dicom.received_file import is_deflated, is_dicom, parse_within, quiet

_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "study_uid": "StudyInstanceUID",
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "modality": "Modality",
}
_TAGS: list[BaseTag | int] = [tag for tag in map(tag_for_keyword, _KEYWORDS.values()) if tag is not None]
_LAST_TAG = max(map(int, _TAGS))
_MAX_CHARACTERS = 324  # a name of five components in three representations of up to 64 each (PS3.5, 6.2)


@dataclass(frozen=True)
class PatientIdentifiers:
    """The identifiers in a file, in memory only; empty where there are none.

    Attributes
    ----------
    patient_id, issuer, name, birth_date, sex
        Of the patient, as the file has them.
    study_uid, sop_class_uid, sop_instance_uid, modality, transfer_syntax_uid
        Of the object, as the file has them; an answer to the sender names the object by these.
    """

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    sex: str = ""
    study_uid: str = ""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    modality: str = ""
    transfer_syntax_uid: str = ""


def read_identifiers_of_files(files: list[bytes], limits: DecodingLimits) -> list[PatientIdentifiers | Unacceptable]:
    """Read the identifiers of several files, or why one cannot be read; see ``read_patient_identifiers``."""
    answers: list[PatientIdentifiers | Unacceptable] = []
    for data in files:
        try:
            answers.append(read_patient_identifiers(data, limits))
        except Unacceptable as refusal:
            answers.append(refusal)
    return answers


def read_patient_identifiers(data: bytes, limits: DecodingLimits) -> PatientIdentifiers:
    """Read the patient identifiers of a received DICOM file.

    Parameters
    ----------
    data
        The received bytes.
    limits
        The largest accepted file.

    Returns
    -------
    PatientIdentifiers

    Raises
    ------
    Unacceptable
        When it is not a DICOM file, or cannot be parsed.
    """
    refuse_length(data, limits)
    if not is_dicom(data):
        raise Unacceptable(
            "This file is not DICOM, so it does not name its patient. Upload it for a patient of your choice.",
            reason="unsupported",
        )
    with quiet():
        try:
            dataset = _parse_first_attributes(data, limits)
            values = {name: _text(dataset, keyword) for name, keyword in _KEYWORDS.items()}
            syntax = _text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
            return PatientIdentifiers(**values, transfer_syntax_uid=syntax)
        except (Unacceptable, MemoryError):
            raise
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            raise Unacceptable(
                "This DICOM file is damaged: it cannot be parsed. Copy or export it again from its source.",
                reason="damaged",
            ) from error


def _parse_first_attributes(data: bytes, limits: DecodingLimits) -> Dataset:
    """Parse up to the identifiers of patient and study; the rest is parsed when the file is cleaned."""
    if is_deflated(data):
        return parse_within(data, limits)[0]
    # As numbers: comparing tags themselves takes longer.
    return read_partial(
        BytesIO(data), stop_when=lambda tag, _vr, _length: int(tag) > _LAST_TAG, force=True, specific_tags=_TAGS
    )


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword, "") or "").replace("\x00", "").strip()[:_MAX_CHARACTERS]
    except Exception:  # a value that cannot be read counts as missing
        return ""
