# SPDX-License-Identifier: Apache-2.0
"""Strings that occur nowhere else are planted wherever a file or a form could name a person, and searched everywhere.

Nothing identifying may be written before it is cleaned: no file, no row, no log line, no figure, no job. Outside of the
vault's sealed bytes, in which nothing can be read, there must not be a single hit.
"""

from __future__ import annotations

import io
import json
import logging as standard
import os
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from PIL import ExifTags, Image, ImageDraw, ImageFont, PngImagePlugin
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage, SecondaryCaptureImageStorage
from pypdf import PdfReader
from sqlalchemy import text
from typer.testing import CliRunner

from medhub.accounts.permissions import Role
from medhub.entrypoints.cli import cli
from medhub.entrypoints.web import create_app
from medhub.export import export_scan
from medhub.foundation import logging
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base
from medhub.records import vault
from medhub.records.models import Identity
from medhub.science.deid.phi_scan.scanner import PhiScanner
from tests.factories.accounts import People, client_of
from tests.factories.cases import run_jobs, use_classifier
from tests.factories.images import in_doubt, photograph


class Canaries:
    """Makes strings that occur nowhere else, and finds them in whatever form they were written."""

    def __init__(self) -> None:
        self.planted: list[str] = []

    def new(self, where: str) -> str:
        """A string to be planted somewhere."""
        canary = f"Kanari{where}{os.urandom(5).hex()}"
        self.planted.append(canary)
        return canary

    def uid(self) -> str:
        """A DICOM UID to be planted."""
        canary = f"2.25.{int.from_bytes(os.urandom(12))}"
        self.planted.append(canary)
        return canary

    def in_bytes(self, data: bytes) -> list[str]:
        """The strings that are in some bytes, whatever their case, in UTF-8, UTF-16 or as hexadecimal digits."""
        lowered = data.lower()
        return [
            canary
            for canary in self.planted
            if any(
                form in lowered
                for form in (
                    canary.lower().encode(),
                    canary.lower().encode("utf-16-le"),
                    canary.lower().encode("utf-16-be"),
                    canary.encode().hex().encode(),
                )
            )
        ]


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


def jpeg(canaries: Canaries, seed: int) -> bytes:
    """A JPEG file with EXIF, GPS, XMP, comments and bytes behind its end."""
    exif = Image.Exif()
    for tag in (ExifTags.Base.ImageDescription, ExifTags.Base.Artist, ExifTags.Base.Make, ExifTags.Base.Software):
        exif[tag] = canaries.new(tag.name)
    exif[ExifTags.Base.XPComment] = canaries.new("XPComment").encode("utf-16-le")
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.UserComment] = b"ASCII\x00\x00\x00" + canaries.new("UserComment").encode()
    details[ExifTags.Base.CameraOwnerName] = canaries.new("Owner")
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSAreaInformation] = canaries.new("Gps").encode()
    buffer = io.BytesIO()
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{canaries.new('Xmp')}</x:xmpmeta>"
    with Image.open(io.BytesIO(photograph(seed))) as picture:
        picture.save(buffer, "JPEG", exif=exif, comment=canaries.new("Comment"), xmp=xmp.encode())
    content = buffer.getvalue()
    app13 = b"Photoshop 3.0\x00" + canaries.new("App13").encode()
    segment = b"\xff\xed" + struct.pack(">H", len(app13) + 2) + app13
    return content[:2] + segment + content[2:] + canaries.new("Behind").encode()


