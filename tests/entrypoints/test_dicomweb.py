# SPDX-License-Identifier: Apache-2.0
"""DICOMweb as others use it: with dicomweb-client, on a server of this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image as Picture
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, JPEGLSLossless, RLELossless
from sqlalchemy import select

from medhub.accounts.models import Membership
from medhub.accounts.permissions import Role
from medhub.entrypoints.dicomweb.qido import MOST_MATCHES
from medhub.entrypoints.dicomweb.stow import NOT_OF_THIS_STUDY, NOT_PROCESSED, NOT_UNDERSTOOD, OUT_OF_RESOURCES
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
def session(app: AppContext) -> Iterator[Sessions]:
    opened: dict[str, requests.Session] = {}

    def act(who: str) -> requests.Session:
        if who not in opened:
            opened[who] = requests.Session()
            opened[who].headers["Authorization"] = f"Bearer {token_of(app, f'{who}@lab.example')}"
        return opened[who]

    yield act
    for one in opened.values():
        one.close()


@pytest.fixture(scope="module")
def client(url: str, session: Sessions) -> Clients:
    """Makes the client of a role, at the whole service or at one project."""
    return lambda role, path="/dicom-web": DICOMwebClient(f"{url}{path}", session=session(role))


def tag(found: dict[str, Any], keyword: str) -> Any:
    return found[f"{pydicom.datadict.tag_for_keyword(keyword):08X}"].get("Value", [None])[0]


def stored_uids(answer: Dataset) -> list[tuple[str, str, str]]:
    """The UIDs under which stored objects are retrieved."""
    addresses = [item.RetrieveURL.split("/") for item in answer.ReferencedSOPSequence]
    return [(one[-5], one[-3], one[-1]) for one in addresses]


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


def of_its_own(name: str, number: int) -> Dataset:
    """A file as another patient's, so that it contradicts none of the others."""
    made = {"several native": EXPLICIT, "several RLE": RLELossless, "several JPEG-LS": JPEGLSLossless}
    if name in made:
        dataset = several_frames(made[name])
    else:
        dataset = dcmread(BUNDLED / name if (BUNDLED / name).exists() else REAL / "pydicom-data" / name)
    dataset.PatientID, dataset.PatientName = f"B-{number}", f"BUNDLED^{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.9.{number}", f"1.9.{number}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.9.{number}.1.1"  # type: ignore[assignment]
    return dataset


def kept_file(app: AppContext, sop_instance_uid: str) -> Dataset:
    with app.database.reading() as reading:
        image = reading.scalars(select(Image).where(Image.sop_instance_uid == sop_instance_uid)).one()
        return dcmread(BytesIO(app.blobs.get(image.blob)))


