# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.fileset import FileSet

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.dicom.dicomdir import directory_facts, write_dicomdir
from tests.conftest import missing
from tests.factories import kinds
from tests.factories.exports import clean
from tests.science.imaging.pictures import CONTEXT, LIMITS

NAMES = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "ReferencedSOPInstanceUIDInFile",
}


@pytest.fixture
def file_set(tmp_path: Path) -> Path:
    """A file-set of two patients, of whom one has two studies, on disk."""
    entries = []
    for number, (patient, study) in enumerate((("A", 1), ("A", 1), ("A", 2), ("B", 3))):
        file = pydicom.dcmread(BytesIO(clean("red", 500 + number)))
        file.PatientID = file.PatientName = f"P-7F3KQ{patient}"
        file.StudyInstanceUID, file.SeriesInstanceUID = f"2.25.{study}", f"2.25.{study}0"
        file.StudyDescription = "Größe"  # letters that need a character set
        path = tmp_path / "DICOM" / f"PAT_{patient}" / f"IMG_000{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save_as(path)
        entries.append((path.relative_to(tmp_path).as_posix(), directory_facts(path.read_bytes())))
    (tmp_path / "DICOMDIR").write_bytes(write_dicomdir(entries, "2.25.99"))
    return tmp_path


def test_every_offset_leads_to_the_record_that_is_meant(file_set: Path) -> None:
    directory = pydicom.dcmread(file_set / "DICOMDIR")
    at = {record.seq_item_tell: record for record in directory.DirectoryRecordSequence}

    def walk(offset: int) -> list[Any]:
        nodes = []
        while offset:
            record = at[offset]
            lower = walk(record.OffsetOfReferencedLowerLevelDirectoryEntity)
            name = str(record[NAMES[record.DirectoryRecordType]].value)
            nodes.append((name, lower) if lower else name)
            last, offset = offset, record.OffsetOfTheNextDirectoryRecord
        if nodes and nodes[0][0].startswith("P-"):
            assert directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity == last
        return nodes

    images = [pydicom.dcmread(path).SOPInstanceUID for path in sorted((file_set / "DICOM").rglob("IMG*"))]
    assert walk(directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity) == [
        ("P-7F3KQA", [("2.25.1", [("2.25.10", images[:2])]), ("2.25.2", [("2.25.20", images[2:3])])]),
        ("P-7F3KQB", [("2.25.3", [("2.25.30", images[3:])])]),
    ]


def test_every_file_that_is_named_is_there(file_set: Path) -> None:
    directory = pydicom.dcmread(file_set / "DICOMDIR")
    named = [record for record in directory.DirectoryRecordSequence if record.DirectoryRecordType == "IMAGE"]
    for record in named:
        file = pydicom.dcmread(file_set.joinpath(*record.ReferencedFileID))
        assert file.SOPInstanceUID == record.ReferencedSOPInstanceUIDInFile
        assert file.file_meta.TransferSyntaxUID == record.ReferencedTransferSyntaxUIDInFile
    assert len(named) == 4


def test_a_directory_leaves_nothing_empty_that_it_may_not(file_set: Path) -> None:
    directory = pydicom.dcmread(file_set / "DICOMDIR")
    studies = [record for record in directory.DirectoryRecordSequence if record.DirectoryRecordType == "STUDY"]
    assert {(record.StudyDate, record.StudyTime, record.StudyID) for record in studies} == {("19000101", "000000", "1")}


def test_dcmtk_reads_a_directory_without_a_complaint(file_set: Path) -> None:
    if shutil.which("dcmdump") is None:
        missing("dcmdump of DCMTK")
    ended = subprocess.run(["dcmdump", "+L", "DICOMDIR"], cwd=file_set, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("IMAGE") >= 4


def test_objects_of_every_kind_have_records_of_their_own_that_say_what_they_must(tmp_path: Path) -> None:
    context = replace(CONTEXT, profile=find_profile("research-max-utility"))
    entries = []
    makers = {**kinds.KINDS, "document": (kinds.document, "document")}
    for number, (make, _) in enumerate(makers.values()):
        prepared = prepare_arrival(make(), context=context, limits=LIMITS)
        path = tmp_path / "DICOM" / f"IMG_{number:04}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(prepared.dicom)
        entries.append((path.relative_to(tmp_path).as_posix(), directory_facts(prepared.dicom)))
    (tmp_path / "DICOMDIR").write_bytes(write_dicomdir(entries, "2.25.99"))
    records = pydicom.dcmread(tmp_path / "DICOMDIR").DirectoryRecordSequence
    instances = {record.DirectoryRecordType: record for record in records if "ReferencedFileID" in record}
    assert list(instances) == [
        *("SR DOCUMENT", "WAVEFORM", "IMAGE", "RT PLAN", "RT STRUCTURE SET", "PRESENTATION", "KEY OBJECT DOC"),
        *("REGISTRATION", "ENCAP DOC"),
    ]
    assert instances["SR DOCUMENT"].ConceptNameCodeSequence[0].CodeValue == "126000"
    assert instances["SR DOCUMENT"].CompletionFlag == "COMPLETE"
    assert instances["ENCAP DOC"].MIMETypeOfEncapsulatedDocument == "application/pdf"
    if not shutil.which("dcmdump"):
        missing("dcmdump of DCMTK")
    done = subprocess.run(
        ["dcmdump", "--quiet", str(tmp_path / "DICOMDIR")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    read = FileSet(tmp_path / "DICOMDIR")
    assert len(read) == len(entries)
    read._stage["t"].cleanup()  # its own folder, which it would leave to the end of the process
