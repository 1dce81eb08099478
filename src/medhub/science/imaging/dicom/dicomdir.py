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
from medhub.science.imaging.dicom.directory_records import CONCEPT_RECORDS, DEFAULT_VALUES, KEYS, record_type
from medhub.science.imaging.dicom.file_writing import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_LEVELS = ("PATIENT", "STUDY", "SERIES", "INSTANCE")
_CONCEPT = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "PATIENT": ("PatientName", "PatientID"),
    "STUDY": ("StudyDate", "StudyTime", "StudyDescription", "StudyInstanceUID", "StudyID", "AccessionNumber"),
    "SERIES": ("Modality", "SeriesInstanceUID", "SeriesNumber"),
}
# A directory may not leave these empty. A date of 1900 is what de-identified files use where there was none.
_DEFAULTS = {**DEFAULT_VALUES, "StudyDate": "19000101", "StudyTime": "000000", "StudyID": "1", "SeriesNumber": "1"}
_SEQUENCE_HEAD_BYTES = 12  # tag, VR, two reserved bytes, length
_ITEM_HEAD_BYTES = 8
_IN_USE = 0xFFFF

Entry = tuple[str, Mapping[str, str]]
"""The path of a file in the file-set, with slashes, and its ``directory_facts``."""


def directory_facts(dicom: bytes) -> dict[str, str]:
    """Read what a directory states about a file; runs in an isolated process.

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
        facts = {
            keyword: _format_value(value) for keyword in keywords if (value := file.get(keyword)) not in (None, "")
        }
        for item in list(file.get("ConceptNameCodeSequence") or ())[:1]:
            facts |= {f"Concept{name}": str(item.get(name) or "") for name in _CONCEPT}
        facts["ReferencedSOPClassUID"] = str(file.SOPClassUID)
        facts["ReferencedSOPInstanceUID"] = str(file.SOPInstanceUID)
        facts["ReferencedTransferSyntaxUID"] = str(file.file_meta.TransferSyntaxUID)
        sets = file.get("SpecificCharacterSet") or ""
        facts["CharacterSet"] = sets if isinstance(sets, str) else "\\".join(sets)
    return facts


def _format_value(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def write_dicomdir(entries: Sequence[Entry], uid: str) -> bytes:
    """Write the directory of a file-set.

    Parameters
    ----------
    entries
        The files, grouped by patient, study and series.
    uid
        SOP Instance UID of the directory itself.

    Returns
    -------
    bytes
        The content of ``DICOMDIR``, which lies beside the first folders of the paths.

    References
    ----------
    DICOM PS3.3 2026a section F.3.2.2, F.5.
    """
    tree = _RecordTree()
    for path, facts in entries:
        tree.add(path, facts)
    directory = Dataset()
    directory.FileSetID = "MEDHUB"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    offset = len(_write_directory(directory, uid)) + _SEQUENCE_HEAD_BYTES
    offsets = []
    for record in tree.records:
        offsets.append(offset)
        offset += _ITEM_HEAD_BYTES + _measure_record(record)
    for number, record in enumerate(tree.records):
        following, lower = tree.following[number], tree.lower[number]
        record.OffsetOfTheNextDirectoryRecord = offsets[following] if following is not None else 0
        record.OffsetOfReferencedLowerLevelDirectoryEntity = offsets[lower] if lower is not None else 0
    if tree.roots:
        directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = offsets[tree.roots[0]]
        directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = offsets[tree.roots[-1]]
    directory.DirectoryRecordSequence = DicomSequence(tree.records)
    return _write_directory(directory, uid)


class _RecordTree:
    """The records in the order in which they are written, with the next record and the first lower record of each."""

    def __init__(self) -> None:
        self.records: list[Dataset] = []
        self.following: list[int | None] = []
        self.lower: list[int | None] = []
        self.roots: list[int] = []
        self._open: list[tuple[str, int]] = []  # identifier and record of each level of the last file

    def add(self, path: str, facts: Mapping[str, str]) -> None:
        """Add a file, with records for its patient, study and series where they differ from those of the last file."""
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
            number = self._append(_build_record(_LEVELS[level], path, facts))
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


def _build_record(level: str, path: str, facts: Mapping[str, str]) -> Dataset:
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = _IN_USE
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    kind = record_type(facts["ReferencedSOPClassUID"]) if level == "INSTANCE" else level
    record.DirectoryRecordType = kind
    if facts.get("CharacterSet"):
        record.SpecificCharacterSet = facts["CharacterSet"]
    for keyword in _KEYS[level] if level in _KEYS else KEYS[kind]:
        value = facts.get(keyword) or _DEFAULTS.get(keyword, "")
        setattr(record, keyword, int(value) if dictionary_VR(keyword) in ("US", "UL") else value)
    if kind in CONCEPT_RECORDS:
        record.ConceptNameCodeSequence = DicomSequence(_build_concept(facts, allow_empty=kind == "ENCAP DOC"))
    if level == "INSTANCE":
        record.ReferencedFileID = path.split("/")
        record.ReferencedSOPClassUIDInFile = facts["ReferencedSOPClassUID"]
        record.ReferencedSOPInstanceUIDInFile = facts["ReferencedSOPInstanceUID"]
        record.ReferencedTransferSyntaxUIDInFile = facts["ReferencedTransferSyntaxUID"]
    return record


def _build_concept(facts: Mapping[str, str], *, allow_empty: bool) -> list[Dataset]:
    """The code of an object's title: its own, otherwise that of a report, or none if the record allows it."""
    codes = [facts.get(f"Concept{name}") for name in _CONCEPT]
    if not all(codes) and allow_empty:
        return []
    item = Dataset()
    values = codes if all(codes) else ["126000", "DCM", "Imaging Measurement Report"]
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = values
    return [item]


def _measure_record(record: Dataset) -> int:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    return write_dataset(buffer, record)


def _write_directory(directory: Dataset, uid: str) -> bytes:
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


def read_file_ids(directory: bytes) -> list[list[str]]:
    """Read the files that a received DICOMDIR lists.

    Parameters
    ----------
    directory
        The bytes of the DICOMDIR.

    Returns
    -------
    list of list of str
        The components of each path (PS3.10, 8.5), unchecked: the caller checks them before it opens a file. Records
        that are not in use are left out (PS3.3, F.3.2.2).

    Raises
    ------
    Unacceptable
        When the bytes are no DICOMDIR, or damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(BytesIO(directory), force=True)
            records = dataset.DirectoryRecordSequence
            paths = []
            for record in records:
                identifier = record.get("ReferencedFileID")
                if identifier and record.get("RecordInUseFlag", _IN_USE) == _IN_USE:
                    paths.append([identifier] if isinstance(identifier, str) else [str(part) for part in identifier])
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            raise Unacceptable(
                "This DICOMDIR is damaged, or is none. Import the folders with the images instead.", reason="damaged"
            ) from error
    return paths
