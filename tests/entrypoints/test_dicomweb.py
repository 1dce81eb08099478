# SPDX-License-Identifier: Apache-2.0
"""DICOMweb, tested with dicomweb-client against a local server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image as Picture
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, JPEGLSLossless, RLELossless
from sqlalchemy import select

from medhub.accounts.models import Membership
from medhub.accounts.permissions import Role
from medhub.entrypoints.dicomweb.qido import MOST_MATCHES
from medhub.entrypoints.dicomweb.stow import (
    CLASS_NOT_SUPPORTED,
    NOT_OF_THIS_STUDY,
    NOT_PROCESSED,
    NOT_UNDERSTOOD,
    OUT_OF_RESOURCES,
    SYNTAX_NOT_SUPPORTED,
)
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.models import Arrival
from medhub.records import studies
from medhub.records.dicom_search import search_images
from medhub.records.models import Image, Series, Study
from tests.conftest import SHARED_DATA
from tests.factories.accounts import People, make_people
from tests.factories.app_contexts import open_app
from tests.factories.cases import run_jobs
from tests.factories.servers import serving, small_ct, token_of, written

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
RAW = "application/octet-stream"
EXPLICIT = "1.2.840.10008.1.2.1"
REAL = SHARED_DATA / "dicom"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[AppContext]:
    with open_app(tmp_path_factory.mktemp("dicomweb") / "data", isolation, upload_max_bytes=4_000_000) as app:
        yield app


@pytest.fixture(scope="module")
def people(app: AppContext) -> People:
    return make_people(app)


@pytest.fixture(scope="module")
def url(app: AppContext, people: People) -> Iterator[str]:
    with serving(create_app(app, run_jobs=False)) as url:
        yield url


Sessions = Callable[[str], requests.Session]
Clients = Callable[..., DICOMwebClient]


@pytest.fixture(scope="module")
def http_session(app: AppContext) -> Iterator[Sessions]:
    sessions: dict[str, requests.Session] = {}

    def session_of(role: str) -> requests.Session:
        if role not in sessions:
            sessions[role] = requests.Session()
            sessions[role].headers["Authorization"] = f"Bearer {token_of(app, f'{role}@lab.example')}"
        return sessions[role]

    yield session_of
    for opened in sessions.values():
        opened.close()


@pytest.fixture(scope="module")
def client(url: str, http_session: Sessions) -> Clients:
    """Returns the DICOMweb client of a role, for all projects or for one."""
    return lambda role, path="/dicom-web": DICOMwebClient(f"{url}{path}", session=http_session(role))


def tag(attributes: dict[str, Any], keyword: str) -> Any:
    return attributes[f"{pydicom.datadict.tag_for_keyword(keyword):08X}"].get("Value", [None])[0]


def stored_uids(response: Dataset) -> list[tuple[str, str, str]]:
    """The UIDs under which stored objects are retrieved."""
    addresses = [item.RetrieveURL.split("/") for item in response.ReferencedSOPSequence]
    return [(parts[-5], parts[-3], parts[-1]) for parts in addresses]


def store(client: Clients, *datasets: Dataset) -> list[tuple[str, str, str]]:
    return stored_uids(client("technologist").store_instances(datasets))


def several_frames(syntax: str) -> Dataset:
    """A CT of five frames, each with a rescale of its own."""
    dataset = small_ct(1)
    frames = np.random.default_rng(7).integers(0, 4096, (5, 16, 24), dtype=np.uint16)
    dataset.NumberOfFrames, dataset.PixelData = 5, frames.tobytes()
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.PerFrameFunctionalGroupsSequence = []
    for number in range(5):
        rescale, group = Dataset(), Dataset()
        rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = str(-100 * number), "1", "HU"
        group.PixelValueTransformationSequence = [rescale]
        dataset.PerFrameFunctionalGroupsSequence.append(group)
    if syntax != EXPLICIT:
        dataset.compress(UID(syntax), generate_instance_uid=False)
    return dataset


def as_other_patient(name: str, number: int) -> Dataset:
    """A test file with the identity of a patient of its own, so that it does not conflict with other files."""
    transfer_syntaxes = {"several native": EXPLICIT, "several RLE": RLELossless, "several JPEG-LS": JPEGLSLossless}
    if name in transfer_syntaxes:
        dataset = several_frames(transfer_syntaxes[name])
    else:
        dataset = dcmread(BUNDLED / name if (BUNDLED / name).exists() else REAL / "pydicom-data" / name)
    dataset.PatientID, dataset.PatientName = f"B-{number}", f"BUNDLED^{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.9.{number}", f"1.9.{number}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.9.{number}.1.1"  # type: ignore[assignment]
    return dataset


def stored_dataset(app: AppContext, sop_instance_uid: str) -> Dataset:
    with app.database.reading() as session:
        image = session.scalars(select(Image).where(Image.sop_instance_uid == sop_instance_uid)).one()
        return dcmread(BytesIO(app.blobs.get(image.blob)))


def test_objects_go_in_and_are_found_retrieved_shown_and_deleted(client: Clients) -> None:
    datasets = [small_ct(n, study="1.2.10", series="1.2.10.1", patient="1000") for n in (2, 1, 3)]
    datasets.append(small_ct(1, study="1.2.10", series="1.2.10.2", patient="1000"))
    response = client("technologist").store_instances(datasets)
    assert [item.ReferencedSOPInstanceUID for item in response.ReferencedSOPSequence] == [
        dataset.SOPInstanceUID for dataset in datasets
    ]
    assert "FailedSOPSequence" not in response
    (study, series, instance), *_ = stored_uids(response)
    assert str(response.RetrieveURL).endswith(f"/dicom-web/studies/{study}")

    reader = client("researcher")
    (match,) = reader.search_for_studies(search_filters={"StudyInstanceUID": study})
    assert (tag(match, "NumberOfStudyRelatedSeries"), tag(match, "NumberOfStudyRelatedInstances")) == (2, 4)
    assert tag(match, "ModalitiesInStudy") == "CT"
    assert tag(match, "PatientName") == {"Alphabetic": tag(match, "PatientID")}
    assert len(reader.search_for_series(study)) == 2
    numbers = [tag(dataset, "InstanceNumber") for dataset in reader.search_for_instances(study, series)]
    assert numbers == [1, 2, 3]

    retrieved = reader.retrieve_instance(study, series, instance)
    sent = np.frombuffer(datasets[0].PixelData, "<u2")
    assert np.array_equal(np.frombuffer(retrieved.PixelData, "<u2"), sent)
    assert [len(reader.retrieve_series(study, series)), len(reader.retrieve_study(study))] == [3, 4]
    assert len(list(reader.iter_study(study))) == 4
    (frame,) = reader.retrieve_instance_frames(study, series, instance, [1])
    assert frame == retrieved.PixelData
    (metadata,) = [reader.retrieve_instance_metadata(study, series, instance)]
    assert Dataset.from_json(metadata, lambda *_: b"").Rows == 16
    assert next(iter(reader.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"]))) == retrieved.PixelData
    rendered = reader.retrieve_instance_rendered(study, series, instance, media_types=("image/png",))
    assert Picture.open(BytesIO(rendered)).size == (24, 16)
    rendered = reader.retrieve_instance_frames_rendered(study, series, instance, [1], media_types=("image/jpeg",))
    assert Picture.open(BytesIO(rendered)).format == "JPEG"

    administrator = client("administrator")
    administrator.delete_instance(study, series, instance)
    assert len(reader.search_for_instances(study)) == 3
    administrator.delete_series(study, series)
    assert len(reader.search_for_series(study)) == 1
    administrator.delete_study(study)
    assert reader.search_for_studies(search_filters={"StudyInstanceUID": study}) == []
    with pytest.raises(requests.HTTPError, match="404"):
        reader.retrieve_study(study)


def test_searching_by_wildcards_ranges_lists_fields_and_pages(
    client: Clients, url: str, http_session: Sessions, app: AppContext
) -> None:
    stored = [store(client, small_ct(1, study=f"1.2.2{n}", series=f"1.2.2{n}.1", patient=f"200{n}"))[0] for n in "123"]
    with app.database.writing() as session:
        for number, (uid, _, _) in enumerate(stored):
            study = session.scalars(select(Study).where(Study.study_uid == uid)).one()
            study.study_date, study.description = f"2020010{number + 1}", f"HEAD {number}"
    reader = client("viewer")
    uids = [study for study, _, _ in stored]

    def study_uids(**filters: str) -> set[str]:
        matches = reader.search_for_studies(search_filters=filters)
        return {tag(match, "StudyInstanceUID") for match in matches}

    code = tag(reader.search_for_studies(search_filters={"StudyInstanceUID": uids[0]})[0], "PatientID")
    assert study_uids(PatientName=code.lower()) == {uids[0]}
    assert study_uids(PatientID=f"*{code[3:]}") == {uids[0]}
    assert study_uids(StudyDate="20200102-20200109") == set(uids[1:])
    assert study_uids(StudyInstanceUID=",".join(uids[:2])) == set(uids[:2])
    assert study_uids(**{"00081030": "HEAD ?", "StudyDate": "-20200101"}) == {uids[0]}
    assert study_uids(ModalitiesInStudy="MR", StudyInstanceUID=uids[0]) == set()
    (attributes,) = reader.search_for_instances(uids[0], fields=["ImageType", "00280101", "StudyDescription"])
    assert attributes["00080008"]["Value"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert (tag(attributes, "BitsStored"), tag(attributes, "StudyDescription")) == (12, "HEAD 0")
    (all_attributes,) = reader.search_for_instances(uids[0], fields=["all"])
    assert {"00080020", "00080060", "00280004", "00201206"} <= set(all_attributes)
    filters = {"StudyDescription": "HEAD*"}
    matches = reader.search_for_studies(search_filters=filters)
    pages = [reader.search_for_studies(search_filters=filters, limit=1, offset=n) for n in range(4)]
    assert [page[0] for page in pages[:3]] == matches
    assert pages[3] == []
    assert len(reader.search_for_studies(search_filters=filters, limit=2, get_remaining=True)) == 3

    get = http_session("viewer").get
    address = f"{url}/dicom-web/studies"
    response = get(f"{address}?RequestedProcedureID=7&StudyInstanceUID={uids[0]}")
    assert "RequestedProcedureID" in response.headers["Warning"]
    assert get(f"{address}?StudyInstanceUID=1.2.3.4").status_code == 204
    assert get(f"{address}?limit=1").headers.get("Warning") is None
    for query in ("StudyDate=yesterday", "limit=-1", "offset=x", "fuzzymatching=maybe"):
        response = get(f"{address}?{query}")
        assert (response.status_code, response.headers["Content-Type"]) == (400, "application/problem+json"), query
    assert get(address, headers={"Accept": "application/dicom+xml"}).status_code == 406
    assert get(f"{url}/dicom-web/nothing").status_code == 404


def test_what_the_server_cuts_off_is_said(
    url: str, http_session: Sessions, people: People, app: AppContext, monkeypatch: pytest.MonkeyPatch, client: Clients
) -> None:
    assert MOST_MATCHES > 1
    monkeypatch.setattr("medhub.entrypoints.dicomweb.qido.MOST_MATCHES", 1)
    for n in "12":
        store(client, small_ct(1, study=f"1.2.3{n}", series=f"1.2.3{n}.1", patient=f"300{n}"))
    response = http_session("viewer").get(f"{url}/dicom-web/studies")
    assert len(response.json()) == 1
    assert response.headers["Warning"].startswith("299 ")


FILES = [
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
    "several native",
    "several RLE",
    "several JPEG-LS",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
]


@pytest.mark.parametrize("name", FILES)
def test_frames_are_those_of_the_file_as_stored_and_as_decoded(
    app: AppContext, client: Clients, url: str, http_session: Sessions, name: str
) -> None:
    ((study, series, instance),) = store(client, as_other_patient(name, 100 + FILES.index(name)))
    dataset = stored_dataset(app, instance)
    frame_count = int(dataset.get("NumberOfFrames", 1))
    reader = client("physician")
    stored_frames = reader.retrieve_instance_frames(study, series, instance, list(range(1, frame_count + 1)))
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        expected_frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=frame_count))
        assert stored_frames == expected_frames
    else:
        assert b"".join(stored_frames) == dataset.PixelData[: sum(map(len, stored_frames))]
        assert len(dataset.PixelData) - sum(map(len, stored_frames)) < 2
    values = dataset.pixel_array if frame_count > 1 else dataset.pixel_array[None]
    for number in {1, frame_count}:
        (little_endian_frame,) = reader.retrieve_instance_frames(
            study, series, instance, [number], media_types=((RAW, "1.2.840.10008.1.2.1"),)
        )
        decoded = np.frombuffer(little_endian_frame, values.dtype)
        if (
            dataset.PhotometricInterpretation == "YBR_FULL_422"
            and not dataset.file_meta.TransferSyntaxUID.is_encapsulated
        ):
            assert little_endian_frame == stored_frames[number - 1]
        elif dataset.PhotometricInterpretation != "YBR_FULL_422" and dataset.get("PlanarConfiguration", 0) == 0:
            assert np.array_equal(decoded.reshape(values[0].shape), values[number - 1])
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames"
    response = http_session("physician").get(
        f"{address}/{frame_count}", headers={"Accept": f"{RAW}; transfer-syntax=*"}
    )
    assert response.content == stored_frames[-1]
    assert response.headers["Content-Type"].endswith(f"transfer-syntax={dataset.file_meta.TransferSyntaxUID}")
    assert http_session("physician").get(f"{address}/{frame_count + 1}").status_code == 404
    assert http_session("physician").get(f"{address}/1", headers={"Accept": "video/mp4"}).status_code == 406
    as_explicit = reader.retrieve_instance(
        study, series, instance, media_types=(("application/dicom", "1.2.840.10008.1.2.1"),)
    )
    assert as_explicit.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert as_explicit.pixel_array.shape == dataset.pixel_array.shape


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "several JPEG-LS"])
def test_pictures_have_the_values_that_pydicom_computes(
    app: AppContext, client: Clients, url: str, http_session: Sessions, name: str
) -> None:
    ((study, series, instance),) = store(client, as_other_patient(name, 200 + FILES.index(name)))
    dataset = stored_dataset(app, instance)
    frame_count = int(dataset.get("NumberOfFrames", 1))
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    for function in ("linear", "linear-exact", "sigmoid"):
        response = http_session("viewer").get(
            f"{address}/frames/{frame_count}/rendered?window=400.5,900,{function}", headers={"Accept": "image/png"}
        )
        levels = np.asarray(Picture.open(BytesIO(response.content)))[..., 0]
        stored = dataset.pixel_array[frame_count - 1] if frame_count > 1 else dataset.pixel_array
        window = Dataset()
        window.WindowCenter, window.WindowWidth = 400.5, 900
        window.VOILUTFunction = function.upper().replace("-", "_")
        window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 16, 1
        groups = dataset.get("SharedFunctionalGroupsSequence") or dataset.get("PerFrameFunctionalGroupsSequence")
        rescale = dataset
        for group in groups or ():
            rescale = (group.get("PixelValueTransformationSequence") or [rescale])[0]
        if (
            frame_count > 1
            and "PixelValueTransformationSequence" in dataset.PerFrameFunctionalGroupsSequence[frame_count - 1]
        ):
            rescale = dataset.PerFrameFunctionalGroupsSequence[frame_count - 1].PixelValueTransformationSequence[0]
        measured = apply_modality_lut(stored, rescale).astype(np.float64)
        # pydicom maps to the range of the stored bits; here to eight.
        shown = apply_voi_lut(measured, window)
        low, high = -(2**15), 2**15 - 1
        expected = np.rint((shown - low) / (high - low) * 255)
        assert np.abs(expected - levels).max() <= 1, function
        assert (expected == levels).mean() > 0.99, function


def test_pictures_fit_their_place_show_their_part_and_stay_in_the_browser(
    client: Clients, url: str, http_session: Sessions
) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.40", series="1.2.40.1", patient="4000"))
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered"
    get = http_session("viewer").get

    def picture(query: str, accept: str = "image/png") -> Any:
        response = get(f"{address}?{query}", headers={"Accept": accept})
        assert response.status_code == 200, response.text
        return Picture.open(BytesIO(response.content))

    full = np.asarray(picture(""))
    assert picture("viewport=48,48").size == (48, 32)
    assert picture("viewport=12,100").size == (12, 8)
    region = np.asarray(picture("viewport=8,4,2,3,8,4"))
    assert np.array_equal(region, full[3:7, 2:10])
    mirrored = np.asarray(picture("viewport=8,4,2,3,-8,4"))
    assert np.array_equal(mirrored, region[:, ::-1])
    assert picture("", "image/webp").format == "WEBP"
    assert picture("accept=image/png", "*/*").format == "PNG"
    assert picture("", "*/*").format == "JPEG"
    low_quality, high_quality = (get(f"{address}?quality={quality}").content for quality in (5, 95))
    assert len(low_quality) < len(high_quality)
    response = get(address)
    assert response.headers["Cache-Control"] == "private, max-age=60, must-revalidate"
    assert get(address, headers={"If-None-Match": response.headers["ETag"]}).status_code == 304
    for query in ("window=1", "window=1,0,linear", "window=1,2,cubic", "viewport=0,5", "viewport=1", "quality=0"):
        assert get(f"{address}?{query}").status_code == 400, query
    assert get(address, headers={"Accept": "image/gif"}).status_code == 406
    for level in (
        f"studies/{study}",
        f"studies/{study}/series/{series}",
        f"studies/{study}/series/{series}/instances/{instance}",
    ):
        thumbnail = get(f"{url}/dicom-web/{level}/thumbnail")
        assert Picture.open(BytesIO(thumbnail.content)).size == (24, 16)


def test_each_object_gets_an_outcome_of_its_own(
    client: Clients, url: str, http_session: Sessions, app: AppContext
) -> None:
    accepted = written(small_ct(1, study="1.2.50", series="1.2.50.1", patient="5000"))
    conflicting = small_ct(2, study="1.2.50", series="1.2.50.1", patient="5000")
    conflicting.PatientName = "ROE^RICHARD"

    def send(*bodies: bytes, path: str = "/dicom-web/studies") -> requests.Response:
        parts = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n" for body in bodies)
        content_type = 'multipart/related; type="application/dicom"; boundary=x'
        return http_session("technologist").post(
            f"{url}{path}", parts + b"--x--\r\n", headers={"Content-Type": content_type}
        )

    response = send(accepted, written(conflicting), b"no DICOM", b"\x00" * 4_000_001)
    body = response.json()
    assert (response.status_code, response.headers["Content-Type"]) == (202, "application/dicom+json")
    assert len(body["00081199"]["Value"]) == 1
    (failed,) = body["00081198"]["Value"]
    assert (tag(failed, "FailureReason"), tag(failed, "ReferencedSOPInstanceUID")) == (NOT_PROCESSED, "1.2.50.1.2")
    assert "waits for a person" in failed["00000902"]["Value"][0]
    reasons = [tag(item, "FailureReason") for item in body["0008119A"]["Value"]]
    assert sorted(reasons) == sorted([OUT_OF_RESOURCES, NOT_UNDERSTOOD])
    with app.database.reading() as session:
        arrivals = session.scalars(select(Arrival).where(Arrival.code == "conflicting-patient")).all()
    assert any(item.route == "stow" and item.sealed_bytes for item in arrivals)

    repeated = send(accepted)
    assert (repeated.status_code, len(repeated.json()["00081199"]["Value"])) == (200, 1)
    assert send(written(conflicting)).status_code == 409
    other_study = send(accepted, path="/dicom-web/studies/1.2.51")
    assert other_study.status_code == 409
    assert tag(other_study.json()["00081198"]["Value"][0], "FailureReason") == NOT_OF_THIS_STUDY
    assert send(accepted, path="/dicom-web/studies/1.2.50").status_code == 200
    post = http_session("technologist").post
    assert post(f"{url}/dicom-web/studies", accepted, headers={"Content-Type": "application/dicom"}).status_code == 415
    content_type = 'multipart/related; type="application/dicom"; boundary=x'
    for malformed in (b"", b"--x--", b"--x\r\n\r\nhalf"):
        refused = post(f"{url}/dicom-web/studies", malformed, headers={"Content-Type": content_type})
        assert refused.status_code == 400, malformed
    json_content_type = 'multipart/related; type="application/dicom+json"; boundary=x'
    assert post(f"{url}/dicom-web/studies", b"", headers={"Content-Type": json_content_type}).status_code == 415


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"syntax": "1.2.840.10008.1.2.4.55"}, SYNTAX_NOT_SUPPORTED),  # JPEG progressive
        ({"syntax": "1.2.840.10008.1.2.4.102"}, SYNTAX_NOT_SUPPORTED),  # MPEG-4
        ({"syntax": "1.2.3.4.5"}, SYNTAX_NOT_SUPPORTED),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.38.1", "PixelData": None}, CLASS_NOT_SUPPORTED),  # of no patient
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.200.3", "PixelData": None}, CLASS_NOT_SUPPORTED),
        ({"SOPClassUID": "1.2.3.4.5", "PixelData": None}, CLASS_NOT_SUPPORTED),  # private
        ({"BitsAllocated": 24, "BitsStored": 24, "HighBit": 23}, NOT_PROCESSED),
        ({"HighBit": 15}, NOT_PROCESSED),
        ({"SamplesPerPixel": 4}, NOT_PROCESSED),
        ({"Rows": 20_000, "Columns": 20_000}, OUT_OF_RESOURCES),
        ({"PhotometricInterpretation": None}, NOT_UNDERSTOOD),
        ({"PixelData": b"\0\0"}, NOT_UNDERSTOOD),
    ],
)
def test_a_refusal_has_its_true_reason(
    url: str, http_session: Sessions, change: dict[str, Any], reason: int, request: pytest.FixtureRequest
) -> None:
    number = crc32(request.node.name.encode())
    dataset = small_ct(1, study=f"1.2.57.{number}", series=f"1.2.57.{number}.1", patient="5700")
    dataset.PatientID, dataset.PatientName = f"REFUSED-{number}", f"REFUSED^{number}"
    syntax = change.get("syntax")
    for keyword, value in change.items():
        if value is None:
            delattr(dataset, keyword)
        elif keyword != "syntax":
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    if syntax:
        dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
    body = written(dataset)
    if syntax:  # written as its pixels are, with another name
        padded = syntax + "\0" * (len(syntax) % 2)
        element = b"UI" + len(padded).to_bytes(2, "little") + padded.encode()
        start = body.index(b"\x02\x00\x10\x00UI") + 4
        length = int.from_bytes(body[start + 2 : start + 4], "little")
        grown = len(element) - 4 - length
        group = int.from_bytes(body[140:144], "little") + grown
        body = body[:140] + group.to_bytes(4, "little") + body[144:start] + element + body[start + 4 + length :]
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    message = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n--x--\r\n"
    answer = http_session("technologist").post(f"{url}/dicom-web/studies", message, headers={"Content-Type": kind})
    assert answer.status_code == 409, answer.text
    (failed,) = answer.json()["00081198"]["Value"]
    assert hex(tag(failed, "FailureReason")) == hex(reason)


def test_a_lying_content_length_harms_nobody(url: str, http_session: Sessions, app: AppContext) -> None:
    port = int(url.rpartition(":")[2])
    token = str(http_session("technologist").headers["Authorization"])
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + written(small_ct(9, study="1.2.55", patient="5500"))
    for declared in (10_000_000, 10):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: " + token.encode() + b"\r\n"
                b'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\n'
                b"Content-Length: " + str(declared).encode() + b"\r\n\r\n" + body
            )
            connection.shutdown(socket.SHUT_WR)
            response = connection.recv(65536)
        assert b"200 OK" not in response
    assert http_session("technologist").get(f"{url}/api/health").status_code == 200
    assert http_session("technologist").get(f"{url}/dicom-web/studies?StudyInstanceUID=1.2.55").status_code == 204


def test_what_is_signed_stays_and_who_may_not_delete_is_refused(
    client: Clients, app: AppContext, url: str, http_session: Sessions
) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.60", series="1.2.60.1", patient="6000"))
    address = f"{url}/dicom-web/studies/{study}"
    assert http_session("technologist").delete(address).status_code == 403
    assert http_session("outsider").delete(address).status_code == 404
    with app.database.writing() as session:
        image = session.scalars(select(Image).where(Image.sop_instance_uid == instance)).one()
        studies.lock_images(session, image.study_id)
    for path in ("", f"/series/{series}", f"/series/{series}/instances/{instance}"):
        response = http_session("administrator").delete(address + path)
        assert (response.status_code, response.json()["code"]) == (409, "image-locked")
    assert client("viewer").retrieve_instance(study, series, instance).Rows == 16


def test_one_project_is_served_by_itself(
    client: Clients, app: AppContext, people: People, url: str, http_session: Sessions
) -> None:
    project_path = f"/dicom-web/projects/{people.project_id}"
    ((study, series, instance),) = stored_uids(
        client("technologist", project_path).store_instances(
            [small_ct(1, study="1.2.70", series="1.2.70.1", patient="7000")]
        )
    )
    (match,) = client("viewer", project_path).search_for_studies(search_filters={"StudyInstanceUID": study})
    assert tag(match, "RetrieveURL") == f"{url}{project_path}/studies/{study}"
    metadata = client("viewer", project_path).retrieve_instance_metadata(study, series, instance)
    assert metadata["7FE00010"]["BulkDataURI"].startswith(
        f"{url}{project_path}/studies/{study}/series/{series}/instances/"
    )
    other_project = f"{url}/dicom-web/projects/{people.other_project_id}/studies"
    assert http_session("viewer").get(other_project).status_code == 404
    assert http_session("outsider").get(other_project).status_code == 204
    assert http_session("outsider").get(f"{url}/dicom-web/studies/{study}").status_code == 404
    assert http_session("outsider").get(f"{url}{project_path}/studies/{study}").status_code == 404
    assert http_session("patient").get(f"{url}{project_path}/studies/{study}").status_code == 403
    assert requests.get(f"{url}{project_path}/studies", timeout=30).status_code == 401
    with app.database.writing() as session:
        session.add(Membership(user_id=people.outsider_id, project_id=people.project_id, role=Role.TECHNOLOGIST))
    outsider = requests.Session()
    outsider.headers["Authorization"] = f"Bearer {token_of(app, 'outsider@lab.example')}"
    body = b"--x\r\n\r\n" + written(small_ct(2, study="1.2.70", series="1.2.70.1", patient="7000")) + b"\r\n--x--"
    content_type = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    refused = outsider.post(f"{url}/dicom-web/studies", body, headers=content_type)
    assert (refused.status_code, "Say into which" in refused.json()["detail"]) == (400, True)
    assert outsider.post(f"{url}{project_path}/studies", body, headers=content_type).status_code == 200
    outsider.close()


def test_attributes_are_kept_until_an_object_comes_or_goes(client: Clients, app: AppContext) -> None:
    ((study, series, first_instance),) = store(client, small_ct(1, study="1.2.80", series="1.2.80.1", patient="8000"))
    reader = client("researcher")

    def metadata_blob() -> str | None:
        with app.database.reading() as session:
            return session.scalars(select(Series.metadata_blob).where(Series.series_uid == series)).one()

    assert len(reader.retrieve_series_metadata(study, series)) == 1
    first_blob = metadata_blob()
    assert first_blob is not None
    assert len(reader.retrieve_series_metadata(study, series)) == 1
    assert metadata_blob() == first_blob
    store(client, small_ct(2, study="1.2.80", series="1.2.80.1", patient="8000"))
    run_jobs(app)
    assert not app.blobs.has(first_blob)
    assert len(reader.retrieve_series_metadata(study, series)) == 2
    second_blob = metadata_blob()
    client("administrator").delete_instance(study, series, first_instance)
    assert len(reader.retrieve_study_metadata(study)) == 1
    run_jobs(app)
    assert second_blob is not None
    assert not app.blobs.has(second_blob)
    last_blob = metadata_blob()
    assert last_blob is not None
    assert app.blobs.has(last_blob)
    client("administrator").delete_study(study)
    run_jobs(app)
    assert not app.blobs.has(last_blob)


def test_an_object_without_pixels_is_kept_described_and_not_shown(
    app: AppContext, client: Clients, url: str, http_session: Sessions, people: People
) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.90", series="1.2.90.1", patient="9000"))
    with app.database.writing() as session:  # as such objects are kept
        image = session.scalars(select(Image).where(Image.sop_instance_uid == instance)).one()
        image.frames = image.width = image.height = 0
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    get = http_session("viewer").get
    assert get(f"{address}/rendered").status_code == 406
    assert get(f"{address}/thumbnail").status_code == 406
    assert get(f"{address}/frames/1").status_code == 404
    assert get(address, headers={"Accept": "application/dicom"}).status_code == 200


def test_hostile_addresses_and_headers_are_refused(client: Clients, url: str, http_session: Sessions) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.95", series="1.2.95.1", patient="9500"))
    instance_address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    hostile_values = [
        "%00",
        "..%2F..%2Fetc%2Fpasswd",
        "%FF",
        "'%20OR%201=1",
        "9" * 5000,
        "%F0%9F%98%80",
        "-1",
        "1e9",
        "*",
    ]
    get = http_session("administrator").get
    for value in hostile_values:
        for address in (
            f"{url}/dicom-web/studies/{value}",
            f"{url}/dicom-web/studies/{study}/series/{value}/metadata",
            f"{instance_address}/frames/{value}",
            f"{instance_address}/frames/{value}/rendered",
            f"{instance_address}/bulkdata/{value}",
            f"{instance_address}/bulkdata/7FE00010/{value}/00080005",
            f"{url}/dicom-web/projects/{value}/studies",
            f"{url}/dicom-web/studies?PatientName={value}&{value}=1&includefield={value}",
            f"{url}/dicom-web/instances?InstanceNumber={value}&limit={value}",
            f"{instance_address}/rendered?window={value},{value},{value}&viewport={value},{value}&quality={value}",
        ):
            response = get(address)
            assert response.status_code < 500, (address, response.text[:300])
            assert response.status_code != 200 or "studies?" in address or "instances?" in address, address
    for accept in ('multipart/related; type="', ",,,;;;", "*/*;q=x", "a" * 5000, 'multipart/related; type="*/*;;="'):
        assert get(instance_address, headers={"Accept": accept}).status_code in {200, 400, 406}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")
def test_real_files_go_in_and_come_out(client: Clients) -> None:
    names = (
        "emri_small.dcm",
        "emri_small_RLE.dcm",
        "emri_small_jpeg_2k_lossless.dcm",
        "emri_small_jpeg_ls_lossless.dcm",
    )
    reader = client("researcher")
    for number, name in enumerate(names):
        if not (REAL / "pydicom-data" / name).exists():
            continue
        ((study, series, instance),) = store(client, as_other_patient(name, 300 + number))
        metadata = reader.retrieve_instance_metadata(study, series, instance)
        frame_count = tag(metadata, "NumberOfFrames")
        retrieved = reader.retrieve_instance(study, series, instance, media_types=(("application/dicom", EXPLICIT),))
        (last_frame,) = reader.retrieve_instance_frames(
            study, series, instance, [frame_count], media_types=((RAW, EXPLICIT),)
        )
        assert last_frame == retrieved.pixel_array[-1].tobytes(), name
        rendered = reader.retrieve_instance_frames_rendered(
            study, series, instance, [frame_count], media_types=("image/png",)
        )
        assert Picture.open(BytesIO(rendered)).size[0] == tag(metadata, "Columns")


def test_what_is_found_is_what_a_peer_would_be_handed(app: AppContext, people: People, client: Clients) -> None:
    ((study, _, instance),) = store(client, small_ct(1, study="1.2.99", series="1.2.99.1", patient="9900"))
    with app.database.reading() as session:
        (image,) = search_images(session, [people.project_id], {"StudyInstanceUID": study})
    assert image.sop_instance_uid == instance
