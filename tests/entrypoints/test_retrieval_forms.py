# SPDX-License-Identifier: Apache-2.0
"""Forms in which objects are retrieved: transfer syntaxes, WADO-URI, pictures of series, XML, parts of files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from xml.etree import ElementTree  # of a document that this server wrote

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image as Picture
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from medhub.accounts.actor import COMMAND_LINE
from medhub.entrypoints.dicomweb.native_xml import native_model
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_file import ReceivedFile
from medhub.ingest.pipeline import ingest_files
from medhub.records.models import Image, Series, Study
from tests.factories.accounts import client_of, make_people
from tests.factories.app_contexts import open_app
from tests.factories.servers import small_ct, written

EXPLICIT = "1.2.840.10008.1.2.1"
LOSSLESS = (JPEGLSLossless, RLELossless, JPEG2000Lossless, JPEGLosslessSV1, HTJ2KLossless)
Parts = list[tuple[str, bytes]]


def larger_ct(number: int) -> Dataset:
    """A CT that is large enough for the resolutions of JPEG 2000."""
    dataset = small_ct(number)
    dataset.Rows, dataset.Columns = 32, 48
    dataset.PixelData = (np.arange(32 * 48) * 3 % 4096 + number).astype("<u2").tobytes()
    return dataset


def signed_ct() -> Dataset:
    dataset = larger_ct(2)
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
    dataset.PixelData = np.arange(-768, 768, dtype="<i2").tobytes()
    return dataset


def multiframe() -> Dataset:
    dataset = larger_ct(3)
    dataset.NumberOfFrames = 3
    dataset.PixelData = np.random.default_rng(1).integers(0, 4096, (3, 32, 48)).astype("<u2").tobytes()
    return dataset


def color() -> Dataset:
    dataset = larger_ct(4)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = np.random.default_rng(2).integers(0, 256, (32, 48, 3)).astype("u1").tobytes()
    return dataset


def compressed(syntax: str) -> Dataset:
    dataset = larger_ct(5)
    dataset.compress(syntax, generate_instance_uid=False)
    return dataset


def signed_of_12_bits() -> Dataset:
    dataset = larger_ct(7)
    dataset.PixelRepresentation = 1
    dataset.PixelData = ((np.arange(32 * 48) * 5 % 4096) - 2048).astype("<i2").tobytes()
    return dataset


def planar_color() -> Dataset:
    dataset = color()
    dataset.PlanarConfiguration = 1
    return dataset


SOURCES: dict[str, Callable[[], Dataset]] = {
    "unsigned": lambda: larger_ct(1),
    "signed": signed_ct,
    "frames": multiframe,
    "color": color,
    "jpeg-ls": lambda: compressed(JPEGLSLossless),
    "rle": lambda: compressed(RLELossless),
    "signed of 12 bits": signed_of_12_bits,
    "planar color": planar_color,
    "JPEG": lambda: dcmread(str(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))),
    "small": lambda: small_ct(6),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[AppContext]:
    with open_app(tmp_path_factory.mktemp("forms") / "data", isolation) as app:
        yield app


@pytest.fixture(scope="module")
def addresses(app: AppContext) -> dict[str, tuple[str, str, str]]:
    """The UIDs of stored objects by the names of their sources; "pair" is a study of an image and a report."""
    project_id = make_people(app).project_id
    source = IngestSource(project_id, "command")

    def store(dataset: Dataset) -> tuple[str, str, str]:
        (result,) = ingest_files(app, COMMAND_LINE, source, [ReceivedFile.of(written(dataset))])
        assert result.outcome == "accepted", result
        with app.database.reading() as session:
            image = session.get_one(Image, result.image_id)
            study, series = session.get_one(Study, image.study_id), session.get_one(Series, image.series_id)
            return study.study_uid, series.series_uid, image.sop_instance_uid

    stored = {}
    for number, (name, make) in enumerate(SOURCES.items()):
        dataset = make()
        dataset.PatientID, dataset.PatientName = f"F{number}", f"FORM^{number}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.60.{number}", f"1.2.60.{number}.1"
        dataset.SOPInstanceUID = f"1.2.60.{number}.1.1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        stored[name] = store(dataset)
    plan = dcmread(str(get_testdata_file("rtplan.dcm")))
    plan.PatientID, plan.PatientName, plan.StudyInstanceUID = "F0", "FORM^0", "1.2.60.0"
    plan.PatientBirthDate, plan.PatientSex = "19700102", "F"
    stored["plan"] = store(plan)
    return stored


@pytest.fixture(scope="module")
def viewer(app: AppContext, addresses: dict[str, tuple[str, str, str]]) -> TestClient:
    return client_of(create_app(app, run_jobs=False), app, "viewer@lab.example")


def path_of(uids: tuple[str, str, str]) -> str:
    return f"/dicom-web/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}"


def parts_of(answer: Any) -> Parts:
    """Media type and content of the parts of a message."""
    match = re.search(r"boundary=(\w+)", answer.headers["Content-Type"])
    assert match is not None
    parts = []
    for part in answer.content.split(f"\r\n--{match[1]}".encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        parts.append((head.decode().partition("Content-Type: ")[2].partition("\r\n")[0], content))
    return parts


def dicom_accept(syntax: str, *, single: bool = False) -> dict[str, str]:
    form = "application/dicom" if single else 'multipart/related; type="application/dicom"'
    return {"Accept": f"{form}; transfer-syntax={syntax}"}


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "small"])
def test_objects_come_in_a_requested_lossless_syntax_with_the_same_values(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]], name: str, syntax: str
) -> None:
    path = path_of(addresses[name])
    plain = dcmread(BytesIO(viewer.get(path, headers=dicom_accept(EXPLICIT, single=True)).content))
    answer = viewer.get(path, headers=dicom_accept(syntax))
    assert answer.status_code == 200, answer.text
    ((media_type, content),) = parts_of(answer)
    assert media_type == f"application/dicom;transfer-syntax={syntax}"
    retrieved = dcmread(BytesIO(content))
    assert retrieved.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(retrieved.pixel_array, plain.pixel_array)
    for keyword in ("SOPInstanceUID", "PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
        assert retrieved[keyword].value == plain[keyword].value
    single = viewer.get(path, headers=dicom_accept(syntax, single=True))
    assert single.headers["Content-Type"] == media_type
    assert dcmread(BytesIO(single.content)).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.81", "1.2.3"])
def test_a_syntax_that_cannot_be_made_is_not_acceptable(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]], syntax: str
) -> None:
    for single in (True, False):
        assert (
            viewer.get(path_of(addresses["unsigned"]), headers=dicom_accept(syntax, single=single)).status_code == 406
        )
    assert viewer.get(path_of(addresses["plan"]), headers=dicom_accept(JPEGLSLossless)).status_code == 406
    # Smaller than the resolutions of the encoder.
    assert viewer.get(path_of(addresses["small"]), headers=dicom_accept(JPEG2000Lossless)).status_code == 406
    both = {"Accept": f"{dicom_accept(syntax)['Accept']}, {dicom_accept('*')['Accept']};q=0.5"}
    assert viewer.get(path_of(addresses["unsigned"]), headers=both).status_code == 200


FRAME_TYPES: dict[str, str] = {
    JPEGLSLossless: "image/jls",
    RLELossless: "image/dicom-rle",
    JPEG2000Lossless: "image/jp2",
    JPEGLosslessSV1: "image/jpeg",
    JPEGLossless: "image/jpeg",
    HTJ2KLossless: "image/jphc",
}


def frame_accept(media_type: str, syntax: str | None = None, *, single: bool = False) -> str:
    form = media_type if single else f'multipart/related; type="{media_type}"'
    return form + (f"; transfer-syntax={syntax}" if syntax else "")


def decoded_frame(plain: Dataset, stream: bytes, syntax: str) -> np.ndarray[Any, Any]:
    """The values of a frame that a client gets by the attributes of its object."""
    dataset = Dataset()
    dataset.update({element.tag: element for element in plain if element.tag.group == 0x0028})
    dataset.NumberOfFrames = 1
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    if dataset.SamplesPerPixel == 3:  # streams but RLE have the colors of a pixel side by side
        dataset.PlanarConfiguration = int(syntax == RLELossless)
    dataset = with_meta_of_syntax(dataset, syntax)
    return dataset.pixel_array


def with_meta_of_syntax(dataset: Dataset, syntax: str) -> Dataset:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


@pytest.mark.parametrize("syntax", list(FRAME_TYPES))
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "small"])
def test_frames_come_in_a_requested_lossless_syntax_with_the_same_values(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]], name: str, syntax: str
) -> None:
    path = path_of(addresses[name])
    plain = dcmread(BytesIO(viewer.get(path, headers=dicom_accept(EXPLICIT, single=True)).content))
    values = plain.pixel_array if "NumberOfFrames" in plain and plain.NumberOfFrames > 1 else plain.pixel_array[None]
    numbers = [3, 1] if name == "frames" else [1]
    url = f"{path}/frames/{','.join(map(str, numbers))}"
    media_type = FRAME_TYPES[UID(syntax)]
    for accept in (frame_accept(media_type, syntax), f"*/*; transfer-syntax={syntax}"):
        answer = viewer.get(url, headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        parts = parts_of(answer)
        assert [part[0] for part in parts] == [f"{media_type};transfer-syntax={syntax}"] * len(numbers)
        for number, (_, stream) in zip(numbers, parts, strict=True):
            assert np.array_equal(decoded_frame(plain, stream, syntax), values[number - 1])
    single = viewer.get(f"{path}/frames/1", headers={"Accept": frame_accept(media_type, syntax, single=True)})
    assert single.headers["Content-Type"] == f"{media_type};transfer-syntax={syntax}"


def test_a_media_type_of_frames_without_a_syntax_means_its_lossless_one(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]]
) -> None:
    url = f"{path_of(addresses['unsigned'])}/frames/1"
    for syntax, media_type in FRAME_TYPES.items():
        answer = viewer.get(url, headers={"Accept": frame_accept(media_type, single=True)})
        expected = JPEGLosslessSV1 if media_type == "image/jpeg" else syntax
        assert answer.headers["Content-Type"] == f"{media_type};transfer-syntax={expected}", answer.text
    shallow = viewer.get(f"{path_of(addresses['color'])}/frames/1", headers={"Accept": "image/jpeg"})
    assert shallow.headers["Content-Type"] == f"image/jpeg;transfer-syntax={JPEGBaseline8Bit}"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/jls;q=0.4, image/dicom-rle;q=0.9", "image/dicom-rle"),
        ("image/jls;q=0, image/*;q=0.5, image/png;q=0.4", "image/dicom-rle"),
        ("image/jp2, */*;q=0.1", "image/jp2"),
        ("*/*, image/jls", "image/jls"),
        ("video/mp4, image/nothing, image/jls;q=0.1", "image/jls"),
        ('multipart/related; type="image/jphc", image/png', "multipart/related"),
        ("*/*;q=0.2, application/octet-stream;q=0", ""),
        ("application/octet-stream;q=0.1, */*;q=0.5, image/jls;q=0.3", 'multipart/related; type="image/png"'),
    ],
)
def test_the_form_of_frames_follows_the_weights(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]], accept: str, expected: str
) -> None:
    answer = viewer.get(f"{path_of(addresses['unsigned'])}/frames/1", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    if not expected:
        assert "octet-stream" not in answer.headers["Content-Type"]
        return
    assert answer.headers["Content-Type"].startswith(expected), answer.headers


def test_a_form_of_frames_that_cannot_be_had_is_refused_with_those_that_can(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]]
) -> None:
    url = f"{path_of(addresses['small'])}/frames/1"
    for accept in ("image/jp2", "image/jls; transfer-syntax=1.2.840.10008.1.2.4.81", "video/mp4", "image/jls;q=0"):
        answer = viewer.get(url, headers={"Accept": accept})
        assert answer.status_code == 406
        for syntax, media_type in FRAME_TYPES.items():
            assert f'multipart/related; type="{media_type}"; transfer-syntax={syntax}' in answer.text.replace("\\", "")
    assert viewer.get(url, headers={"Accept": "image/jp2, image/jls;q=0.1"}).status_code == 200
    refused = viewer.get(path_of(addresses["small"]), headers=dicom_accept("1.2.3"))
    assert refused.status_code == 406
    assert all(str(syntax) in refused.text for syntax in FRAME_TYPES)


def test_of_a_study_objects_without_pixels_come_as_they_are_stored(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]]
) -> None:
    answer = viewer.get(f"/dicom-web/studies/{addresses['plan'][0]}", headers=dicom_accept(RLELossless))
    types = sorted(media_type for media_type, _ in parts_of(answer))
    assert types == [f"application/dicom;transfer-syntax={syntax}" for syntax in (EXPLICIT, RLELossless)]
    for media_type, content in parts_of(answer):
        assert media_type.endswith(f"={dcmread(BytesIO(content)).file_meta.TransferSyntaxUID}")


def wado(uids: tuple[str, str, str], **parameters: object) -> str:
    named = {"requestType": "WADO", "studyUID": uids[0], "seriesUID": uids[1], "objectUID": uids[2], **parameters}
    return "/wado?" + "&".join(f"{name}={value}" for name, value in named.items() if value is not None)


def test_wado_uri_gives_files(viewer: TestClient, addresses: dict[str, tuple[str, str, str]]) -> None:
    uids = addresses["rle"]
    for syntax, expected in ((None, EXPLICIT), (EXPLICIT, EXPLICIT), (RLELossless, RLELossless), (JPEGLSLossless,) * 2):
        answer = viewer.get(wado(uids, contentType="application/dicom", transferSyntax=syntax))
        assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "application/dicom")
        retrieved = dcmread(BytesIO(answer.content))
        assert (retrieved.file_meta.TransferSyntaxUID, retrieved.SOPInstanceUID) == (expected, uids[2])
    assert viewer.get(f"/dicom-web{wado(uids, contentType='application/dicom')}").status_code == 200
    assert viewer.get(wado(addresses["plan"])).headers["Content-Type"].startswith("application/dicom")
    assert viewer.get(wado(addresses["frames"])).headers["Content-Type"].startswith("application/dicom")


def test_wado_uri_gives_pictures(viewer: TestClient, addresses: dict[str, tuple[str, str, str]]) -> None:
    uids = addresses["unsigned"]

    def picture(**parameters: object) -> Picture.Image:
        answer = viewer.get(wado(uids, **parameters))
        assert answer.status_code == 200, answer.text
        return Picture.open(BytesIO(answer.content))

    assert (picture().format, picture().size) == ("JPEG", (48, 32))
    assert picture(contentType="image/png").format == "PNG"
    assert picture(contentType="image/x-none,image/png").format == "PNG"
    assert picture(contentType="image/png", rows=64).size == (96, 64)
    assert picture(contentType="image/png", region="0.5,0,1,1").size == (24, 32)
    dark = np.asarray(picture(contentType="image/png", windowCenter=5000, windowWidth=10).convert("L"))
    assert dark.max() == 0
    rendered = viewer.get(f"{path_of(uids)}/rendered", headers={"Accept": "image/png"}).content
    assert np.array_equal(np.asarray(picture(contentType="image/png")), np.asarray(Picture.open(BytesIO(rendered))))
    frames = addresses["frames"]
    third = viewer.get(wado(frames, contentType="image/png", frameNumber=3)).content
    assert third == viewer.get(f"{path_of(frames)}/frames/3/rendered", headers={"Accept": "image/png"}).content


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"requestType": "none"}, 400),
        ({"studyUID": None}, 400),
        ({"objectUID": "x' OR 1"}, 400),
        ({"objectUID": "1.2.3.4.5"}, 404),
        ({"contentType": "video/mpeg"}, 406),
        ({"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.50"}, 406),
        ({"frameNumber": 2}, 404),
        ({"frameNumber": 0}, 404),
        ({"frameNumber": "one"}, 400),
        ({"rows": 0}, 400),
        ({"columns": 99999}, 400),
        ({"windowCenter": 1}, 400),
        ({"windowCenter": "nan", "windowWidth": 2}, 400),
        ({"imageQuality": 101}, 400),
        ({"region": "0.5,0,0.5,1"}, 400),
        ({"region": "a,b,c,d"}, 400),
        ({"region": ".,0,1,1"}, 400),
    ],
)
def test_wado_uri_refuses_what_it_cannot_give(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]], parameters: dict[str, object], status: int
) -> None:
    address = wado(addresses["unsigned"], **{"contentType": "image/jpeg", **parameters})
    assert viewer.get(address).status_code == status
    assert TestClient(viewer.app).get(address).status_code == 401


def test_series_and_studies_come_as_pictures(viewer: TestClient, addresses: dict[str, tuple[str, str, str]]) -> None:
    study, series, _ = addresses["frames"]
    for path in (f"/dicom-web/studies/{study}", f"/dicom-web/studies/{study}/series/{series}"):
        for accept in ('multipart/related; type="image/png"', "image/png"):
            answer = viewer.get(f"{path}/rendered?viewport=96,96", headers={"Accept": accept})
            parts = parts_of(answer)
            assert [media_type for media_type, _ in parts] == ["image/png"] * 3
            assert {Picture.open(BytesIO(content)).size for _, content in parts} == {(96, 64)}
        assert {media_type for media_type, _ in parts_of(viewer.get(f"{path}/rendered"))} == {"image/jpeg"}
        assert viewer.get(f"{path}/rendered", headers={"Accept": "video/mp4"}).status_code == 406
    mixed = viewer.get(f"/dicom-web/studies/{addresses['plan'][0]}/rendered")
    assert len(parts_of(mixed)) == 1
    plan = "/".join(path_of(addresses["plan"]).split("/")[:-2])
    assert viewer.get(f"{plan}/rendered").status_code == 406
    assert viewer.get("/dicom-web/studies/1.2.3.4/rendered").status_code == 404


def test_metadata_come_as_xml(viewer: TestClient, addresses: dict[str, tuple[str, str, str]]) -> None:
    accept = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    for name in ("unsigned", "plan"):
        path = f"{path_of(addresses[name])}/metadata"
        answer = viewer.get(path, headers=accept)
        ((media_type, content),) = parts_of(answer)
        assert media_type == "application/dicom+xml"
        root = ElementTree.fromstring(content)  # noqa: S314
        (described,) = viewer.get(path).json()
        assert [element.get("tag") for element in root] == sorted(described)
        by_keyword = {element.get("keyword"): element for element in root}
        assert by_keyword["SOPInstanceUID"].findtext("Value") == addresses[name][2]
        family = by_keyword["PatientName"].findtext("PersonName/Alphabetic/FamilyName")
        assert family == described["00100010"]["Value"][0]["Alphabetic"]
    study = viewer.get(f"/dicom-web/studies/{addresses['plan'][0]}/metadata", headers=accept)
    assert len(parts_of(study)) == 2
    preferred = {"Accept": f"application/dicom+json, {accept['Accept']};q=0.1"}
    assert viewer.get(path, headers=preferred).headers["Content-Type"] == "application/dicom+json"
    assert viewer.get(path, headers={"Accept": "application/pdf"}).status_code == 406


def test_the_native_model_holds_what_json_holds() -> None:
    dataset = json.loads(
        '{"00080005":{"vr":"CS","Value":["ISO_IR 192"]},"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^B^^Dr",'
        '"Ideographic":"山田^太郎"},null]},"00090010":{"vr":"LO","Value":["ACME & CO"]},'
        '"00091001":{"vr":"LO","Value":["<x>\\u0001"]},'
        '"00280030":{"vr":"DS","Value":[0.5,null,1]},"00081140":{"vr":"SQ","Value":['
        '{"00081155":{"vr":"UI","Value":["1.2"]}},{}]},"7FE00010":{"vr":"OW","BulkDataURI":"http://h/a?b&c"},'
        '"00282000":{"vr":"OB","InlineBinary":"AAA="},'
        '"00104000":{"vr":"LT"}}'
    )
    document = ElementTree.fromstring(native_model(dataset))  # noqa: S314
    root = {str(element.get("tag")): element for element in document}
    assert set(root) == set(dataset)
    assert root["00100010"].findtext("PersonName/Ideographic/GivenName") == "太郎"
    assert root["00100010"].findtext("PersonName/Alphabetic/NamePrefix") == "Dr"
    assert root["00091001"].get("privateCreator") == "ACME & CO"
    assert root["00091001"].findtext("Value") == "<x>\ufffd"
    assert [(value.get("number"), value.text) for value in root["00280030"]] == [("1", "0.5"), ("3", "1")]
    assert [item.get("number") for item in root["00081140"]] == ["1", "2"]
    bulk = root["7FE00010"].find("BulkData")
    assert bulk is not None
    assert bulk.get("uri") == "http://h/a?b&c"
    assert root["00282000"].findtext("InlineBinary") == "AAA="
    assert list(root["00104000"]) == []


@pytest.mark.parametrize("address", ["", "/bulkdata/7FE00010"])
def test_a_part_of_a_file_is_sent(viewer: TestClient, addresses: dict[str, tuple[str, str, str]], address: str) -> None:
    path = path_of(addresses["unsigned"]) + address
    accept = {"Accept": "application/octet-stream" if address else "application/dicom; transfer-syntax=*"}
    complete = viewer.get(path, headers=accept)
    content, etag = complete.content, complete.headers["ETag"]
    assert (complete.status_code, complete.headers["Accept-Ranges"]) == (200, "bytes")
    for wanted, start, end in (
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, len(content)),
        ("bytes=-7", len(content) - 7, len(content)),
        (f"bytes=5-{len(content) + 10}", 5, len(content)),
        (f"bytes=-{len(content) + 10}", 0, len(content)),
    ):
        part = viewer.get(path, headers={**accept, "Range": wanted, "If-Range": etag})
        assert (part.status_code, part.content) == (206, content[start:end]), wanted
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(content)}"
        assert part.headers["Content-Length"] == str(end - start)
    for outside in (f"bytes={len(content)}-", "bytes=-0"):
        refused = viewer.get(path, headers={**accept, "Range": outside})
        assert (refused.status_code, refused.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    for ignored in ("bytes=5-2", "bytes=0-1,4-5", "items=0-1", "bytes=x-y", "bytes=-"):
        assert viewer.get(path, headers={**accept, "Range": ignored}).content == content, ignored
    changed = viewer.get(path, headers={**accept, "Range": "bytes=0-9", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, content)


def test_a_search_includes_stored_attributes_that_are_not_indexed(
    viewer: TestClient, addresses: dict[str, tuple[str, str, str]]
) -> None:
    study, series, instance = addresses["unsigned"]
    fields = "includefield=RescaleIntercept,00281053,PixelData&includefield=HighBit"
    for path in (
        f"/dicom-web/studies/{study}/series/{series}/instances?{fields}",
        f"/dicom-web/instances?SOPInstanceUID={instance}&{fields}",
        f"/dicom-web/series?SeriesInstanceUID={series}&{fields}",
        f"/dicom-web/studies?StudyInstanceUID={addresses['signed'][0]}&{fields}",
    ):
        (match,) = viewer.get(path).json()
        assert match["00281052"] == {"vr": "DS", "Value": [-1024]}, path
        assert match["00281053"]["Value"] == [1]
        assert match["00280102"]["Value"] in ([11], [15])
        assert "7FE00010" not in match
    (plan,) = viewer.get(f"{path_of(addresses['plan']).rpartition('/')[0]}?includefield=BeamSequence").json()
    (described,) = viewer.get(f"{path_of(addresses['plan'])}/metadata").json()
    assert plan["300A00B0"] == described["300A00B0"]
    assert "300A00B0" not in viewer.get(path_of(addresses["plan"]).rpartition("/")[0]).json()[0]
