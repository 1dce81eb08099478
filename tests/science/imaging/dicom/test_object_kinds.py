# SPDX-License-Identifier: Apache-2.0
"""Objects of every kind as they arrive: taken in without identity, shown as what they are, or held with a reason."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless
from pypdf import PdfReader

from medhub.science.arrivals.burned_in_text import clean_burned_in_text
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.profile import find_profile, read_profile
from medhub.science.imaging.content.summary import content_of, narrative_of
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.rendering.frames import read_frame, read_stored
from medhub.science.imaging.rendering.renditions import render_file
from medhub.science.imaging.rendering.segmentation import BACKGROUND, srgb_of
from tests.factories import kinds
from tests.science.imaging.pictures import CONTEXT, LIMITS, decoded

PROFILES = ("basic", "clinical-photo", "research-dates-shifted", "research-max-utility")
OPEN = replace(CONTEXT, profile=find_profile("research-max-utility"))
NAMES = (b"Rahman", b"Aisha", b"Zbornak", b"House", b"H-4711", b"19800412")


def prepare(data: bytes, context: CleaningContext = OPEN, limits: DecodingLimits = LIMITS) -> CleanedImage:
    return prepare_arrival(data, context=context, limits=limits)


def encoded(data: bytes, syntax: UID) -> bytes:
    dataset: Dataset = dcmread(BytesIO(data))
    if syntax == ExplicitVRBigEndian:
        for group in dataset.get("WaveformSequence", ()):
            group["WaveformData"].value = np.frombuffer(group.WaveformData, "<i2").astype(">i2").tobytes()
        if "FloatPixelData" in dataset:
            dataset["FloatPixelData"].value = np.frombuffer(dataset.FloatPixelData, "<f4").astype(">f4").tobytes()
    dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    dataset = Dataset(dataset)
    return kinds.written(dataset, syntax)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_an_object_of_any_kind_is_kept_without_identity_under_every_profile(kind: str, profile: str) -> None:
    make, shown_as = kinds.KINDS[kind]
    prepared = prepare(make(), replace(CONTEXT, profile=find_profile(profile)))
    assert prepared.shown_as == shown_as
    assert dcmread(BytesIO(prepared.dicom)).SOPClassUID == dcmread(BytesIO(make())).SOPClassUID
    for name in NAMES:
        assert name not in prepared.dicom
    has_pixels = kind in ("segmentation", "float map")
    assert (prepared.rows > 0, prepared.frames > 0, bool(prepared.thumbnail)) == (has_pixels,) * 3
    assert content_of(prepared.dicom)["shown_as"] == shown_as


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_the_phi_scan_reads_every_kind_and_finds_no_identity(kind: str) -> None:
    prepared = prepare(kinds.KINDS[kind][0]())
    findings = PhiScanner(["Aisha Rahman", "H-4711"], read_pixels=False).scan("IMG_0001", prepared.dicom)
    assert not [finding for finding in findings if "known" in finding.kind or "cannot" in finding.kind]


@pytest.mark.parametrize("kind", ["report", "ecg", "float map"])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_an_object_says_the_same_in_every_encoding(kind: str, syntax: UID) -> None:
    data = kinds.KINDS[kind][0]()
    plain, other = prepare(data), prepare(encoded(data, syntax))
    assert content_of(other.dicom) == content_of(plain.dicom)
    if plain.frames:
        assert np.array_equal(read_frame(other.dicom), read_frame(plain.dicom))


def test_a_report_keeps_its_measures_and_the_words_of_the_field_alone() -> None:
    tree = content_of(prepare(kinds.report()).dicom)["tree"]
    observer, finding, axis, image = tree["children"]
    assert tree["name"] == "Imaging Measurement Report"
    assert "mass of the left lung" in finding["value"]
    assert not {"Aisha", "Rahman", "Quentin", "Zbornak", "2026"} & set(re.findall(r"\w+", finding["value"]))
    assert (axis["value"], observer["value"]) == ("31.5 mm", "REPLACED")
    referred = dcmread(BytesIO(prepare(kinds.segmentation()).dicom)).SOPInstanceUID
    assert (image["value"], image["refers_to"]) == ("Segmentation", referred)


def test_a_report_whose_content_a_profile_takes_out_says_so() -> None:
    content = content_of(prepare(kinds.report(), CONTEXT).dicom)
    assert "does not keep structured content" in content["notes"][0]
    assert "lung" not in str(content["tree"])


def test_waveforms_keep_their_samples_under_every_profile_in_units_and_without_their_annotations() -> None:
    samples = np.frombuffer(dcmread(BytesIO(kinds.ecg())).WaveformSequence[0].WaveformData, "<i2").reshape(-1, 3)
    for profile in PROFILES:
        prepared = prepare(kinds.ecg(), replace(CONTEXT, profile=find_profile(profile)))
        group = content_of(prepared.dicom)["waveforms"][0]
        assert (group["frequency_hz"], group["samples"], group["shown"]) == (250.0, 1000, 1000)
        assert np.allclose(group["channels"][1]["values"], samples[:, 1] * 1.25, atol=0.01)
        assert group["channels"][1]["unit"] == "uV"
    assert [channel["name"] for channel in group["channels"]] == ["I", "II", "III"]


def test_bits_of_samples_that_are_not_stored_bits_are_cleared() -> None:
    dataset = dcmread(BytesIO(kinds.ecg()))
    group = dataset.WaveformSequence[0]
    group.ChannelDefinitionSequence[0].WaveformBitsStored = 12
    samples = (np.arange(3000, dtype="<u2") | 0x7000).reshape(-1, 3)
    group["WaveformData"].value = samples.tobytes()
    cleaned_data = dcmread(BytesIO(prepare(kinds.written(dataset)).dicom)).WaveformSequence[0].WaveformData
    cleaned_samples = np.frombuffer(cleaned_data, "<i2").reshape(-1, 3)
    assert int(np.abs(cleaned_samples[:, 0]).max()) < 2**11
    assert np.array_equal(cleaned_samples[:, 1].view("<u2"), samples[:, 1])


def test_samples_that_read_like_writing_wait_for_a_person() -> None:
    dataset = dcmread(BytesIO(kinds.ecg()))
    words = b"The patient lives at Elm Street in a small town "
    group = dataset.WaveformSequence[0]
    group["WaveformData"].value = words + group.WaveformData[len(words) :]
    data = kinds.written(dataset)
    prepared = prepare(data)
    assert prepared.unseen
    assert "read like text" in clean_burned_in_text(data, prepared.dicom, OPEN, LIMITS).doubt


def test_a_voice_waits_for_a_person() -> None:
    dataset = dcmread(BytesIO(kinds.ecg()))
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.4.1"
    data = kinds.written(dataset)
    prepared = prepare(data)
    assert prepared.unseen
    assert "voice" in clean_burned_in_text(data, prepared.dicom, OPEN, LIMITS).doubt


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("media_type", "data", "words"),
    [
        ("application/pdf", None, "pages"),
        ("text/xml", b"<ClinicalDocument><text>Aisha Rahman</text></ClinicalDocument>", "clinical document"),
        ("model/stl", b"solid head of Aisha Rahman", "face"),
        ("application/x-unknown", b"who knows", "unknown type"),
    ],
)
def test_a_document_waits_for_a_person_under_every_profile(
    media_type: str, data: bytes | None, words: str, profile: str
) -> None:
    context = replace(CONTEXT, profile=find_profile(profile))
    received = kinds.document(data=data, media_type=media_type)
    prepared = prepare(received, context)
    seen = clean_burned_in_text(received, prepared.dicom, context, LIMITS)
    assert (prepared.shown_as, prepared.unseen, prepared.frames) == ("document", True, 0)
    assert words in seen.doubt
    assert seen.thumbnail == b""


def test_a_document_that_a_person_released_has_its_pages_and_nothing_beside_them() -> None:
    received = kinds.document()
    prepared = prepare(received)
    released = clean_burned_in_text(received, prepared.dicom, OPEN, LIMITS, ())
    dataset = dcmread(BytesIO(released.dicom))
    assert (released.doubt, dataset.BurnedInAnnotation) == ("", "NO")
    pdf = PdfReader(BytesIO(dataset.EncapsulatedDocument))
    assert "Left lung: mass of 31 mm" in pdf.pages[1].extract_text()
    assert not pdf.attachments
    assert not pdf.metadata
    for removed in (b"Gregory", b"letter-of-aisha", b"app.alert", b"JavaScript", b"/Author"):
        assert removed not in released.dicom
    content = content_of(released.dicom)["document"]
    assert (content["pages"], content["media_type"]) == (2, "application/pdf")
    assert "Page 2" in content["texts"][1]
    page = decoded(render_file(released.dicom, 400, frame=1))
    assert page.shape == (400, 310, 3)
    assert page.min() < 60 < 250 < page.max()


def test_a_profile_may_have_documents_emptied_so_that_nobody_must_look() -> None:
    text = (
        'name = "empty"\ntitle = "Documents are emptied"\nversion = 1\n'
        '[[special]]\nattribute = "EncapsulatedDocument"\naction = "replace"\nreason = "Nobody reads them here."\n'
    )
    prepared = prepare(kinds.document(), replace(CONTEXT, profile=read_profile(text)))
    assert not prepared.unseen
    assert b"31 mm" not in prepared.dicom
    assert content_of(prepared.dicom)["document"]["pages"] == 1


@pytest.mark.parametrize("data", [b"%PDF-1.4 nothing", b"%PDF-1.7\n" + bytes(400)])
def test_a_document_that_nobody_could_read_is_refused(data: bytes) -> None:
    with pytest.raises(Unacceptable, match="document in this file is damaged"):
        prepare(kinds.document(data=data))


def test_a_clinical_document_is_shown_as_its_text_and_never_with_entities() -> None:
    assert narrative_of(b"<a><b>one</b> <c>two</c></a>") == "one\ntwo"
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;&b;</a>'
    for xml in (bomb, bomb.decode().encode("utf-16"), b"no xml"):
        with pytest.raises(Unacceptable):
            narrative_of(xml)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_are_drawn_in_their_colors_over_a_neutral_ground(kind: str) -> None:
    prepared = prepare(kinds.segmentation(kind=kind))
    content = content_of(prepared.dicom)
    assert [segment["label"] for segment in content["segments"]] == ["Liver", "Mass"]
    colors = [tuple(bytes.fromhex(segment["color"][1:])) for segment in content["segments"]]
    for frame, (row, column), color in ((0, (5, 6), colors[0]), (1, (8, 12), colors[1])):
        picture = read_frame(prepared.dicom, frame)
        assert tuple(picture[0, 0]) == BACKGROUND
        opacity = 0.5 if kind == "FRACTIONAL" else 1.0
        expected = np.array(BACKGROUND) + opacity * (np.array(color) - np.array(BACKGROUND))
        assert np.abs(picture[row, column] - expected).max() <= 1
    frame_segments = [1, 2, 1] if kind != "LABELMAP" else [None] * 3
    assert content["frame_segments"] == frame_segments


def test_a_number_that_a_label_map_does_not_explain_is_not_passed_over() -> None:
    dataset = dcmread(BytesIO(kinds.segmentation(kind="LABELMAP")))
    dataset["PixelData"].value = b"\x09" + dataset.PixelData[1:]
    assert tuple(read_frame(prepare(kinds.written(dataset)).dicom)[0, 0]) == (255, 0, 255)


def test_colors_of_segments_are_those_of_the_standard() -> None:
    assert srgb_of([65535, 32896, 32896]) == (255, 255, 255)
    assert srgb_of([0, 32896, 32896]) == (0, 0, 0)
    # sRGB red is L* 54.29, a* 80.81, b* 69.89 in D50.
    red = [round(54.29 / 100 * 65535), round((80.81 + 128) / 255 * 65535), round((69.89 + 128) / 255 * 65535)]
    assert np.abs(np.array(srgb_of(red)) - (255, 0, 0)).max() <= 3


def rle_bits(frame: bytes) -> bytes:
    runs = b"".join(bytes([len(frame[at : at + 128]) - 1]) + frame[at : at + 128] for at in range(0, len(frame), 128))
    return b"\x01\0\0\0\x40\0\0\0" + bytes(56) + runs + bytes(len(runs) % 2)


@pytest.mark.parametrize("packed", ["deflated", "rle"])
def test_packed_bits_are_unfolded_without_any_loss(packed: str) -> None:
    dataset = dcmread(BytesIO(kinds.segmentation()))
    dataset.Columns = 29  # frames no longer start at byte boundaries
    bits = np.random.default_rng(1).integers(0, 2, (3, 20 * 29), np.uint8)
    frames = [np.packbits(frame_bits, bitorder="little").tobytes() for frame_bits in bits]
    if packed == "deflated":
        compressors = [zlib.compressobj(wbits=-15) for _ in frames]
        streams = [
            compressor.compress(frame) + compressor.flush()
            for compressor, frame in zip(compressors, frames, strict=True)
        ]
        syntax = UID("1.2.840.10008.1.2.8.1")
    else:
        streams, syntax = [rle_bits(frame) for frame in frames], RLELossless
    element = DataElement("PixelData", "OB", encapsulate(streams))
    element.is_undefined_length = True
    dataset["PixelData"] = element
    data = kinds.written(dataset, RLELossless).replace(b"1.2.840.10008.1.2.5\0", syntax.encode().ljust(20, b"\0"))
    if packed == "deflated":
        data = with_syntax(kinds.written(dataset, RLELossless), syntax)
    prepared = prepare(data)
    assert all(np.array_equal(read_stored(prepared.dicom, frame)[0].ravel(), bits[frame]) for frame in range(3))
    assert "decompressed" in prepared.notes[0]


def with_syntax(data: bytes, syntax: UID) -> bytes:
    """The same file under a transfer syntax that pydicom does not know."""
    old, new = b"1.2.840.10008.1.2.5\0", syntax.encode() + b"\0" * (len(syntax) % 2)
    at = data.index(old)
    length = int.from_bytes(data[140:144], "little") + len(new) - len(old)
    return (
        data[:140]
        + length.to_bytes(4, "little")
        + data[144 : at - 2]
        + len(new).to_bytes(2, "little")
        + new
        + data[at + len(old) :]
    )


def test_a_frame_that_decompresses_to_more_than_it_should_is_refused() -> None:
    dataset = dcmread(BytesIO(kinds.segmentation()))
    squeezer = zlib.compressobj(wbits=-15)
    bomb = squeezer.compress(bytes(10_000_000)) + squeezer.flush()
    element = DataElement("PixelData", "OB", encapsulate([bomb] * 3))
    element.is_undefined_length = True
    dataset["PixelData"] = element
    data = with_syntax(kinds.written(dataset, RLELossless), UID("1.2.840.10008.1.2.8.1"))
    with pytest.raises(Unacceptable, match="cannot be decompressed"):
        prepare(data)


@pytest.mark.parametrize("double", [False, True])
def test_floating_point_pixels_keep_their_values_and_are_shown_from_smallest_to_largest(double: bool) -> None:
    prepared = prepare(kinds.float_map(double=double))
    stored = read_stored(prepared.dicom)[0]
    assert np.isnan(stored[0, 0])
    assert stored.dtype.itemsize == (8 if double else 4)
    picture = read_frame(prepared.dicom)[..., 0]
    assert (picture[0, 0], picture[0, 1], picture[-1, -1]) == (0, 0, 255)
    windowed = read_frame(prepared.dicom, window=(0.0, 2.0))[..., 0]
    assert windowed[-1, -1] == 255


def test_what_hides_in_numbers_that_are_none_is_cleared() -> None:
    dataset = dcmread(BytesIO(kinds.float_map(double=True)))
    hidden = b"Aisha!\xf8\x7f"
    dataset["DoubleFloatPixelData"].value = hidden + dataset.DoubleFloatPixelData[8:]
    assert b"Aisha" not in prepare(kinds.written(dataset)).dicom


@pytest.mark.parametrize(
    ("sop_class", "words", "reason"),
    [
        ("1.2.840.10008.5.1.4.39.1", "belongs to no patient", "unsupported"),
        ("1.2.840.10008.1.3.10", "DICOMDIR", "unsupported"),
        ("1.2.3.4.5", "not of the standard", "unsupported"),
        ("1.2.840.10008.5.1.4.1.1.2", "holds none", "damaged"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "holds none", "damaged"),
        ("", "does not say what it is", "damaged"),
    ],
)
def test_what_is_kept_of_no_kind_is_refused_with_its_reason(sop_class: str, words: str, reason: str) -> None:
    dataset = dcmread(BytesIO(kinds.registration()))
    data = kinds.written(dataset)
    dataset.SOPClassUID = sop_class or "9.9"
    data = kinds.written(dataset)
    if not sop_class:
        data = data.replace(b"\x08\0\x16\0UI\x04\x009.9\0", b"")
    with pytest.raises(Unacceptable, match=words) as caught:
        prepare(data)
    assert caught.value.reason == reason


@pytest.mark.parametrize("kind", ["report", "plan", "structures", "ecg"])
def test_an_object_that_was_cut_off_is_refused_wherever_that_was(kind: str) -> None:
    data = kinds.KINDS[kind][0]()
    for share in (0.5, 0.7, 0.9, 0.99):
        with pytest.raises(Unacceptable) as caught:
            prepare(data[: int(len(data) * share)])
        assert caught.value.reason in ("truncated", "damaged")


def test_two_kinds_of_pixels_in_one_object_are_refused() -> None:
    dataset = dcmread(BytesIO(kinds.float_map()))
    dataset.add(DataElement("PixelData", "OW", bytes(1200)))
    with pytest.raises(Unacceptable, match="pixels of two kinds"):
        prepare(kinds.written(dataset))


def test_a_document_in_an_object_of_another_kind_is_emptied() -> None:
    dataset = dcmread(BytesIO(kinds.registration()))
    dataset.add(DataElement("EncapsulatedDocument", "OB", b"Aisha Rahman"))
    prepared = prepare(kinds.written(dataset))
    assert not prepared.unseen
    assert b"Aisha" not in prepared.dicom


def test_a_plan_says_its_prescription_and_beams() -> None:
    sections = {section["title"]: section["rows"] for section in content_of(prepare(kinds.plan()).dicom)["sections"]}
    assert sections["Prescription"][0][-1] == "prescribed 60 Gy"
    assert sections["Beams"] == [["1", "Field 1", "static photon", "6 MeV", "0°", "2", "116 MU"]]
    structures = content_of(prepare(kinds.structures()).dicom)["sections"][0]["rows"]
    assert structures == [["1", "Lung", "organ", "manual", "1", ""]]
