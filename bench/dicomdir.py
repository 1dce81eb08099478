# SPDX-License-Identifier: Apache-2.0
"""Compare the DICOMDIR of ``write_dicomdir`` with that of pydicom's FileSet: ``python bench/dicomdir.py [FILES]``.

Objects of every kind that Medhub stores, de-identified ones with empty attributes, private and recent SOP classes, a
Japanese character set; then the time for many CT images. ``dcmdump`` of DCMTK judges both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.fileset import FileSet
from tests.factories import kinds
from tests.factories.cts import ct
from tests.science.imaging.pictures import CONTEXT

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.dicomdir import directory_facts, write_dicomdir


def make_objects() -> dict[str, bytes]:
    """Return objects by name: each kind as it is stored, and some that are harder."""
    context = replace(CONTEXT, profile=find_profile("research-max-utility"))
    limits = DecodingLimits()
    makers = {**kinds.KINDS, "document": (kinds.document, "document")}
    objects = {
        name: prepare_arrival(make(), context=context, limits=limits).dicom for name, (make, _) in makers.items()
    }
    objects["private SOP class"] = change(ct(), SOPClassUID="1.2.826.0.1.3680043.8.498.1")
    objects["photoacoustic image (2023)"] = change(ct(), SOPClassUID="1.2.840.10008.5.1.4.1.1.6.3")
    objects["microscopy annotations (2021)"] = change(ct(), SOPClassUID="1.2.840.10008.5.1.4.1.1.91.1")
    objects["empty study and patient attributes"] = change(ct(), StudyDate="", StudyTime="", StudyID="", PatientID="")
    objects["no study date, time and id"] = change(ct(), StudyDate=None, StudyTime=None, StudyID=None)
    japanese = {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "StudyDescription": "血液検査"}
    objects["Japanese character set"] = change(ct(), **japanese)
    return objects


def change(dicom: bytes, **elements: object) -> bytes:
    """Return a file with other elements; None deletes one."""
    file = pydicom.dcmread(BytesIO(dicom))
    for keyword, value in elements.items():
        if value is None:
            if keyword in file:
                delattr(file, keyword)
        else:
            setattr(file, keyword, value)
    if "SOPClassUID" in elements:
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
    buffer = BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


def write_ours(objects: list[bytes], folder: Path) -> None:
    """Write the directory by Medhub, beside the files."""
    entries = []
    for number, dicom in enumerate(objects):
        path = folder / "DICOM" / f"IMG_{number:04}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dicom)
        entries.append((path.relative_to(folder).as_posix(), directory_facts(dicom)))
    (folder / "DICOMDIR").write_bytes(write_dicomdir(entries, "2.25.99"))


def write_fileset(objects: list[bytes], folder: Path) -> None:
    """Write the directory and the files by pydicom."""
    files = FileSet()
    for dicom in objects:
        files.add(pydicom.dcmread(BytesIO(dicom)))
    files.write(folder)


def write_filled_fileset(objects: list[bytes], folder: Path) -> None:
    """Write by pydicom, with values in the files for what a directory may not leave empty."""
    filling = {
        **{"PatientID": "0", "StudyDate": "19000101", "StudyTime": "000000", "StudyID": "1", "SeriesNumber": 1},
        **{"InstanceNumber": 1, "ContentDate": "19000101", "ContentTime": "000000"},
    }
    # FileSet tells the kind of an object by these, so that they are filled only where they are present.
    labels = {
        **{"ContentLabel": "NONE", "PresentationCreationDate": "19000101", "PresentationCreationTime": "000000"},
        **{"RTPlanLabel": "NONE", "StructureSetLabel": "NONE"},
    }
    files = FileSet()
    for dicom in objects:
        file = pydicom.dcmread(BytesIO(dicom))
        for keyword, value in filling.items():
            if file.get(keyword) in (None, ""):
                setattr(file, keyword, value)
        for keyword, value in labels.items():
            if keyword in file and not file.get(keyword):
                setattr(file, keyword, value)
        files.add(file)
    files.write(folder)


def judge(write: Callable[[list[bytes], Path], None], dicom: bytes) -> str:
    """Return what came of one object: its record type, and what dcmdump complains of."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            write([dicom], folder)
        except Exception as error:
            return f"refused: {str(error).splitlines()[0][:120]}"
        records = list(pydicom.dcmread(folder / "DICOMDIR").DirectoryRecordSequence)
        empty = sorted({keyword for record in records for keyword in empty_keys(record)})
        sets = {str(record.get("SpecificCharacterSet", "")) for record in records}
        done = subprocess.run(["dcmdump", "--quiet", folder / "DICOMDIR"], capture_output=True, text=True, check=False)
        return "; ".join(
            [
                records[-1].DirectoryRecordType,
                *([f"empty: {', '.join(empty)}"] if empty else []),
                *([f"character sets {sorted(sets)}"] if sets != {""} and sets != {"ISO_IR 192"} else []),
                *([f"dcmdump: {done.stderr.splitlines()[0][:80]}"] if done.stderr else []),
            ]
        )


def empty_keys(record: Dataset) -> list[str]:
    """Return keys of type 1 that a record leaves empty (PS3.3, F.5)."""
    required = {
        "PATIENT": ("PatientID",),
        "STUDY": ("StudyDate", "StudyTime", "StudyInstanceUID", "StudyID"),
        "SERIES": ("Modality", "SeriesInstanceUID", "SeriesNumber"),
    }
    return [keyword for keyword in required.get(record.DirectoryRecordType, ()) if not record.get(keyword)]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    if shutil.which("dcmdump") is None:
        raise SystemExit("dcmdump of DCMTK is not installed.")
    warnings.simplefilter("ignore")
    print("| object | Medhub | FileSet | FileSet, empty values filled |\n|---|---|---|---|")
    for name, dicom in make_objects().items():
        print(
            f"| {name} | {judge(write_ours, dicom)} | {judge(write_fileset, dicom)} "
            f"| {judge(write_filled_fileset, dicom)} |",
            flush=True,
        )
    series = [
        change(ct(), SOPInstanceUID=f"1.2.3.{number}", SeriesInstanceUID=f"1.2.{number // 100}", InstanceNumber=number)
        for number in range(count)
    ]
    print(f"\n{count} CT images of {sum(map(len, series)) / 1e6:.0f} MB:")
    for label, write in (("Medhub", write_ours), ("FileSet, filled", write_filled_fileset)):
        with tempfile.TemporaryDirectory() as name:
            start, cpu = time.perf_counter(), time.process_time()
            write(series, Path(name))
            seconds = f"{time.process_time() - cpu:.1f} s of CPU, {time.perf_counter() - start:.1f} s"
            files = [path for path in Path(name).rglob("*") if path.is_file() and path.name != "DICOMDIR"]
            same = len({path.read_bytes() for path in files} & set(series))
            print(f"- {label}: {seconds}; {same} files are byte for byte as they were")


if __name__ == "__main__":
    main()