def png(canaries: Canaries, seed: int) -> bytes:
    """A PNG file with texts, open and compressed, and EXIF."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", canaries.new("Text"))
    info.add_text("Comment", canaries.new("Compressed"), zip=True)
    info.add_itxt("Title", canaries.new("International"), lang="ms", tkey=canaries.new("Key"))
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = canaries.new("PngExif")
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(photograph(seed, form="PNG"))) as picture:
        picture.save(buffer, "PNG", pnginfo=info, exif=exif)
    content = buffer.getvalue()
    private = b"prVt" + canaries.new("Chunk").encode()
    chunk = struct.pack(">I", len(private) - 4) + private + struct.pack(">I", zlib.crc32(private))
    return content[:33] + chunk + content[33:]


def tiff(canaries: Canaries, seed: int) -> bytes:
    """A TIFF file with its description and artist."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(photograph(seed, form="PNG"))) as picture:
        named = {270: canaries.new("Description"), 315: canaries.new("TiffArtist"), 316: canaries.new("Host")}
        picture.save(buffer, "TIFF", tiffinfo=named)
    return buffer.getvalue()


def webp(canaries: Canaries, seed: int) -> bytes:
    """A WebP file with EXIF and XMP."""
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = canaries.new("WebpArtist")
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(photograph(seed, form="PNG"))) as picture:
        picture.save(buffer, "WEBP", exif=exif, xmp=f"<x>{canaries.new('WebpXmp')}</x>".encode())
    return buffer.getvalue()


