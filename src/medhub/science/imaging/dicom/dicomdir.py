# SPDX-License-Identifier: Apache-2.0
"""Writing a DICOMDIR: the directory of a DICOM file-set (PS3.3 annex F, PS3.10 section 8)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.directory_records import KEYS, WHERE_EMPTY, WITH_CONCEPT, record_type
from medhub.science.imaging.dicom.file_writing import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_LEVELS = ("PATIENT", "STUDY", "SERIES", "INSTANCE")
_CONCEPT = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "PATIENT": ("PatientName", "PatientID"),
    "STUDY": ("StudyDate", "StudyTime", "StudyDescription", "StudyInstanceUID", "StudyID", "AccessionNumber"),
    "SERIES": ("Modality", "SeriesInstanceUID", "SeriesNumber"),
}
# A directory may not leave these empty. A date of 1900 is what de-identified files use where there was none.
_WHERE_EMPTY = {**WHERE_EMPTY, "StudyDate": "19000101", "StudyTime": "000000", "StudyID": "1", "SeriesNumber": "1"}
_SEQUENCE_HEAD_BYTES = 12  # tag, VR, two reserved bytes, length
_ITEM_HEAD_BYTES = 8
_IN_USE = 0xFFFF

Entry = tuple[str, Mapping[str, str]]
"""The path of a file in the file-set, with slashes, and what ``directory_facts`` says of it."""


def directory_facts(dicom: bytes) -> dict[str, str]:
    """Read what a directory says of a file; for a process apart.

    Parameters
    ----------
    dicom
        The file.

    Returns
    -------
    dict[str, str]
        Values of the keys of its patient, study, series and image, and of its file meta information, by keyword.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = dcmread(BytesIO(dicom), stop_before_pixels=True)
        keywords = [keyword for level in _KEYS.values() for keyword in level]
        keywords += KEYS[record_type(str(file.SOPClassUID))]
        facts = {keyword: _text(value) for keyword in keywords if (value := file.get(keyword)) not in (None, "")}
        for item in list(file.get("ConceptNameCodeSequence") or ())[:1]:
            facts |= {f"Concept{name}": str(item.get(name) or "") for name in _CONCEPT}
        facts["ReferencedSOPClassUID"] = str(file.SOPClassUID)
        facts["ReferencedSOPInstanceUID"] = str(file.SOPInstanceUID)
        facts["ReferencedTransferSyntaxUID"] = str(file.file_meta.TransferSyntaxUID)
        sets = file.get("SpecificCharacterSet") or ""
        facts["CharacterSet"] = sets if isinstance(sets, str) else "\\".join(sets)
    return facts


def _text(value: object) -> str:
    return "\\".join(str(one) for one in value) if isinstance(value, MultiValue) else str(value)


def write_dicomdir(entries: Sequence[Entry], uid: str) -> bytes:
    """Write the directory of a file-set.

    Parameters
    ----------
    entries
        The files in their order: those of a series, of a study and of a patient stand together.
    uid
        SOP Instance UID of the directory itself.

    Returns
    -------
    bytes
        The file ``DICOMDIR``, which belongs beside the folders that the paths begin with.

    References
    ----------
    DICOM PS3.3 2026a section F.3.2.2, F.5.
    """
    tree = _Tree()
    for path, facts in entries:
        tree.add(path, facts)
    directory = Dataset()
    directory.FileSetID = "MEDHUB"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    offset = len(_written(directory, uid)) + _SEQUENCE_HEAD_BYTES
    offsets = []
    for record in tree.records:
        offsets.append(offset)
        offset += _ITEM_HEAD_BYTES + _length(record)
    for number, record in enumerate(tree.records):
        following, lower = tree.following[number], tree.lower[number]
        record.OffsetOfTheNextDirectoryRecord = offsets[following] if following is not None else 0
        record.OffsetOfReferencedLowerLevelDirectoryEntity = offsets[lower] if lower is not None else 0
    if tree.roots:
        directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = offsets[tree.roots[0]]
        directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = offsets[tree.roots[-1]]
    directory.DirectoryRecordSequence = DicomSequence(tree.records)
    return _written(directory, uid)


