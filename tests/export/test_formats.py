# SPDX-License-Identifier: Apache-2.0
"""The registry of export formats."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

import pytest

from medhub.accounts.actor import Actor
from medhub.errors import Invalid
from medhub.export import service, transfer
from medhub.export.exported_records import SelectedImage
from medhub.export.formats import FORMATS, get_format
from medhub.export.formats.export_format import FileNaming, PackedImage, neutral_name
from medhub.foundation.app_context import AppContext
from medhub.records.models import Image
from tests.export.conftest import Known, on_sqlite
from tests.factories.accounts import People
from tests.factories.exports import findings, order, plant, read


class SizeListFormat:
    """A format of a few lines: a text file with the size of each signed image."""

    name = "sizes"
    title = "Sizes"
    picture_types: tuple[str, ...] = ()
    has_pixels = False
    has_dicom_headers = False
    compressed = True

    def exclusion_reason(self, app: AppContext, image: Image, label: str | None, pathway: str | None) -> str | None:
        return "blue" if label == "blue" else None

    def create_naming(self, picture: str | None) -> FileNaming:
        return SizeNaming()

    def read_file(self, app: AppContext, image: Image, picture: str | None) -> bytes:
        return f"{image.width} {image.height}".encode()

    def write_index_files(
        self, app: AppContext, export_id: str, images: Sequence[PackedImage], picture: str | None
    ) -> dict[str, bytes]:
        return {"count.txt": str(len(images)).encode()}


class SizeNaming:
    def name_file(self, number: int, image: SelectedImage) -> str | None:
        return f"sizes/{number}.txt"


@on_sqlite
def test_a_registered_format_is_selected_scanned_and_packed_as_it_says(
    app: AppContext, people: People, researcher: Actor, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "sizes", SizeListFormat())
    export_id = order(app, researcher, people.project_id, "sizes")
    export = read(app, export_id)
    assert (export.state, export.images, export.left_out) == ("ready", 3, {"blue": 1})
    with app.database.reading() as session:
        _, path = service.get_export_file(session, app.settings, researcher, export_id)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {
        *(f"sizes/{number}.txt" for number in (1, 2, 3)),
        *("count.txt", "metadata.csv", "metadata.json", "metadata.parquet"),
    }
    assert files["sizes/1.txt"] == b"48 48"
    assert files["count.txt"] == b"3"


class LeakingFormat(SizeListFormat):
    def write_index_files(
        self, app: AppContext, export_id: str, images: Sequence[PackedImage], picture: str | None
    ) -> dict[str, bytes]:
        return {"count.txt": b"3 images, seen by Abdullah"}


@on_sqlite
def test_the_index_files_of_every_format_are_scanned(
    app: AppContext, people: People, researcher: Actor, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "sizes", LeakingFormat())
    export_id = order(app, researcher, people.project_id, "sizes")
    assert read(app, export_id).state == "blocked"
    assert [(finding.location, finding.kind) for finding in findings(app, export_id)] == [
        ("count.txt", "known identity")
    ]


@on_sqlite
def test_a_format_without_headers_neither_counts_their_dates_nor_is_sent(
    app: AppContext, people: People, researcher: Actor, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "sizes", SizeListFormat())
    plant(app, known.images_of_siti[0], StudyDate="20260102")
    export = read(app, order(app, researcher, people.project_id, "sizes"))
    assert export.anonymity is not None
    assert "study_date" not in export.anonymity["columns"]
    with app.database.writing() as session, pytest.raises(service.ExportNotReady, match="Only an export of DICOM"):
        transfer.create_sending(session, researcher, export.id, "ELSEWHERE")


def test_every_format_states_what_the_protocol_asks() -> None:
    assert list(FORMATS) == ["dicom", "training", "metadata"]
    for name, export_format in FORMATS.items():
        assert export_format.name == name
        assert len(name) <= 8  # the column of the database
        assert export_format.title
    with pytest.raises(Invalid, match="no export format tar"):
        get_format("tar")


def test_neutral_names_fit_a_dicom_file_id_and_never_repeat() -> None:
    names = [neutral_name("IMG", number) for number in (1, 35, 36, 36**4 - 1)]
    assert names == ["IMG_0001", "IMG_000Z", "IMG_0010", "IMG_ZZZZ"]