def test_objects_go_in_and_are_found_retrieved_shown_and_deleted(client: Clients) -> None:
    datasets = [small_ct(n, study="1.2.10", series="1.2.10.1", patient="1000") for n in (2, 1, 3)]
    datasets.append(small_ct(1, study="1.2.10", series="1.2.10.2", patient="1000"))
    answer = client("technologist").store_instances(datasets)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in datasets
    ]
    assert "FailedSOPSequence" not in answer
    (study, series, instance), *_ = stored_uids(answer)
    assert str(answer.RetrieveURL).endswith(f"/dicom-web/studies/{study}")

    reader = client("researcher")
    (found,) = reader.search_for_studies(search_filters={"StudyInstanceUID": study})
    assert (tag(found, "NumberOfStudyRelatedSeries"), tag(found, "NumberOfStudyRelatedInstances")) == (2, 4)
    assert tag(found, "ModalitiesInStudy") == "CT"
    assert tag(found, "PatientName") == {"Alphabetic": tag(found, "PatientID")}
    assert len(reader.search_for_series(study)) == 2
    numbers = [tag(one, "InstanceNumber") for one in reader.search_for_instances(study, series)]
    assert numbers == [1, 2, 3]

    retrieved = reader.retrieve_instance(study, series, instance)
    sent = np.frombuffer(datasets[0].PixelData, "<u2")
    assert np.array_equal(np.frombuffer(retrieved.PixelData, "<u2"), sent)
    assert [len(reader.retrieve_series(study, series)), len(reader.retrieve_study(study))] == [3, 4]
    assert len(list(reader.iter_study(study))) == 4
    (frame,) = reader.retrieve_instance_frames(study, series, instance, [1])
    assert frame == retrieved.PixelData
    (described,) = [reader.retrieve_instance_metadata(study, series, instance)]
    assert Dataset.from_json(described, lambda *_: b"").Rows == 16
    assert next(iter(reader.retrieve_bulkdata(described["7FE00010"]["BulkDataURI"]))) == retrieved.PixelData
    shown = reader.retrieve_instance_rendered(study, series, instance, media_types=("image/png",))
    assert Picture.open(BytesIO(shown)).size == (24, 16)
    shown = reader.retrieve_instance_frames_rendered(study, series, instance, [1], media_types=("image/jpeg",))
    assert Picture.open(BytesIO(shown)).format == "JPEG"

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
    client: Clients, url: str, session: Sessions, app: AppContext
) -> None:
    answer = [store(client, small_ct(1, study=f"1.2.2{n}", series=f"1.2.2{n}.1", patient=f"200{n}"))[0] for n in "123"]
    with app.database.writing() as writing:
        for number, (uid, _, _) in enumerate(answer):
            study = writing.scalars(select(Study).where(Study.study_uid == uid)).one()
            study.study_date, study.description = f"2020010{number + 1}", f"HEAD {number}"
    reader = client("viewer")
    uids = [study for study, _, _ in answer]

    def found(**filters: str) -> set[str]:
        matches = reader.search_for_studies(search_filters=filters)
        return {tag(one, "StudyInstanceUID") for one in matches}

    code = tag(reader.search_for_studies(search_filters={"StudyInstanceUID": uids[0]})[0], "PatientID")
    assert found(PatientName=code.lower()) == {uids[0]}
    assert found(PatientID=f"*{code[3:]}") == {uids[0]}
    assert found(StudyDate="20200102-20200109") == set(uids[1:])
    assert found(StudyInstanceUID=",".join(uids[:2])) == set(uids[:2])
    assert found(**{"00081030": "HEAD ?", "StudyDate": "-20200101"}) == {uids[0]}
    assert found(ModalitiesInStudy="MR", StudyInstanceUID=uids[0]) == set()
    (described,) = reader.search_for_instances(uids[0], fields=["ImageType", "00280101", "StudyDescription"])
    assert described["00080008"]["Value"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert (tag(described, "BitsStored"), tag(described, "StudyDescription")) == (12, "HEAD 0")
    (everything,) = reader.search_for_instances(uids[0], fields=["all"])
    assert {"00080020", "00080060", "00280004", "00201206"} <= set(everything)
    filters = {"StudyDescription": "HEAD*"}
    everyone = reader.search_for_studies(search_filters=filters)
    paged = [reader.search_for_studies(search_filters=filters, limit=1, offset=n) for n in range(4)]
    assert [page[0] for page in paged[:3]] == everyone
    assert paged[3] == []
    assert len(reader.search_for_studies(search_filters=filters, limit=2, get_remaining=True)) == 3

    get = session("viewer").get
    ask = f"{url}/dicom-web/studies"
    ignored = get(f"{ask}?RequestedProcedureID=7&StudyInstanceUID={uids[0]}")
    assert "RequestedProcedureID" in ignored.headers["Warning"]
    assert get(f"{ask}?StudyInstanceUID=1.2.3.4").status_code == 204
    assert get(f"{ask}?limit=1").headers.get("Warning") is None
    for wrong in ("StudyDate=yesterday", "NoAttribute=1", "limit=-1", "offset=x", "fuzzymatching=maybe"):
        refused = get(f"{ask}?{wrong}")
        assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/problem+json"), wrong
    assert get(ask, headers={"Accept": "application/dicom+xml"}).status_code == 406
    assert get(f"{url}/dicom-web/nothing").status_code == 404


def test_what_the_server_cuts_off_is_said(
    url: str, session: Sessions, people: People, app: AppContext, monkeypatch: pytest.MonkeyPatch, client: Clients
) -> None:
    assert MOST_MATCHES > 1
    monkeypatch.setattr("medhub.entrypoints.dicomweb.qido.MOST_MATCHES", 1)
    for n in "12":
        store(client, small_ct(1, study=f"1.2.3{n}", series=f"1.2.3{n}.1", patient=f"300{n}"))
    answer = session("viewer").get(f"{url}/dicom-web/studies")
    assert len(answer.json()) == 1
    assert answer.headers["Warning"].startswith("299 ")


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
    app: AppContext, client: Clients, url: str, session: Sessions, name: str
) -> None:
    ((study, series, instance),) = store(client, of_its_own(name, 100 + FILES.index(name)))
    kept = kept_file(app, instance)
    frames = int(kept.get("NumberOfFrames", 1))
    reader = client("physician")
    stored = reader.retrieve_instance_frames(study, series, instance, list(range(1, frames + 1)))
    if kept.file_meta.TransferSyntaxUID.is_encapsulated:
        expected = list(pydicom.encaps.generate_frames(kept.PixelData, number_of_frames=frames))
        assert stored == expected
    else:
        assert b"".join(stored) == kept.PixelData[: sum(map(len, stored))]
        assert len(kept.PixelData) - sum(map(len, stored)) < 2
    values = kept.pixel_array if frames > 1 else kept.pixel_array[None]
    for number in {1, frames}:
        (raw,) = reader.retrieve_instance_frames(
            study, series, instance, [number], media_types=((RAW, "1.2.840.10008.1.2.1"),)
        )
        decoded = np.frombuffer(raw, values.dtype)
        if kept.PhotometricInterpretation == "YBR_FULL_422" and not kept.file_meta.TransferSyntaxUID.is_encapsulated:
            assert raw == stored[number - 1]
        elif kept.PhotometricInterpretation != "YBR_FULL_422" and kept.get("PlanarConfiguration", 0) == 0:
            assert np.array_equal(decoded.reshape(values[0].shape), values[number - 1])
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}/frames"
    alone = session("physician").get(f"{address}/{frames}", headers={"Accept": f"{RAW}; transfer-syntax=*"})
    assert alone.content == stored[-1]
    assert alone.headers["Content-Type"].endswith(f"transfer-syntax={kept.file_meta.TransferSyntaxUID}")
    assert session("physician").get(f"{address}/{frames + 1}").status_code == 404
    assert session("physician").get(f"{address}/1", headers={"Accept": "video/mp4"}).status_code == 406
    whole = reader.retrieve_instance(
        study, series, instance, media_types=(("application/dicom", "1.2.840.10008.1.2.1"),)
    )
    assert whole.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert whole.pixel_array.shape == kept.pixel_array.shape


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "several JPEG-LS"])
def test_pictures_have_the_values_that_pydicom_computes(
    app: AppContext, client: Clients, url: str, session: Sessions, name: str
) -> None:
    ((study, series, instance),) = store(client, of_its_own(name, 200 + FILES.index(name)))
    kept = kept_file(app, instance)
    frames = int(kept.get("NumberOfFrames", 1))
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    for function in ("linear", "linear-exact", "sigmoid"):
        answer = session("viewer").get(
            f"{address}/frames/{frames}/rendered?window=400.5,900,{function}", headers={"Accept": "image/png"}
        )
        seen = np.asarray(Picture.open(BytesIO(answer.content)))[..., 0]
        stored = kept.pixel_array[frames - 1] if frames > 1 else kept.pixel_array
        as_wanted = Dataset()
        as_wanted.WindowCenter, as_wanted.WindowWidth = 400.5, 900
        as_wanted.VOILUTFunction = function.upper().replace("-", "_")
        as_wanted.PhotometricInterpretation, as_wanted.BitsStored, as_wanted.PixelRepresentation = "MONOCHROME2", 16, 1
        group = kept.get("SharedFunctionalGroupsSequence") or kept.get("PerFrameFunctionalGroupsSequence")
        rescale = kept
        for one in group or ():
            rescale = (one.get("PixelValueTransformationSequence") or [rescale])[0]
        if frames > 1 and "PixelValueTransformationSequence" in kept.PerFrameFunctionalGroupsSequence[frames - 1]:
            rescale = kept.PerFrameFunctionalGroupsSequence[frames - 1].PixelValueTransformationSequence[0]
        measured = apply_modality_lut(stored, rescale).astype(np.float64)
        # pydicom maps to the range of the stored bits; here to eight.
        shown = apply_voi_lut(measured, as_wanted)
        low, high = -(2**15), 2**15 - 1
        expected = np.rint((shown - low) / (high - low) * 255)
        assert np.abs(expected - seen).max() <= 1, function
        assert (expected == seen).mean() > 0.99, function