def dicom(canaries: Canaries) -> bytes:
    """A DICOM file that names its patient wherever it can: preamble, header, sequences, private and file meta group."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, canaries.uid())
    dataset.Modality = "OT"
    dataset.PatientName = f"{canaries.new('Family')}^{canaries.new('Given')}"
    dataset.PatientID = canaries.new("Id")
    dataset.PatientBirthDate = "19790111"
    for keyword in (
        "OtherPatientNames", "InstitutionName", "ReferringPhysicianName", "OperatorsName", "StudyDescription",
        "PatientComments", "ImageComments", "PatientAddress", "DerivationDescription", "Manufacturer",
        "SeriesDescription", "ProtocolName", "AdditionalPatientHistory",
    ):  # fmt: skip
        setattr(dataset, keyword, canaries.new(keyword[:16]))
    inner, outer = Dataset(), Dataset()
    inner.PatientName = canaries.new("Nested")
    inner.CodeValue = canaries.new("Code")[:16]
    inner.CodeMeaning = canaries.new("Meaning")
    outer.TextValue = canaries.new("Outer")
    outer.ConceptNameCodeSequence = Sequence([inner])
    dataset.RequestAttributesSequence = Sequence([outer])
    block = dataset.private_block(0x0099, canaries.new("Creator"), create=True)
    block.add_new(0x01, "LO", canaries.new("Private"))
    nested = Dataset()
    nested.PatientName = canaries.new("PrivateNested")
    block.add_new(0x02, "SQ", Sequence([nested]))
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000022, "LO", canaries.new("Overlay"))
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes(range(64)) * 64
    dataset.DataSetTrailingPadding = canaries.new("Padding").encode()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = canaries.new("Ae")[:16]
    meta.PrivateInformationCreatorUID = UID(canaries.uid())
    meta.PrivateInformation = canaries.new("MetaPrivate").encode()
    dataset.file_meta = meta
    dataset.preamble = canaries.new("Preamble").encode().ljust(128, b"\x00")
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def half(data: bytes) -> bytes:
    """What arrives of a file when the connection breaks."""
    return data[: len(data) // 2]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bytes]]:
    """All that the program logs, by whatever library."""
    root = standard.getLogger()
    handlers, level = list(root.handlers), root.level
    path = tmp_path / "program.log"
    with path.open("w", buffering=1) as file:
        monkeypatch.setattr(sys, "stderr", file)
        logging.configure()
        yield path.read_bytes
        monkeypatch.undo()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, so that what is left there is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def rows_of(app: AppContext, *tables: str) -> bytes:
    """All rows of some tables, or of all, as text."""
    names = tables or tuple(table.name for table in Base.metadata.sorted_tables)
    with app.database.reading() as session:
        rows = [str(row) for name in names for row in session.execute(text(f"SELECT * FROM {name}"))]  # noqa: S608
    return "\n".join(rows).encode()


def upload(client: TestClient, patient_id: str, files: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    answer = client.post(
        "/api/images",
        data={"patient_id": patient_id, "pathway": "smear-review"},
        files=[("files", (name, data, "image/jpeg")) for name, data in files],
    )
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_what_names_a_person_is_found_nowhere(
    app: AppContext,
    people: People,
    canaries: Canaries,
    written: Callable[[], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_classifier(monkeypatch, 0.6, 0.97)
    web_app = create_app(app, run_jobs=False)
    technologist, physician, viewer = (
        client_of(web_app, app, f"{role}@lab.example") for role in (Role.TECHNOLOGIST, Role.PHYSICIAN, Role.VIEWER)
    )
    nobody = TestClient(web_app, raise_server_exceptions=False)

    # Who the patient is.
    identity = {
        "name": f"{canaries.new('Name')} {canaries.new('Surname')}",
        "hospital_number": canaries.new("Number"),
        "email": f"{canaries.new('Mail')}@mail.example",
        "phone": canaries.new("Phone"),
    }
    patient_id = technologist.post("/api/patients", json={"sex": "F", "identity": identity}).json()["id"]

    # Files that say more than they should, under names that do too; and those that cannot be accepted.
    taken = [
        (f"{canaries.new('File')}.jpg", jpeg(canaries, 1)),
        (f"{canaries.new('File')}.png", png(canaries, 2)),
        (f"{canaries.new('File')}.tif", tiff(canaries, 3)),
        (f"{canaries.new('File')}.webp", webp(canaries, 4)),
        (f"../../{canaries.new('Path')}/x.jpg", jpeg(canaries, 5)),
    ]
    refused = [
        (f"{canaries.new('Letter')}.jpg", f"Dear doctor, this is {canaries.new('LetterText')}".encode() * 3),
        (f"{canaries.new('Cut')}.jpg", half(jpeg(canaries, 6))),
        (f"{canaries.new('Cut')}.png", half(png(canaries, 7))),
        (f"{canaries.new('CutDicom')}.dcm", dicom(canaries)[:900]),
    ]
    with_header = [(f"{canaries.new('Dicom')}.dcm", dicom(canaries))]
    for _name, data in (*taken, *refused, *with_header):
        assert canaries.in_bytes(data), "a file without a canary proves nothing"
    items = upload(technologist, patient_id, [*taken, *refused])
    assert [item["outcome"] for item in items] == ["accepted"] * len(taken) + ["quarantined"] * len(refused)
    assert [item["filename"] for item in items[:4]] == [name for name, _ in taken[:4]]  # sent back, never kept
    for item in items:
        assert item["reason"] is None or not canaries.in_bytes(item["reason"].encode())
    assert [item["outcome"] for item in upload(technologist, patient_id, with_header)] == ["accepted"]
    assert [item["outcome"] for item in upload(technologist, patient_id, taken[:1])] == ["duplicate"]

    # A day's work: found by name, read, verified with notes, signed, reported.
    note = canaries.new("Note")
    for query in (*identity["name"].split(), identity["hospital_number"], identity["phone"]):
        assert technologist.get("/api/patients", params={"query": query}).json()["total"] == 1
    run_jobs(app)
    images = physician.get("/api/images", params={"patient_id": patient_id}).json()["items"]
    verdicts = [image for image in images if image["state"] != "archived"]
    for image in images:
        given = physician.put(f"/api/images/{image['id']}/verdict", json={"label": "neutrophil", "note": note})
        # A DICOM file of another modality goes along no pathway.
        assert given.status_code == (409 if image["state"] == "archived" else 200), given.text
    cases = [case["id"] for case in physician.get("/api/cases").json()["items"]]
    for case_id in cases:
        assert physician.post(f"/api/cases/{case_id}/sign", json={"note": note}).status_code == 200
    run_jobs(app)
    for case_id in cases:
        report = physician.get(f"/api/cases/{case_id}/report.pdf")
        assert report.status_code == 200

    # What leaves says nothing of anybody, in whatever form.
    researcher = client_of(web_app, app, f"{Role.RESEARCHER}@lab.example")
    monkeypatch.setattr(export_scan, "READ_PIXELS", False)
    for form in ({"form": "dicom"}, {"form": "training", "picture": "jpeg"}, {"form": "metadata"}):
        export_id = researcher.post("/api/exports", json={"selection": "project", **form}).json()["id"]
        run_jobs(app)
        export = researcher.get(f"/api/exports/{export_id}").json()
        # A data set for training has the signed images alone.
        expected = len(verdicts) if form["form"] == "training" else len(taken) + len(with_header)
        assert (export["state"], export["images"]) == ("ready", expected), export
        with zipfile.ZipFile(io.BytesIO(researcher.get(f"/api/exports/{export_id}/file").content)) as archive:
            for member in archive.namelist():
                assert canaries.in_bytes(member.encode() + archive.read(member)) == [], member

    # What goes wrong tells nothing either.
    nobody.post("/api/auth/token", data={"username": f"{canaries.new('Guess')}@x.example", "password": "x" * 20})
    nobody.get(f"/api/{canaries.new('Route')}")
    technologist.get(f"/api/patients/{canaries.new('NoId')}")
    technologist.post("/api/patients", json={canaries.new("Member"): 1})
    technologist.post("/api/patients", json={"fields": {"x": canaries.new("Value")}})
    technologist.get("/api/patients", params={"sort": canaries.new("Sort")})
    technologist.post("/api/images", content=canaries.new("Body").encode())
    technologist.post(
        "/api/images",
        data={"patient_id": canaries.new("Whose"), "pathway": "smear-review"},
        files=[("files", ("a", b"x"))],
    )

    canaries.planted.remove(note)
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            assert canaries.in_bytes(path.read_bytes()) == [], path
            assert canaries.in_bytes(str(path).encode()) == []
    assert canaries.in_bytes(rows_of(app)) == []

    # A note belongs to verdicts, to the case and its report; not to logs, figures, jobs, acts or open bytes.
    canaries.planted.append(note)
    assert canaries.in_bytes(rows_of(app, "verdicts")) == [note]
    assert canaries.in_bytes(rows_of(app, "jobs", "audit_entries", "predictions", "arrivals", "images")) == []
    for digest in app.blobs.digests():
        assert canaries.in_bytes(app.blobs.get(digest)) == []
    assert canaries.in_bytes(nobody.get("/metrics").content) == []
    log = written()
    assert canaries.in_bytes(log) == [], log.decode()[:2000]

    # And a viewer is shown none of it.
    canaries.planted.remove(note)
    for address in seen_by_a_viewer(viewer, patient_id):
        shown = viewer.get(address)
        assert shown.status_code == 200, address
        content = shown.content
        if address.endswith("report.pdf"):
            content += "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages).encode()
        assert canaries.in_bytes(content) == [], address


def named_in_pixels(words: str) -> bytes:
    """A photograph with a name in the picture itself."""
    with Image.open(io.BytesIO(photograph(7, size=400))) as picture:
        ImageDraw.Draw(picture).text((24, 40), words, fill=(0, 0, 0), font=ImageFont.load_default(28))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def packed(canaries: Canaries) -> bytes:
    """A ZIP that names somebody in its comment, its members' names and their comments."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(f"{canaries.new('Member')}/x.jpg")
        member.comment = canaries.new("MemberComment").encode()
        archive.writestr(member, jpeg(canaries, 8))
        archive.comment = canaries.new("ZipComment").encode()
    return buffer.getvalue()


