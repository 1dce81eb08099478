# SPDX-License-Identifier: Apache-2.0
"""The DICOMDIR record type of each kind of object, and the keys that it must carry (PS3.3, F.4 and F.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from medhub.science.imaging.dicom.object_kinds import SEGMENTATION_CLASSES, class_name

_CONTENT: Final = ("InstanceNumber", "ContentDate", "ContentTime")
_LABELED: Final = (*_CONTENT, "ContentLabel", "ContentDescription", "ContentCreatorName")

KEYS: Mapping[str, tuple[str, ...]] = {
    "IMAGE": ("InstanceNumber",),
    "RT DOSE": ("InstanceNumber", "DoseSummationType"),
    "RT STRUCTURE SET": ("InstanceNumber", "StructureSetLabel", "StructureSetDate", "StructureSetTime"),
    "RT PLAN": ("InstanceNumber", "RTPlanLabel", "RTPlanDate", "RTPlanTime"),
    "RT TREAT RECORD": ("InstanceNumber", "TreatmentDate", "TreatmentTime"),
    "RADIOTHERAPY": ("InstanceNumber", "UserContentLabel", "ContentDescription", "ContentCreatorName"),
    "PRESENTATION": (
        *("InstanceNumber", "PresentationCreationDate", "PresentationCreationTime", "ContentLabel"),
        *("ContentDescription", "ContentCreatorName"),
    ),
    "WAVEFORM": _CONTENT,
    "SR DOCUMENT": (*_CONTENT, "CompletionFlag", "VerificationFlag"),
    "KEY OBJECT DOC": _CONTENT,
    "SPECTROSCOPY": (
        *(*_CONTENT, "ImageType", "NumberOfFrames", "Rows", "Columns", "DataPointRows", "DataPointColumns"),
    ),
    "RAW DATA": _CONTENT,
    "REGISTRATION": _LABELED,
    "FIDUCIAL": _LABELED,
    "VALUE MAP": _LABELED,
    "SURFACE": _LABELED,
    "TRACT": _LABELED,
    "ANNOTATION": _LABELED,
    "ENCAP DOC": (*_CONTENT, "DocumentTitle", "MIMETypeOfEncapsulatedDocument"),
    "STEREOMETRIC": ("InstanceNumber",),
    "MEASUREMENT": _CONTENT,
    "SURFACE SCAN": _CONTENT,
    "ASSESSMENT": ("InstanceNumber", "InstanceCreationDate", "InstanceCreationTime"),
    "PLAN": ("InstanceNumber",),
}
"""Record type to the keys that it must carry."""

CONCEPT_RECORDS = frozenset(("SR DOCUMENT", "KEY OBJECT DOC", "ENCAP DOC"))
"""Record types with the code of the object's title (Concept Name Code Sequence)."""

DEFAULT_VALUES: Mapping[str, str] = {
    **{"ContentDate": "19000101", "ContentTime": "000000", "InstanceNumber": "1", "DoseSummationType": "PLAN"},
    **{"PresentationCreationDate": "19000101", "PresentationCreationTime": "000000", "ContentLabel": "NONE"},
    **{"StructureSetLabel": "NONE", "RTPlanLabel": "NONE", "UserContentLabel": "NONE", "ImageType": "DERIVED"},
    **{"CompletionFlag": "PARTIAL", "VerificationFlag": "UNVERIFIED", "NumberOfFrames": "1", "Rows": "1"},
    **{"Columns": "1", "DataPointRows": "1", "DataPointColumns": "1", "InstanceCreationDate": "19000101"},
    **{"InstanceCreationTime": "000000", "MIMETypeOfEncapsulatedDocument": "application/octet-stream"},
}
"""Values for keys that a record may not leave empty where de-identification has emptied the attribute."""

# The first entry whose words occur in the name of the SOP class decides.
_BY_NAME: tuple[tuple[str, str], ...] = (
    ("Key Object Selection", "KEY OBJECT DOC"),
    (" SR ", "SR DOCUMENT"),
    ("Procedure Log", "SR DOCUMENT"),
    ("Image Storage", "IMAGE"),
    ("Presentation State", "PRESENTATION"),
    ("Waveform", "WAVEFORM"),
    ("Encapsulated", "ENCAP DOC"),
    ("RT Dose", "RT DOSE"),
    ("RT Structure Set", "RT STRUCTURE SET"),
    ("RT Plan", "RT PLAN"),
    ("RT Ion Plan", "RT PLAN"),
    ("Treatment Record", "RT TREAT RECORD"),
    ("Treatment Summary", "RT TREAT RECORD"),
    ("RT Beams Delivery", "PLAN"),
    ("RT Brachy Application", "PLAN"),
    ("RT ", "RADIOTHERAPY"),
    ("Radiation", "RADIOTHERAPY"),
    ("Spectroscopy", "SPECTROSCOPY"),
    ("Raw Data", "RAW DATA"),
    ("Registration", "REGISTRATION"),
    ("Fiducials", "FIDUCIAL"),
    ("Real World Value", "VALUE MAP"),
    ("Surface Segmentation", "SURFACE"),
    ("Surface Scan", "SURFACE SCAN"),
    ("Tractography", "TRACT"),
    ("Annotations", "ANNOTATION"),
    ("Stereometric", "STEREOMETRIC"),
    ("Assessment", "ASSESSMENT"),
    ("Measurements", "MEASUREMENT"),
    ("Report Storage", "MEASUREMENT"),
    ("Lens Calculations", "MEASUREMENT"),
    ("Volume Analysis", "MEASUREMENT"),
)


def record_type(sop_class_uid: str) -> str:
    """The type of the record of an object.

    Parameters
    ----------
    sop_class_uid
        SOP class of the object.

    Returns
    -------
    str
        A key of ``KEYS``; "IMAGE" for objects without a record type of their own.
    """
    if sop_class_uid in SEGMENTATION_CLASSES:
        return "IMAGE"
    name = class_name(sop_class_uid)
    return next((record for words, record in _BY_NAME if words in name), "IMAGE")