def test_pictures_fit_their_place_show_their_part_and_stay_in_the_browser(
    client: Clients, url: str, session: Sessions
) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.40", series="1.2.40.1", patient="4000"))
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered"
    get = session("viewer").get

    def picture(query: str, accept: str = "image/png") -> Any:
        answer = get(f"{address}?{query}", headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        return Picture.open(BytesIO(answer.content))

    whole = np.asarray(picture(""))
    assert picture("viewport=48,48").size == (48, 32)
    assert picture("viewport=12,100").size == (12, 8)
    part = np.asarray(picture("viewport=8,4,2,3,8,4"))
    assert np.array_equal(part, whole[3:7, 2:10])
    mirrored = np.asarray(picture("viewport=8,4,2,3,-8,4"))
    assert np.array_equal(mirrored, part[:, ::-1])
    assert picture("", "image/webp").format == "WEBP"
    assert picture("accept=image/png", "*/*").format == "PNG"
    assert picture("", "*/*").format == "JPEG"
    poor, rich = (get(f"{address}?quality={quality}").content for quality in (5, 95))
    assert len(poor) < len(rich)
    first = get(address)
    assert "immutable" in first.headers["Cache-Control"]
    assert get(address, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    for wrong in ("window=1", "window=1,0,linear", "window=1,2,cubic", "viewport=0,5", "viewport=1", "quality=0"):
        assert get(f"{address}?{wrong}").status_code == 400, wrong
    assert get(address, headers={"Accept": "image/gif"}).status_code == 406
    for level in (
        f"studies/{study}",
        f"studies/{study}/series/{series}",
        f"studies/{study}/series/{series}/instances/{instance}",
    ):
        small = get(f"{url}/dicom-web/{level}/thumbnail")
        assert Picture.open(BytesIO(small.content)).size == (24, 16)


def test_each_object_gets_an_outcome_of_its_own(client: Clients, url: str, session: Sessions, app: AppContext) -> None:
    good = written(small_ct(1, study="1.2.50", series="1.2.50.1", patient="5000"))
    other = small_ct(2, study="1.2.50", series="1.2.50.1", patient="5000")
    other.PatientName = "ROE^RICHARD"

    def send(*bodies: bytes, path: str = "/dicom-web/studies") -> requests.Response:
        parts = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + body + b"\r\n" for body in bodies)
        kind = 'multipart/related; type="application/dicom"; boundary=x'
        return session("technologist").post(f"{url}{path}", parts + b"--x--\r\n", headers={"Content-Type": kind})

    mixed = send(good, written(other), b"no DICOM", b"\x00" * 4_000_001)
    body = mixed.json()
    assert (mixed.status_code, mixed.headers["Content-Type"]) == (202, "application/dicom+json")
    assert len(body["00081199"]["Value"]) == 1
    (failed,) = body["00081198"]["Value"]
    assert (tag(failed, "FailureReason"), tag(failed, "ReferencedSOPInstanceUID")) == (NOT_PROCESSED, "1.2.50.1.2")
    assert "waits for a person" in failed["00000902"]["Value"][0]
    reasons = [tag(one, "FailureReason") for one in body["0008119A"]["Value"]]
    assert sorted(reasons) == sorted([OUT_OF_RESOURCES, 0x0122])
    assert NOT_UNDERSTOOD not in reasons
    with app.database.reading() as reading:
        waiting = reading.scalars(select(Arrival).where(Arrival.code == "conflicting-patient")).all()
    assert any(one.route == "stow" and one.sealed_bytes for one in waiting)

    again = send(good)
    assert (again.status_code, len(again.json()["00081199"]["Value"])) == (200, 1)
    assert send(written(other)).status_code == 409
    elsewhere = send(good, path="/dicom-web/studies/1.2.51")
    assert elsewhere.status_code == 409
    assert tag(elsewhere.json()["00081198"]["Value"][0], "FailureReason") == NOT_OF_THIS_STUDY
    assert send(good, path="/dicom-web/studies/1.2.50").status_code == 200
    post = session("technologist").post
    assert post(f"{url}/dicom-web/studies", good, headers={"Content-Type": "application/dicom"}).status_code == 415
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    for broken in (b"", b"--x--", b"--x\r\n\r\nhalf"):
        answer = post(f"{url}/dicom-web/studies", broken, headers={"Content-Type": kind})
        assert answer.status_code == 400, broken
    described = 'multipart/related; type="application/dicom+json"; boundary=x'
    assert post(f"{url}/dicom-web/studies", b"", headers={"Content-Type": described}).status_code == 415


def test_a_lying_content_length_harms_nobody(url: str, session: Sessions, app: AppContext) -> None:
    port = int(url.rpartition(":")[2])
    token = str(session("technologist").headers["Authorization"])
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + written(small_ct(9, study="1.2.55", patient="5500"))
    for declared in (10_000_000, 10):
        with socket.create_connection(("127.0.0.1", port)) as liar:
            liar.sendall(
                b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: " + token.encode() + b"\r\n"
                b'Content-Type: multipart/related; type="application/dicom"; boundary=x\r\n'
                b"Content-Length: " + str(declared).encode() + b"\r\n\r\n" + body
            )
            liar.shutdown(socket.SHUT_WR)
            answer = liar.recv(65536)
        assert b"200 OK" not in answer
    assert session("technologist").get(f"{url}/api/health").status_code == 200
    assert session("technologist").get(f"{url}/dicom-web/studies?StudyInstanceUID=1.2.55").status_code == 204


def test_what_is_signed_stays_and_who_may_not_delete_is_refused(
    client: Clients, app: AppContext, url: str, session: Sessions
) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.60", series="1.2.60.1", patient="6000"))
    address = f"{url}/dicom-web/studies/{study}"
    assert session("technologist").delete(address).status_code == 403
    assert session("outsider").delete(address).status_code == 404
    with app.database.writing() as writing:
        image = writing.scalars(select(Image).where(Image.sop_instance_uid == instance)).one()
        studies.lock_images(writing, image.study_id)
    for path in ("", f"/series/{series}", f"/series/{series}/instances/{instance}"):
        answer = session("administrator").delete(address + path)
        assert (answer.status_code, answer.json()["code"]) == (409, "image-locked")
    assert client("viewer").retrieve_instance(study, series, instance).Rows == 16


def test_one_project_is_served_by_itself(
    client: Clients, app: AppContext, people: People, url: str, session: Sessions
) -> None:
    here = f"/dicom-web/projects/{people.project_id}"
    ((study, series, instance),) = stored_uids(
        client("technologist", here).store_instances([small_ct(1, study="1.2.70", series="1.2.70.1", patient="7000")])
    )
    (found,) = client("viewer", here).search_for_studies(search_filters={"StudyInstanceUID": study})
    assert tag(found, "RetrieveURL") == f"{url}{here}/studies/{study}"
    described = client("viewer", here).retrieve_instance_metadata(study, series, instance)
    assert described["7FE00010"]["BulkDataURI"].startswith(f"{url}{here}/studies/{study}/series/{series}/instances/")
    foreign = f"{url}/dicom-web/projects/{people.other_project_id}/studies"
    assert session("viewer").get(foreign).status_code == 404
    assert session("outsider").get(foreign).status_code == 204
    assert session("outsider").get(f"{url}/dicom-web/studies/{study}").status_code == 404
    assert session("outsider").get(f"{url}{here}/studies/{study}").status_code == 404
    assert session("patient").get(f"{url}{here}/studies/{study}").status_code == 403
    assert requests.get(f"{url}{here}/studies", timeout=30).status_code == 401
    with app.database.writing() as writing:
        writing.add(Membership(user_id=people.outsider_id, project_id=people.project_id, role=Role.TECHNOLOGIST))
    both = requests.Session()
    both.headers["Authorization"] = f"Bearer {token_of(app, 'outsider@lab.example')}"
    body = b"--x\r\n\r\n" + written(small_ct(2, study="1.2.70", series="1.2.70.1", patient="7000")) + b"\r\n--x--"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    unclear = both.post(f"{url}/dicom-web/studies", body, headers=kind)
    assert (unclear.status_code, "Say into which" in unclear.json()["detail"]) == (400, True)
    assert both.post(f"{url}{here}/studies", body, headers=kind).status_code == 200
    both.close()


def test_attributes_are_kept_until_an_object_comes_or_goes(client: Clients, app: AppContext) -> None:
    ((study, series, first),) = store(client, small_ct(1, study="1.2.80", series="1.2.80.1", patient="8000"))
    reader = client("researcher")

    def kept() -> str | None:
        with app.database.reading() as reading:
            return reading.scalars(select(Series.metadata_blob).where(Series.series_uid == series)).one()

    assert len(reader.retrieve_series_metadata(study, series)) == 1
    before = kept()
    assert before is not None
    assert len(reader.retrieve_series_metadata(study, series)) == 1
    assert kept() == before
    store(client, small_ct(2, study="1.2.80", series="1.2.80.1", patient="8000"))
    run_jobs(app)
    assert not app.blobs.has(before)
    assert len(reader.retrieve_series_metadata(study, series)) == 2
    second = kept()
    client("administrator").delete_instance(study, series, first)
    assert len(reader.retrieve_study_metadata(study)) == 1
    run_jobs(app)
    assert second is not None
    assert not app.blobs.has(second)
    last = kept()
    assert last is not None
    assert app.blobs.has(last)
    client("administrator").delete_study(study)
    run_jobs(app)
    assert not app.blobs.has(last)


def test_an_object_without_pixels_is_kept_described_and_not_shown(
    app: AppContext, client: Clients, url: str, session: Sessions, people: People
) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.90", series="1.2.90.1", patient="9000"))
    with app.database.writing() as writing:  # as such objects are kept
        image = writing.scalars(select(Image).where(Image.sop_instance_uid == instance)).one()
        image.frames = image.width = image.height = 0
    address = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    get = session("viewer").get
    assert get(f"{address}/rendered").status_code == 406
    assert get(f"{address}/thumbnail").status_code == 406
    assert get(f"{address}/frames/1").status_code == 404
    assert get(address, headers={"Accept": "application/dicom"}).status_code == 200


def test_hostile_addresses_and_headers_are_refused(client: Clients, url: str, session: Sessions) -> None:
    ((study, series, instance),) = store(client, small_ct(1, study="1.2.95", series="1.2.95.1", patient="9500"))
    good = f"{url}/dicom-web/studies/{study}/series/{series}/instances/{instance}"
    hostile = ["%00", "..%2F..%2Fetc%2Fpasswd", "%FF", "'%20OR%201=1", "9" * 5000, "%F0%9F%98%80", "-1", "1e9", "*"]
    asked = session("administrator").get
    for one in hostile:
        for address in (
            f"{url}/dicom-web/studies/{one}",
            f"{url}/dicom-web/studies/{study}/series/{one}/metadata",
            f"{good}/frames/{one}",
            f"{good}/frames/{one}/rendered",
            f"{good}/bulkdata/{one}",
            f"{good}/bulkdata/7FE00010/{one}/00080005",
            f"{url}/dicom-web/projects/{one}/studies",
            f"{url}/dicom-web/studies?PatientName={one}&{one}=1&includefield={one}",
            f"{url}/dicom-web/instances?InstanceNumber={one}&limit={one}",
            f"{good}/rendered?window={one},{one},{one}&viewport={one},{one}&quality={one}",
        ):
            answer = asked(address)
            assert answer.status_code < 500, (address, answer.text[:300])
            assert answer.status_code != 200 or "studies?" in address or "instances?" in address, address
    for accept in ('multipart/related; type="', ",,,;;;", "*/*;q=x", "a" * 5000, 'multipart/related; type="*/*;;="'):
        assert asked(good, headers={"Accept": accept}).status_code in {200, 400, 406}


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
        ((study, series, instance),) = store(client, of_its_own(name, 300 + number))
        described = reader.retrieve_instance_metadata(study, series, instance)
        frames = tag(described, "NumberOfFrames")
        decoded = reader.retrieve_instance(study, series, instance, media_types=(("application/dicom", EXPLICIT),))
        (last,) = reader.retrieve_instance_frames(study, series, instance, [frames], media_types=((RAW, EXPLICIT),))
        assert last == decoded.pixel_array[-1].tobytes(), name
        shown = reader.retrieve_instance_frames_rendered(study, series, instance, [frames], media_types=("image/png",))
        assert Picture.open(BytesIO(shown)).size[0] == tag(described, "Columns")


def test_what_is_found_is_what_a_peer_would_be_handed(app: AppContext, people: People, client: Clients) -> None:
    ((study, _, instance),) = store(client, small_ct(1, study="1.2.99", series="1.2.99.1", patient="9900"))
    with app.database.reading() as reading:
        (image,) = search_images(reading, [people.project_id], {"StudyInstanceUID": study})
    assert image.sop_instance_uid == instance