def directory(canaries: Canaries) -> bytes:
    """An index of files, as on a CD: it names the patients of all that it lists."""
    record = Dataset()
    record.DirectoryRecordType, record.PatientName = "PATIENT", canaries.new("DirPatient")
    record.PatientID, record.ReferencedFileID = canaries.new("DirId"), [canaries.new("DirFile")[:8].upper()]
    dataset = Dataset()
    dataset.FileSetID, dataset.DirectoryRecordSequence = canaries.new("FileSet")[:16].upper(), Sequence([record])
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(canaries.uid())
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def test_what_names_a_person_is_left_behind_at_every_other_door(
    app: AppContext,
    people: People,
    canaries: Canaries,
    written: Callable[[], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_classifier(monkeypatch, 0.97)
    web_app = create_app(app, run_jobs=False)
    technologist, administrator, researcher = (
        client_of(web_app, app, f"{role}@lab.example")
        for role in (Role.TECHNOLOGIST, Role.ADMINISTRATOR, Role.RESEARCHER)
    )
    # The project keeps what files say of the person: in the vault, and nowhere else.
    chosen = {"name": "clinical-photo", "keep_identity": True}
    assert administrator.put(f"/api/projects/{people.project_id}/profile", json=chosen).status_code == 200
    patient_id = technologist.post("/api/patients", json={"sex": "F"}).json()["id"]
    family = "Wisniewska"
    canaries.planted.append(family)
    doubtful = in_doubt(5).replace(b"Rahman^Aisha", f"{family}^A".encode().ljust(12)[:12])

    # Previewed, uploaded, held back, looked at, released, discarded.
    shown = technologist.post(
        f"/api/projects/{people.project_id}/profile/preview",
        data={"name": "clinical-photo"},
        files=[("files", ("a.dcm", dicom(canaries))), ("files", ("b.jpg", jpeg(canaries, 9)))],
    )
    assert shown.status_code == 200, shown.text
    assert canaries.in_bytes(shown.content) == []
    items = upload(
        technologist,
        patient_id,
        [
            (f"{family}.jpg", named_in_pixels(f"{family.upper()} ANNA 1979")),
            ("screen.dcm", doubtful),
            (f"{canaries.new('Zip')}.zip", packed(canaries)),
            ("DICOMDIR", directory(canaries)),
        ],
    )
    assert [item["outcome"] for item in items] == ["accepted", "quarantined", "quarantined", "quarantined"]
    waiting = technologist.get("/api/arrivals", params={"outcome": "quarantined"}).json()["items"]
    for job in waiting:
        address = f"/api/arrivals/{job['id']}"
        opened = technologist.get(address).json()
        if opened["rows"]:
            assert technologist.get(f"{address}/frames/1").status_code == 200
            done = technologist.post(f"{address}/release", json={"boxes": [[1, 0, 0, 9, 9]], "note": "Looked at."})
            assert done.status_code == 200, done.text
        else:
            assert technologist.post(f"{address}/discard", json={"note": "No image."}).status_code == 200
    with app.database.reading() as session:
        identity = vault.read_identity(app.keys, session.get(Identity, patient_id))
    assert identity is not None
    assert family[:8] in identity["name"]
    run_jobs(app)

    # It leaves for research.
    for form in ("dicom", "metadata"):
        order = {"project_id": people.project_id, "form": form, "selection": "project"}
        order_response = researcher.post("/api/exports", json=order)
        assert order_response.status_code in (200, 201), order_response.text
        run_jobs(app)
        export = researcher.get(f"/api/exports/{order_response.json()['id']}").json()
        assert export["state"] == "ready", export
        got = researcher.get(f"/api/exports/{export['id']}/file")
        assert got.status_code == 200
        with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
            names = archive.namelist()
            assert canaries.in_bytes("\n".join(names).encode()) == []
            for name in names:
                content = archive.read(name)
                assert canaries.in_bytes(content) == [], name
                assert "known identity" not in {job.kind for job in PhiScanner([family]).scan(name, content)}, name

    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            assert canaries.in_bytes(path.read_bytes()) == [], path
            assert canaries.in_bytes(str(path).encode()) == []
    assert canaries.in_bytes(rows_of(app)) == []
    assert canaries.in_bytes(TestClient(web_app).get("/metrics").content) == []
    log = written()
    assert canaries.in_bytes(log) == [], log.decode()[:2000]


def test_the_command_line_leaves_it_behind_too(
    canaries: Canaries, tmp_path: Path, written: Callable[[], bytes]
) -> None:
    source = tmp_path / "in" / canaries.new("Folder")
    source.mkdir(parents=True)
    files = {
        f"{canaries.new('File')}.dcm": dicom(canaries),
        f"{canaries.new('File')}.jpg": jpeg(canaries, 1),
        f"{canaries.new('File')}.png": png(canaries, 2),
        f"{canaries.new('File')}.zip": packed(canaries),
        "DICOMDIR": directory(canaries),
    }
    for name, data in files.items():
        (source / name).write_bytes(data)
    out, manifest = tmp_path / "out", tmp_path / "in" / "manifest.jsonl"
    arguments = ["deid", str(tmp_path / "in"), str(out), "--manifest", str(manifest), "--quiet"]
    done = CliRunner().invoke(cli, [*arguments, "--profile", "clinical-photo"])
    assert done.exit_code == 1, done.output  # ZIP and DICOMDIR wait
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["outcome"] for line in lines].count("cleaned") == 3, [line["reason"] for line in lines]
    assert canaries.in_bytes(done.output.encode()) == []
    for line in lines:
        assert canaries.in_bytes(json.dumps({**line, "input": ""}).encode()) == []
    for path in sorted(out.rglob("*")):
        assert canaries.in_bytes(str(path.relative_to(out)).encode()) == []
        if path.is_file():
            assert canaries.in_bytes(path.read_bytes()) == [], path
    assert canaries.in_bytes(written()) == []


def seen_by_a_viewer(viewer: TestClient, patient_id: str) -> list[str]:
    images = [row["id"] for row in viewer.get("/api/images", params={"patient_id": patient_id}).json()["items"]]
    cases = [row["id"] for row in viewer.get("/api/cases").json()["items"]]
    assert len(images) == 6
    return [
        "/api/patients",
        f"/api/patients/{patient_id}",
        f"/api/patients/{patient_id}/summary",
        "/api/images",
        "/api/cases",
        "/api/reports",
        "/api/studies",
        "/api/series",
        *(
            f"/api/images/{image}{part}"
            for image in images
            for part in ("", "/original", "/rendered", "/original?form=dicom")
        ),
        *(f"/api/cases/{case}{part}" for case in cases for part in ("", "/report.pdf")),
    ]


def test_a_canary_is_found_in_every_form_in_which_it_could_be_written(canaries: Canaries) -> None:
    canary = canaries.new("Form")
    for written_as in (
        canary.encode(),
        canary.upper().encode(),
        canary.encode("utf-16-le"),
        canary.encode("utf-16-be"),
        canary.encode().hex().encode(),
    ):
        assert canaries.in_bytes(b"\x00before " + written_as + b" behind") == [canary]
    assert canaries.in_bytes(b"nothing") == []


def test_a_failure_of_medhub_itself_tells_no_more_than_its_kind(
    app: AppContext,
    people: People,
    canaries: Canaries,
    written: Callable[[], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = canaries.new("Broken")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot read {name}")

    monkeypatch.setattr("medhub.records.service.list_patients", broken)
    monkeypatch.setattr("medhub.records.isolated_calls.prepare_files", broken)
    web_app = create_app(app, run_jobs=False)
    technologist = client_of(web_app, app, f"{Role.TECHNOLOGIST}@lab.example")
    patient_id = technologist.post("/api/patients", json={}).json()["id"]
    answer = technologist.get("/api/patients")
    assert answer.status_code == 500
    assert name not in answer.text
    sent = technologist.post(
        "/api/images",
        data={"patient_id": patient_id, "pathway": "smear-review"},
        files=[("files", (f"{name}.jpg", photograph(1)))],
    )
    assert sent.status_code == 500
    assert name not in sent.text
    log = written()
    assert b"RuntimeError" in log
    assert canaries.in_bytes(log) == []