class _Tree:
    """The records in the order in which they are written, and which follows or lies below which."""

    def __init__(self) -> None:
        self.records: list[Dataset] = []
        self.following: list[int | None] = []
        self.lower: list[int | None] = []
        self.roots: list[int] = []
        self._open: list[tuple[str, int]] = []  # what the last file was of: identifier and record, level by level

    def add(self, path: str, facts: Mapping[str, str]) -> None:
        """Add a file, and those of its patient, study and series that the last one was not of."""
        identifiers = (
            facts.get("PatientID", ""),
            facts.get("StudyInstanceUID", ""),
            facts.get("SeriesInstanceUID", ""),
            facts["ReferencedSOPInstanceUID"],
        )
        depth = 0
        while depth < len(self._open) and depth < 3 and self._open[depth][0] == identifiers[depth]:
            depth += 1
        before = self._open[depth][1] if depth < len(self._open) else None
        self._open = self._open[:depth]
        for level in range(depth, len(_LEVELS)):
            number = self._append(_record(_LEVELS[level], path, facts))
            if before is not None:
                self.following[before] = number
            elif level:
                self.lower[self._open[level - 1][1]] = number
            if level == 0:
                self.roots.append(number)
            self._open.append((identifiers[level], number))
            before = None

    def _append(self, record: Dataset) -> int:
        self.records.append(record)
        self.following.append(None)
        self.lower.append(None)
        return len(self.records) - 1


def _record(level: str, path: str, facts: Mapping[str, str]) -> Dataset:
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = _IN_USE
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    kind = record_type(facts["ReferencedSOPClassUID"]) if level == "INSTANCE" else level
    record.DirectoryRecordType = kind
    if facts.get("CharacterSet"):
        record.SpecificCharacterSet = facts["CharacterSet"]
    for keyword in _KEYS[level] if level in _KEYS else KEYS[kind]:
        value = facts.get(keyword) or _WHERE_EMPTY.get(keyword, "")
        setattr(record, keyword, int(value) if dictionary_VR(keyword) in ("US", "UL") else value)
    if kind in WITH_CONCEPT:
        record.ConceptNameCodeSequence = DicomSequence(_concept(facts, empty=kind == "ENCAP DOC"))
    if level == "INSTANCE":
        record.ReferencedFileID = path.split("/")
        record.ReferencedSOPClassUIDInFile = facts["ReferencedSOPClassUID"]
        record.ReferencedSOPInstanceUIDInFile = facts["ReferencedSOPInstanceUID"]
        record.ReferencedTransferSyntaxUIDInFile = facts["ReferencedTransferSyntaxUID"]
    return record


def _concept(facts: Mapping[str, str], *, empty: bool) -> list[Dataset]:
    """What an object is, as it says itself; where it says nothing, that it is a report, or nothing where it may."""
    given = [facts.get(f"Concept{name}") for name in _CONCEPT]
    if not all(given) and empty:
        return []
    item = Dataset()
    values = given if all(given) else ["126000", "DCM", "Imaging Measurement Report"]
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = values
    return [item]


def _length(record: Dataset) -> int:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    return write_dataset(buffer, record)


def _written(directory: Dataset, uid: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    directory.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, directory, enforce_file_format=True)
    return buffer.getvalue()


def named_files(directory: bytes) -> list[list[str]]:
    """Read which files a received DICOMDIR names.

    Parameters
    ----------
    directory
        The bytes of the DICOMDIR.

    Returns
    -------
    list of list of str
        The components of each path (PS3.10, 8.5), as the directory writes them: whoever opens them checks them first.
        Records that are not in use are left out (PS3.3, F.3.2.2).

    Raises
    ------
    Unacceptable
        When it is no DICOMDIR, or damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(BytesIO(directory), force=True)
            records = dataset.DirectoryRecordSequence
            named = []
            for record in records:
                identifier = record.get("ReferencedFileID")
                if identifier and record.get("RecordInUseFlag", _IN_USE) == _IN_USE:
                    named.append([identifier] if isinstance(identifier, str) else [str(one) for one in identifier])
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            raise Unacceptable(
                "This DICOMDIR is damaged or none. Name the folders with the images instead.", reason="damaged"
            ) from error
    return named
