# SPDX-License-Identifier: Apache-2.0
"""What users of Orthanc expect of DICOMweb and DIMSE; the table is docs/reference/orthanc-expectations.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image as Picture
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
)

from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.pipeline import ingest_files
from medhub.records.models import Image, Series, Study
from tests.entrypoints.test_dimse import add_nodes, node
from tests.factories.accounts import client_of, make_people
from tests.factories.app_contexts import open_app
from tests.factories.dicom_nodes import Listener, dcmtk, wait_for
from tests.factories.servers import small_ct, written

Uids = tuple[str, str, str]


def deep_color(*, compressed: bool) -> Dataset:
    """A color image of 16 bits."""
    dataset = small_ct(2, study="1.2.81", series="1.2.81.1", patient="4712")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsStored, dataset.HighBit, dataset.NumberOfFrames = 16, 15, 2
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.PixelData = np.random.default_rng(5).integers(0, 65536, (2, 16, 24, 3)).astype("<u2").tobytes()
    if compressed:
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.82"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.82.1")
        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[AppContext]:
    with open_app(tmp_path_factory.mktemp("orthanc") / "data", isolation) as app:
        yield app


@pytest.fixture(scope="module")
def uids(app: AppContext) -> dict[str, Uids]:
    source = IngestSource(make_people(app).project_id, "command")
    ct = small_ct(1, patient="4711")
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = ct.SOPClassUID, "1.2.3.1.77"
    ct.ReferencedImageSequence, ct.AccessionNumber = [reference], ""
    big_endian = dcmread(str(get_testdata_file("ExplVR_BigEnd.dcm")))
    stored = {}
    sources = {
        "ecg": dcmread(str(get_testdata_file("waveform_ecg.dcm"))),
        "ct": ct,
        "big endian": big_endian,
        "deep": deep_color(compressed=False),
        "rle": deep_color(compressed=True),
    }
    for name, dataset in sources.items():
        (result,) = ingest_files(app, COMMAND_LINE, source, [ReceivedFile.of(written(dataset))])
        assert result.outcome == "accepted", (name, result)
        with app.database.reading() as session:
            image = session.get_one(Image, result.image_id)
            series, study = session.get_one(Series, image.series_id), session.get_one(Study, image.study_id)
            stored[name] = study.study_uid, series.series_uid, image.sop_instance_uid
    return stored


@pytest.fixture(scope="module")
def client(app: AppContext, uids: dict[str, Uids]) -> TestClient:
    return client_of(create_app(app, run_jobs=False), app, "technologist@lab.example")


def path_of(uids: Uids) -> str:
    return f"/dicom-web/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}"


def parts_of(answer: Any) -> list[tuple[str, bytes]]:
    """Media type and content of the parts of a message."""
    match = re.search(r"boundary=(\w+)", answer.headers["Content-Type"])
    assert match is not None
    heads = [part.partition(b"\r\n\r\n") for part in answer.content.split(f"\r\n--{match[1]}".encode())[1:-1]]
    return [(head.decode().partition("Content-Type: ")[2].partition("\r\n")[0], content) for head, _, content in heads]


XML = "multipart/related; type=application/dicom+xml"
BROWSER = "text/html, application/xhtml+xml, application/xml;q=0.9, image/webp, */*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/dicom+json"),
        ("application/json, tata", "application/json"),
        ("toto, application/dicom+json", "application/dicom+json"),
        ("application/dicom+xml, application/json", "application/json"),
        (BROWSER, "application/dicom+json"),
        ("image/webp, */*;q=0.8, text/html, application/xml;q=0.9", "application/dicom+json"),
        (XML, "multipart/related"),
        (XML.replace("application/dicom+xml", '"application/dicom+xml"'), "multipart/related"),
        ("multipart/related", ""),
        ("multipart/related; type=application/nope", ""),
        ("application/nope", ""),
    ],
)
def test_metadata_come_in_the_form_that_is_negotiated(
    client: TestClient, uids: dict[str, Uids], accept: str | None, content_type: str
) -> None:
    answer = client.get(f"{path_of(uids['ct'])}/metadata", headers={"Accept": accept} if accept else {})
    assert answer.status_code == (200 if content_type else 406)
    assert answer.headers["Content-Type"].startswith(content_type)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 200),
        ("multipart/related", 200),
        ("multipart/related; type=application/dicom", 200),
        ("multipart/related; transfer-syntax=*", 200),
        ("multipart/related; type=application/dicom; transfer-syntax=*", 200),
        ("multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2.1", 200),
        ("multipart/nope", 406),
        ("multipart/related; type=application/nope", 406),
        ("multipart/related; transfer-syntax=nope", 406),
        ("nope", 406),
    ],
)
def test_objects_come_in_the_form_that_is_negotiated(
    client: TestClient, uids: dict[str, Uids], accept: str | None, status: int
) -> None:
    answer = client.get(f"/dicom-web/studies/{uids['ct'][0]}", headers={"Accept": accept} if accept else {})
    assert answer.status_code == status
    if status == 200:
        ((_, content),) = parts_of(answer)
        assert dcmread(BytesIO(content)).StudyInstanceUID == uids["ct"][0]


def test_metadata_of_what_is_not_there_are_not_found(client: TestClient, uids: dict[str, Uids]) -> None:
    study, series, instance = uids["ct"]
    for wrong in (("0.0", series, instance), (study, "0.0", instance), (study, series, "0.0")):
        assert client.get(f"{path_of(wrong)}/metadata").status_code == 404
    assert client.get(f"/dicom-web/studies/{study}/series/0.0/metadata").status_code == 404
    assert client.get("/dicom-web/studies/0.0/metadata").status_code == 404


def test_values_have_the_form_of_dicom_json(client: TestClient, uids: dict[str, Uids]) -> None:
    """Empty values have no Value, whole numbers are numbers, and names have components."""
    (metadata,) = client.get(f"{path_of(uids['ct'])}/metadata").json()
    (match,) = client.get(f"/dicom-web/studies?StudyInstanceUID={uids['ct'][0]}").json()
    for described in (metadata, match):
        assert described["00080050"] == {"vr": "SH"}
        assert list(described["00100010"]["Value"][0]) == ["Alphabetic"]
    assert metadata["00200013"] == {"vr": "IS", "Value": [1]}
    assert match["00201208"] == {"vr": "IS", "Value": [1]}
    assert match["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_long_values_within_sequences_have_addresses(client: TestClient, uids: dict[str, Uids]) -> None:
    (metadata,) = client.get(f"{path_of(uids['ecg'])}/metadata").json()
    source = dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    items = metadata["54000100"]["Value"]
    assert len(items) == len(source.WaveformSequence) == 2
    for item, expected in zip(items, source.WaveformSequence, strict=True):
        address = item["54001010"]["BulkDataURI"].removeprefix("http://testserver")
        ((media_type, content),) = parts_of(
            client.get(address, headers={"Accept": 'multipart/related; type="application/octet-stream"'})
        )
        assert (media_type, content) == ("application/octet-stream", expected.WaveformData)


def test_frames_are_counted_from_one(client: TestClient, uids: dict[str, Uids]) -> None:
    url = f"{path_of(uids['ct'])}/frames"
    for number in (0, 2):
        assert client.get(f"{url}/{number}").status_code == 404
        assert client.get(f"{url}/{number}/rendered").status_code == 404
    bodies = {
        parts_of(client.get(f"{url}/1", headers={"Accept": accept}))[0][1]
        for accept in (
            "multipart/related; type=application/octet-stream",
            'multipart/related; type="application/octet-stream"',
            "*/*",
        )
    }
    assert [len(body) for body in bodies] == [16 * 24 * 2]
    for accept in ("nope", "multipart/related; type=nope", 'multipart/related; type="nope"'):
        assert client.get(f"{url}/1", headers={"Accept": accept}).status_code == 406


def test_frames_of_big_endian_files_come_in_little_endian(client: TestClient, uids: dict[str, Uids]) -> None:
    ((media_type, content),) = parts_of(client.get(f"{path_of(uids['big endian'])}/frames/1"))
    assert media_type.endswith(f"transfer-syntax={ExplicitVRLittleEndian}")
    source = dcmread(str(get_testdata_file("ExplVR_BigEnd.dcm")))
    (metadata,) = client.get(f"{path_of(uids['big endian'])}/metadata").json()
    assert metadata["00280006"]["Value"] == [1]  # the colors come as planes, as they are stored
    planes = np.frombuffer(content, np.uint8).reshape(3, source.Rows, source.Columns)
    assert np.array_equal(planes.transpose(1, 2, 0), source.pixel_array)


@pytest.mark.parametrize("name", ["deep", "rle"])
def test_frames_of_deep_colors_have_all_their_bits(client: TestClient, uids: dict[str, Uids], name: str) -> None:
    accept = {"Accept": 'multipart/related; type="application/octet-stream"'}
    parts = parts_of(client.get(f"{path_of(uids[name])}/frames/2,1", headers=accept))
    expected = np.random.default_rng(5).integers(0, 65536, (2, 16, 24, 3)).astype("<u2")
    assert [content for _, content in parts] == [expected[1].tobytes(), expected[0].tobytes()]


def test_searches_match_and_return_attributes_of_lower_levels(client: TestClient, uids: dict[str, Uids]) -> None:
    study, series, _ = uids["ct"]
    of_study = f"/dicom-web/studies?StudyInstanceUID={study}"
    assert "00280010" not in client.get(of_study).json()[0]
    assert client.get(f"{of_study}&includefield=Rows").json()[0]["00280010"]["Value"] == [16]
    assert client.get(f"{of_study}&Rows=16").status_code == 200
    assert client.get(f"{of_study}&Rows=128").status_code == 204
    (match,) = client.get(f"/dicom-web/studies/{study}/series/{series}/instances?includefield=00081140").json()
    (item,) = match["00081140"]["Value"]
    assert item["00081150"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]


def test_an_object_is_stored_whose_part_names_its_transfer_syntax(client: TestClient) -> None:
    head = b"--x\r\nContent-Type: application/dicom;transfer-syntax=1.2.840.10008.1.2.1\r\n\r\n"
    body = head + written(small_ct(9, study="1.2.83", series="1.2.83.1", patient="4719")) + b"\r\n--x--\r\n"
    kind = 'multipart/related; type="application/dicom;transfer-syntax=1.2.840.10008.1.2.1"; boundary=x'
    answer = client.post("/dicom-web/studies", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert "00081198" not in answer.json()
    assert len(answer.json()["00081199"]["Value"]) == 1


def test_wado_uri_takes_the_short_name_of_jpeg(client: TestClient, uids: dict[str, Uids]) -> None:
    query = f"requestType=WADO&studyUID={uids['ct'][0]}&seriesUID={uids['ct'][1]}&objectUID={uids['ct'][2]}"
    answer = client.get(f"/wado?{query}&contentType=image/jpg")
    assert Picture.open(BytesIO(answer.content)).format == "JPEG"
    for missing in ("", "requestType=WADO", query.replace("requestType=WADO&", "")):
        assert client.get(f"/wado?{missing}").status_code == 400


# DIMSE.


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[Listener]:
    folder = tmp_path_factory.mktemp("orthanc-dimse")
    add_nodes(folder / "data", node("BOTH"))
    started = Listener(folder / "data").start()
    for number, patient in ((1, "4711"), (2, "4711"), (3, "4712")):
        path = folder / f"{number}.dcm"
        path.write_bytes(written(small_ct(number, study=f"1.2.9.{patient}", series=f"1.2.9.{number}", patient=patient)))
        sent = dcmtk("storescu", "-aet", "BOTH", "-aec", "MEDHUB", "127.0.0.1", str(started.port), path)
        assert sent.returncode == 0, sent.stderr
    with started.app(isolation) as app:
        wait_for(lambda: len(find(started, "IMAGE", "SOPInstanceUID")) == 3 and app is not None, "the import")
    yield started
    started.stop()


def find(listener: Listener, level: str, *keys: str) -> list[Dataset]:
    folder = listener.data.parent / "matches"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    options = [part for key in (f"QueryRetrieveLevel={level}", *keys) for part in ("-k", key)]
    model = "-P" if level == "PATIENT" else "-S"
    address = ("-aet", "BOTH", "-aec", "MEDHUB", "127.0.0.1", str(listener.port))
    process = dcmtk("findscu", model, "-X", "-od", folder, *options, *address)
    assert process.returncode == 0, process.stderr
    return [dcmread(path, force=True) for path in sorted(folder.iterdir())]


def test_c_find_counts_series_and_instances(listener: Listener) -> None:
    studies = find(listener, "STUDY", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
    counts = [(match.NumberOfStudyRelatedSeries, match.NumberOfStudyRelatedInstances) for match in studies]
    assert sorted(counts) == [(1, 1), (2, 2)]
    keys = [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")]
    patients = find(listener, "PATIENT", *keys)
    assert sorted(tuple(int(match[key].value) for key in keys) for match in patients) == [(1, 1, 1), (1, 2, 2)]


def test_c_find_matches_a_list_of_uids_longer_than_256_characters(listener: Listener) -> None:
    study = find(listener, "STUDY", "StudyInstanceUID")[0].StudyInstanceUID
    (match,) = find(listener, "STUDY", "StudyInstanceUID=" + "\\".join([study] * 8))
    assert match.StudyInstanceUID == study


def test_c_find_ignores_group_lengths_and_file_meta_information(listener: Listener) -> None:
    matches = find(listener, "IMAGE", "SOPInstanceUID", "0008,0000=22", "0002,0002")
    assert len(matches) == 3
    assert all(tag.group != 2 and tag.element != 0 for match in matches for tag in [element.tag for element in match])
