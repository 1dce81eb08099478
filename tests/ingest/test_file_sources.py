# SPDX-License-Identifier: Apache-2.0
"""Files of ZIPs and media: names with any extension, and a DICOMDIR that does not fit the files beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.file_sources import FileSetRefused, Reader, find_files
from tests.factories.app_contexts import open_app
from tests.factories.cts import ct

NAMES = [
    *("a.MR", "b.CT", "c.img", "d.acr", "e.jp2", "f.bak", "g", "h.dcm", "i.001", "j.1.2.840.10008", "k.DICOM"),
    *("sub/l.v2", "sub.d/m.tmp", "n.txt"),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[AppContext]:
    with open_app(tmp_path_factory.mktemp("sources") / "data", isolation) as app:
        yield app


def names_of(app: AppContext, path: Path, missing: list[str] | None = None) -> list[str]:
    return [source.name for source in find_files(app, [path], missing)]


def test_a_zip_and_a_folder_give_the_same_files(app: AppContext, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    contents = {name: ct(SOPInstanceUID=f"1.2.3.{number}") for number, name in enumerate(NAMES)}
    contents |= {"readme.html": b"<p>no image", "short.bin": b"x", "empty.bin": b"", ".hidden": ct()}
    with zipfile.ZipFile(tmp_path / "files.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            archive.writestr(name, content)
    from_folder = {name.removeprefix(f"{folder}/") for name in names_of(app, folder)}
    sources = list(find_files(app, [tmp_path / "files.zip"]))
    assert {source.name.partition(": ")[2] for source in sources} == from_folder == set(NAMES)
    reader = Reader(app)
    for source in sources:
        assert reader.read(source) == contents[source.name.partition(": ")[2]]
    reader.close()


def medium(folder: Path, *names: str) -> Path:
    """A medium whose DICOMDIR lists files."""
    directory = Dataset()
    directory.FileSetID, directory.FileSetConsistencyFlag = "CD", 0
    directory.DirectoryRecordSequence = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType, record.RecordInUseFlag, record.ReferencedFileID = "IMAGE", 0xFFFF, name.split("/")
        directory.DirectoryRecordSequence.append(record)
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    (folder / "DICOM").mkdir(parents=True)
    dcmwrite(folder / "DICOMDIR", directory, enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "present",
    [
        "IM000001",
        "im000001",
        "IM000001.dcm",
        "im000001.DCM",
        "IM000001.ima",
        "IM000001.;1",
        "IM000001;1",
        "IM000001.dcm;1",
    ],
)
def test_a_directory_names_files_whose_names_a_file_system_has_changed(
    app: AppContext, tmp_path: Path, present: str
) -> None:
    folder = medium(tmp_path / "cd", "DICOM/IM000001")
    (folder / "DICOM" / present).write_bytes(ct())
    (folder / "DICOM" / "IM000001.txt").write_text("about the image")
    missing: list[str] = []
    (source,) = find_files(app, [folder], missing)
    assert (source.path.name, missing) == (present, [])


def test_the_exact_name_comes_before_one_with_an_extension(app: AppContext, tmp_path: Path) -> None:
    folder = medium(tmp_path / "cd", "DICOM/IM1", "DICOM/IM2")
    for name in ("IM1", "IM1.dcm", "im2.dcm", "im2"):
        (folder / "DICOM" / name).write_bytes(ct())
    assert [source.path.name for source in find_files(app, [folder])] == ["IM1", "im2"]


def test_files_of_a_medium_that_are_missing_are_named_and_the_others_are_read(app: AppContext, tmp_path: Path) -> None:
    folder = medium(tmp_path / "cd", "DICOM/IM1", "DICOM/IM2", "GONE/IM3", "DICOM/IM4")
    for name in ("IM1", "IM4.dcm"):
        (folder / "DICOM" / name).write_bytes(ct())
    missing: list[str] = []
    assert names_of(app, folder, missing) == ["DICOM/IM1", "DICOM/IM4"]
    assert missing == ["DICOM/IM2", "GONE/IM3"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("name", ["../secret", "DICOM/LINK", "LINKED/secret", "DICOM/IM9"])
def test_a_medium_that_leaves_its_folder_or_has_none_of_its_files_is_refused(
    app: AppContext, tmp_path: Path, name: str
) -> None:
    listed = ["DICOM/IM1", name] if name != "DICOM/IM9" else [name]
    folder = medium(tmp_path / "cd", *listed)
    (folder / "DICOM" / "IM1").write_bytes(ct())
    (tmp_path / "secret").write_bytes(ct())
    (folder / "DICOM" / "LINK.dcm").symlink_to(tmp_path / "secret")
    (folder / "LINKED").symlink_to(tmp_path)
    with pytest.raises(FileSetRefused, match="The DICOMDIR names"):
        list(find_files(app, [folder]))
