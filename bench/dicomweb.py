# SPDX-License-Identifier: Apache-2.0
"""DICOMweb: queries on 100,000 instances, metadata, pictures, and storing beside Orthanc: ``python bench/dicomweb.py``.

The rows of 5,000 studies are written directly, on SQLite and on PostgreSQL (``--postgresql URL``), and asked for by
HTTP. A series of 300 CT of 512 x 512 is stored by STOW-RS; its metadata and pictures are asked for, kept and not. Then
new CT of 39 kB are stored in requests of fifty by Medhub and by Orthanc with its DICOMweb plugin in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import server
import sqlalchemy
from pydicom import Dataset, FileMetaDataset, dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from server import Client

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.entrypoints.bootstrap import build
from medhub.foundation import clock, ids
from medhub.foundation.settings import Settings
from medhub.records.models import Image, Patient, Series, Study

EMAIL = "administrator@bench.example"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
QUERY_MS, METADATA_MS, CACHED_MS, RENDERED_MS = 50.0, 150.0, 20.0, 60.0
OBJECTS_PER_REQUEST = 50
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=objects'
Row = tuple[str, str, str]


def fill_archive(data: Path, url: str | None, studies: int) -> list[dict[str, Any]]:
    """Write the rows of studies, each of two series of ten images, and a user who queries them."""
    app = build(Settings(data=data, database_url=url))
    random_source = random.Random(5)  # noqa: S311 - nothing here is secret
    tables: dict[type, list[dict[str, Any]]] = {Patient: [], Study: [], Series: [], Image: []}
    with app.database.writing() as session:
        project_id = accounts.add_project(session, server.PROJECT).id
        accounts.add_user(
            session,
            email=EMAIL,
            name="The administrator",
            password=server.PASSWORD,
            role=Role.ADMINISTRATOR,
            project_id=project_id,
        )
        for number in range(studies):
            _add_study(tables, random_source, project_id, number)
        for table, rows in tables.items():
            session.execute(sqlalchemy.insert(table), rows)
    if url is not None:
        with app.database.engine.connect() as connection:
            connection.execute(sqlalchemy.text("ANALYZE"))
            connection.commit()
    app.close()
    return tables[Study]


def _add_study(
    tables: dict[type, list[dict[str, Any]]], random_source: random.Random, project_id: str, number: int
) -> None:
    def uid() -> str:
        return f"2.25.{random_source.getrandbits(120)}"

    now = clock.now()
    if number % 2 == 0:
        tables[Patient].append(
            {"id": ids.new_id(), "project_id": project_id, "code": f"P-{number:06d}", "sex": "F", "birth_year": 1970,
             "fields": {}, "created_at": now, "changed_at": now}
        )  # fmt: skip
    patient = tables[Patient][-1]
    date = (
        f"20{random_source.randrange(10, 25)}{random_source.randrange(1, 13):02d}{random_source.randrange(1, 29):02d}"
    )
    clock_time = f"{random_source.randrange(24):02d}{random_source.randrange(60):02d}{random_source.randrange(60):02d}"
    description = random_source.choice(("CT HEAD", "CT CHEST", "MR KNEE", "XR HAND"))
    study = {
        "id": ids.new_id(), "project_id": project_id, "patient_id": patient["id"], "study_uid": uid(), "fields": {},
        "description": description, "created_at": now, "study_date": date, "study_time": clock_time,
        "attributes": {"StudyDate": [date], "StudyTime": [clock_time], "AccessionNumber": [f"A{number:08d}"],
                       "StudyID": [str(number)], "StudyDescription": [description], "PatientID": [patient["code"]],
                       "PatientName": [patient["code"]], "PatientSex": ["F"], "PatientAge": ["050Y"]},
    }  # fmt: skip
    tables[Study].append(study)
    for series_number in (1, 2):
        modality = random_source.choice(("CT", "MR", "CR", "US", "DX"))
        series = {
            "id": ids.new_id(), "study_id": study["id"], "series_uid": uid(), "modality": modality,
            "number": series_number, "description": "AXIAL 5MM", "created_at": now,
            "attributes": {"Modality": [modality], "SeriesNumber": [str(series_number)],
                           "SeriesDescription": ["AXIAL 5MM"], "BodyPartExamined": ["HEAD"], "Manufacturer": ["ACME"]},
        }  # fmt: skip
        tables[Series].append(series)
        for instance_number in range(1, 11):
            tables[Image].append(
                {"id": ids.new_id(), "project_id": project_id, "patient_id": patient["id"], "study_id": study["id"],
                 "series_id": series["id"], "number": series_number * 10 + instance_number,
                 "sop_class_uid": CTImageStorage, "sop_instance_uid": uid(),
                 "transfer_syntax_uid": ExplicitVRLittleEndian, "modality": modality, "kind": "dicom",
                 "shown_as": "image", "instance_number": instance_number, "width": 512, "height": 512, "frames": 1,
                 "size_bytes": 526_000, "blob": "0" * 64, "state": "waiting", "created_at": now,
                 "attributes": {"SOPClassUID": [CTImageStorage], "InstanceNumber": [str(instance_number)],
                                "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Rows": ["512"], "Columns": ["512"],
                                "BitsAllocated": ["16"], "BitsStored": ["12"], "SamplesPerPixel": ["1"]}}
            )  # fmt: skip


def queries(studies: Sequence[dict[str, Any]]) -> dict[str, Callable[[], str]]:
    """The usual queries, with other values in each call."""
    random_source = random.Random(7)  # noqa: S311

    def any_study() -> dict[str, Any]:
        return random_source.choice(studies)

    return {
        "25 studies": lambda: "studies?limit=25",
        "25 studies, from the 4,000th": lambda: "studies?limit=25&offset=4000",
        "all studies (250 come at once)": lambda: "studies",
        "studies of a day": lambda: f"studies?StudyDate={any_study()['study_date']}",
        "studies of three months, 100": lambda: "studies?StudyDate=20150101-20150331&limit=100",
        "studies of a patient": lambda: f"studies?PatientID={any_study()['attributes']['PatientID'][0]}",
        "studies by name with wildcards": lambda: (
            f"studies?PatientName=p-00{random_source.randrange(49):02d}*&limit=100"
        ),
        "a study by accession number": lambda: f"studies?AccessionNumber=A{random_source.randrange(len(studies)):08d}",
        "a study by UID": lambda: f"studies?StudyInstanceUID={any_study()['study_uid']}",
        "25 studies with a modality": lambda: "studies?ModalitiesInStudy=MR&limit=25",
        "studies by description, 100": lambda: "studies?StudyDescription=*KNEE&limit=100",
        "series of a study": lambda: f"studies/{any_study()['study_uid']}/series",
        "25 series of a modality": lambda: "series?Modality=CT&limit=25",
        "instances of a study": lambda: f"studies/{any_study()['study_uid']}/instances",
        "100 instances of any study": lambda: "instances?limit=100",
        "nothing found, by study ID": lambda: "studies?StudyID=none",
    }


def timed(client: Client, path: str, *, expect: Sequence[int] = (200, 204)) -> float:
    start = time.perf_counter()
    status, content = client.send("GET", path)
    elapsed_ms = (time.perf_counter() - start) * 1e3
    assert status in expect, (path, status, content[:300])
    return elapsed_ms


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def judged(value: float, target: float) -> str:
    return f"{'met' if value < target else 'NOT met'} (under {target:.0f} ms)"


def query_rows(client: Client, studies: Sequence[dict[str, Any]], times: int) -> Iterator[Row]:
    for name, query in queries(studies).items():
        timed(client, f"/dicom-web/{query()}")
        times_ms = [timed(client, f"/dicom-web/{query()}") for _ in range(times)]
        p95_ms = percentile(times_ms, 0.95)
        yield name, f"{statistics.median(times_ms):.1f} / {p95_ms:.1f}", judged(p95_ms, QUERY_MS)


def message(objects: Sequence[bytes]) -> bytes:
    return (
        b"".join(b"--objects\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in objects)
        + b"--objects--\r\n"
    )


def written(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def series_of_ct(count: int) -> list[bytes]:
    """CT of 512 x 512 of one series."""
    generator = np.random.default_rng(3)
    y, x = np.mgrid[:512, :512]
    body = (((x - 256) ** 2 + (y - 256) ** 2) < 200**2) * 1000
    objects = []
    for number in range(1, count + 1):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.826.0.1.3680043.10.9.{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.10.7", "1.2.826.0.1.3680043.10.8"
        dataset.PatientID, dataset.PatientName, dataset.Modality = "bench-300", "BENCH^SERIES", "CT"
        dataset.StudyDate, dataset.SeriesNumber, dataset.InstanceNumber = "20240101", 1, number
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.Rows = dataset.Columns = 512
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
        dataset.WindowCenter, dataset.WindowWidth = "40", "400"
        dataset.PixelData = (body + generator.integers(0, 60, (512, 512))).astype("<u2").tobytes()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        objects.append(written(dataset))
    return objects


def series_rows(client: Client, count: int) -> Iterator[Row]:
    """Store a series, then time the retrieval of its metadata and pictures."""
    address = ""
    objects = series_of_ct(count)
    for start in range(0, count, OBJECTS_PER_REQUEST):
        status, content = client.send(
            "POST", "/dicom-web/studies", message(objects[start : start + OBJECTS_PER_REQUEST]), CONTENT_TYPE
        )
        assert status == 200, content[:300]
        address = json.loads(content)["00081199"]["Value"][0]["00081190"]["Value"][0]
    path = urllib.parse.urlparse(address).path
    series = path.partition("/instances/")[0]
    instances = json.loads(client.send("GET", f"{series}/instances")[1])
    first_ms = timed(client, f"{series}/metadata")
    cached_ms = [timed(client, f"{series}/metadata") for _ in range(20)]
    name = f"metadata of a series of {count}"
    yield f"{name}, first", f"{first_ms:.0f}", "(made now)"
    yield (
        f"{name}, kept",
        f"{statistics.median(cached_ms):.0f} / {percentile(cached_ms, 0.95):.0f}",
        judged(statistics.median(cached_ms), METADATA_MS),
    )
    paths = [f"{series}/instances/{instance['00080018']['Value'][0]}/rendered" for instance in instances[:60]]
    timed(client, paths[0])
    new_ms = [timed(client, path) for path in paths[1:]]
    repeated_ms = [timed(client, path) for path in paths]
    for name, times_ms, target in (("not cached", new_ms, RENDERED_MS), ("cached", repeated_ms, CACHED_MS)):
        median_ms = statistics.median(times_ms)
        yield (
            f"512 x 512 rendered, {name}",
            f"{median_ms:.1f} / {percentile(times_ms, 0.95):.1f}",
            judged(median_ms, target),
        )


def small_ct(count: int, number: int) -> list[bytes]:
    """Copies of pydicom's CT of 39 kB with UIDs of their own."""
    dataset = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    root = f"1.2.826.0.1.3680043.10.{os.getpid()}.{number}"
    dataset.PatientID = f"bench-{number}"
    objects = []
    for index in range(count):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{root}.1", f"{root}.2"
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"{root}.3.{index + 1}", index + 1
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        objects.append(written(dataset))
    return objects


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[int]:
    """An Orthanc of its own with its DICOMweb plugin; the port of its HTTP server."""
    with socket.socket() as http_socket, socket.socket() as dicom_socket:
        http_socket.bind(("127.0.0.1", 0))
        dicom_socket.bind(("127.0.0.1", 0))
        http_port, dicom_port = http_socket.getsockname()[1], dicom_socket.getsockname()[1]
    folder.mkdir()
    configuration = {
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"), "HttpPort": http_port,
        "DicomPort": dicom_port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [str(PLUGIN)],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(shutil.which("Orthanc")), str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if Client(http_port).send("GET", "/system")[0] == 200:
                    break
            if time.monotonic() > deadline:
                raise SystemExit((folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        yield http_port
    finally:
        process.kill()
        process.wait()


def store(client: Client, objects: Sequence[bytes]) -> float:
    """Store objects by STOW-RS; returns objects per second."""
    bodies = [
        message(objects[start : start + OBJECTS_PER_REQUEST]) for start in range(0, len(objects), OBJECTS_PER_REQUEST)
    ]
    stored, start = 0, time.perf_counter()
    for body in bodies:
        status, content = client.send("POST", "/dicom-web/studies", body, CONTENT_TYPE)
        assert status == 200, content[:300]
        stored += len(json.loads(content)["00081199"]["Value"])
    assert stored == len(objects)
    return len(objects) / (time.perf_counter() - start)


def stow_rows(client: Client, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        yield "STOW-RS beside Orthanc", "", "not run: Debian's orthanc and orthanc-dicomweb are not installed"
        return
    rates: dict[str, list[float]] = {"Medhub": [], "Orthanc": []}
    with orthanc(folder / "orthanc") as port:
        orthanc_client = Client(port)
        numbers = itertools.count(1)
        for archive_client in (client, orthanc_client):  # the decoding processes start with the first
            store(archive_client, small_ct(OBJECTS_PER_REQUEST, next(numbers)))
        for _ in range(rounds):
            for name, archive_client in (("Medhub", client), ("Orthanc", orthanc_client)):
                rates[name].append(store(archive_client, small_ct(count, next(numbers))))
    medhub_rate, orthanc_rate = (statistics.median(rates[name]) for name in ("Medhub", "Orthanc"))
    for name, rate in (("Medhub", medhub_rate), ("Orthanc", orthanc_rate)):
        spread = f"{min(rates[name]):.0f} to {max(rates[name]):.0f}"
        verdict = (
            "" if name == "Orthanc" else f"{'met' if medhub_rate >= orthanc_rate else 'NOT met'} (at least Orthanc's)"
        )
        yield f"STOW-RS of {count} CT of 39 kB, {name}, objects/s", f"{rate:.0f} ({spread})", verdict


def show(title: str, rows: Iterator[Row]) -> None:
    print(f"\n{title}\n\n| what | p50 / p95 ms | target |\n|---|---|---|")
    for name, value, verdict in rows:
        print(f"| {name} | {value} | {verdict} |", flush=True)


@contextlib.contextmanager
def schema_of_its_own(url: str) -> Iterator[str]:
    schema = f"medhub_bench_{os.getpid()}"
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{url}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=5_000)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", action="store_true", help="only the queries: no series is stored and retrieved")
    parser.add_argument("--postgresql", default="postgresql+psycopg://postgres@127.0.0.1:5432/test")
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medhub-bench-")))
        for name in ("SQLite", "PostgreSQL"):
            data = folder / name
            data.mkdir()
            url = None if name == "SQLite" else stack.enter_context(schema_of_its_own(arguments.postgresql))
            studies = fill_archive(data, url, arguments.studies)
            settings = {} if url is None else {"database_url": url}
            with server.running(data, job_runners="0", **settings) as running:
                client = running.client(EMAIL)
                show(f"{name}, {arguments.studies * 20:,} instances", query_rows(client, studies, arguments.times))
                if name == "SQLite" and not arguments.queries:
                    show("A series, and its pictures", series_rows(client, arguments.series))
                    show("Storing", stow_rows(client, folder, arguments.objects, arguments.rounds))
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
