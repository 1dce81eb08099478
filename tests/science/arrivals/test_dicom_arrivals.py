# SPDX-License-Identifier: Apache-2.0
"""DICOM files as they arrive: what stays, what goes, what is refused."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import DataElement, Dataset, Sequence, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.tag import Tag
from pydicom.uid import (
    MPEG2MPML,
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.transient_decoding import decode_photograph
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.datasets import CANARY, dataset_of, file_of, ramp
from tests.science.imaging.pictures import CONTEXT, LIMITS, SHARED_DATA, cells, encode


def prepare(data: bytes, limits: DecodingLimits = LIMITS) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=limits)


def refusal(data: bytes, limits: DecodingLimits = LIMITS) -> Unacceptable:
    with pytest.raises(Unacceptable) as caught:
        prepare(data, limits)
    assert caught.value.message.endswith(".")
    return caught.value


def grey_file(**attributes: Any) -> bytes:
    return file_of(dataset_of(ramp(), **attributes))


def with_canaries(syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """A dataset that names a person in every kind of place."""
    item = Dataset()
    item.PatientName = item.CodeMeaning = CANARY
    item.WindowCenter, item.WindowWidth = 10, 20
    block = item.private_block(0x0011, "CANARY CREATOR", create=True)
    block.add_new(0x01, "LO", CANARY)
    deeper = Dataset()
    deeper.PatientName = deeper.TextValue = CANARY
    deeper.RescaleSlope, deeper.RescaleIntercept, deeper.RescaleType = 1, 0, "HU"
    deeper.LUTExplanation = CANARY
    item.PixelValueTransformationSequence = [deeper]
    item.ContentSequence = [deeper]
    dataset = dataset_of(
        ramp(),
        PatientName=CANARY,
        PatientID="CANARY-1",
        PatientBirthDate="19700101",
        StudyDate="20010203",
        StudyDescription=CANARY,
        ImageComments=CANARY * 50,
        InstitutionName=CANARY,
        StationName=CANARY,
        OperatorsName=CANARY,
        BodyPartExamined="CANARY",
        ImageType=["ORIGINAL", "PRIMARY", "CANARY"],
        RescaleType="CANARY",
        ICCProfile=b"CANARY" * 10,
        SharedFunctionalGroupsSequence=[item],
        RequestAttributesSequence=[item],
        OriginalAttributesSequence=[item],
        EncapsulatedDocument=b"CANARY",
        SOPInstanceUID="1.2.826.0.1.67657865.89",
    )
    dataset.add_new(0x60000010, "US", 24)
    dataset.add_new(0x60003000, "OW", b"CANARY" * 16)
    dataset.add_new(0x60000022, "LO", CANARY)
    dataset.add_new(0x50003000, "OW", b"CANARY" * 2)
    dataset.add_new(0x0400_0561, "SQ", [item])
    dataset.add_new(0xFFFCFFFC, "OB", b"CANARY")
    block = dataset.private_block(0x0009, "CANARY CREATOR", create=True)
    block.add_new(0x10, "SQ", [item])
    block.add_new(0x11, "UN", b"CANARY" * 20)
    dataset.add_new(0x00080005, "CS", "ISO_IR 192")
    if not syntax.is_encapsulated:
        dataset["PixelData"].value += b"CANARY" * 30
    return dataset


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_nothing_of_a_person_is_in_any_byte(syntax: UID) -> None:
    data = file_of(with_canaries(), syntax, preamble=b"MZ CANARY".ljust(128))
    prepared = prepare(data)
    for output in (prepared.dicom, prepared.thumbnail):
        for text in ("CANARY", "Jane", "19700101", "20010203", "67657865"):
            assert text.encode() not in output
            assert text.encode("utf-16-le") not in output
    dataset = dcmread(BytesIO(prepared.dicom))
    assert dataset.preamble == bytes(128)
    assert not [element for element in dataset.iterall() if element.tag.is_private]
    shared_groups = dataset.SharedFunctionalGroupsSequence[0]
    assert (shared_groups.WindowCenter, shared_groups.PatientName, shared_groups.CodeMeaning) == (
        10,
        "P-7KQ2",
        "REPLACED",
    )
    assert shared_groups.PixelValueTransformationSequence[0].RescaleSlope == 1
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "OTHER"]


def test_the_patient_module_is_that_of_the_assigned_patient() -> None:
    dataset = dcmread(BytesIO(prepare(file_of(with_canaries())).dicom))
    assert (dataset.PatientID, dataset.PatientName, dataset.PatientSex, dataset.PatientAge) == (
        "P-7KQ2",
        "P-7KQ2",
        "F",
        "031Y",
    )
    assert (dataset.StudyDate, dataset.PatientBirthDate) == ("", "")
    assert (dataset.PatientIdentityRemoved, dataset.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")
    assert dataset.DeidentificationMethod[1] == "clinical-photo 3"


@pytest.mark.parametrize(
    ("profile", "age"), [("basic", ""), ("research-dates-shifted", "046Y"), ("clinical-photo", "046Y")]
)
def test_sex_and_age_of_the_patient_are_written_only_where_the_profile_allows_it(profile: str, age: str) -> None:
    context = replace(CONTEXT, profile=find_profile(profile))
    file = grey_file(PatientSex="F", StudyDate="20260301")
    dataset = dcmread(BytesIO(prepare_arrival(file, context=context, limits=LIMITS).dicom))
    assert (dataset.get("PatientAge", ""), dataset.PatientSex) == (age, "F" if age else "")


def test_dates_of_a_patient_are_shifted_by_the_same_days() -> None:
    context = replace(CONTEXT, profile=find_profile("research-dates-shifted"))
    shifts_days = []
    for study_date in ("20240110", "20240210"):
        prepared = prepare_arrival(grey_file(StudyDate=study_date), context=context, limits=LIMITS)
        dataset = dcmread(BytesIO(prepared.dicom))
        shifts_days.append(
            (datetime.strptime(study_date, "%Y%m%d") - datetime.strptime(dataset.StudyDate, "%Y%m%d")).days
        )
    assert shifts_days == [-context.subject.days] * 2
    assert shifts_days[0] >= 7
    assert shifts_days[0] % 7 == 0


def test_the_manifest_says_what_was_done_and_never_a_value() -> None:
    prepared = prepare(file_of(with_canaries()))
    done = {(line.name, line.done) for line in prepared.manifest}
    assert {("PatientName", "replaced"), ("StudyDescription", "removed"), ("private", "removed")} <= done
    assert "CANARY" not in str(prepared.manifest)
    assert any("[*]" in line.path for line in prepared.manifest)


def test_what_the_file_says_of_the_person_is_for_the_vault_alone() -> None:
    prepared = prepare(file_of(with_canaries()))
    assert prepared.identity == {"name": "CANARY Jane", "hospital_number": "CANARY-1", "birth_date": "1970-01-01"}


def test_images_of_scanners_need_no_look_for_writing_and_pictures_of_screens_do() -> None:
    assert not prepare(grey_file(Modality="CT", SOPClassUID=CTImageStorage, ImageType=["ORIGINAL", "PRIMARY"])).unseen
    assert prepare(grey_file(Modality="CT", SOPClassUID=SecondaryCaptureImageStorage)).unseen
    assert prepare(grey_file(Modality="US")).unseen


def test_the_oldest_are_not_told_apart() -> None:
    context = replace(CONTEXT, birth_year=1915)
    prepared = prepare_arrival(grey_file(StudyDate="20260301"), context=context, limits=LIMITS)
    assert dcmread(BytesIO(prepared.dicom)).PatientAge == "090Y"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"PatientAge": "040Y", "StudyDate": "20100301", "PatientBirthDate": "19700101"}, "040Y"),
        ({"PatientAge": "003M", "StudyDate": "20230301"}, "003M"),
        ({"StudyDate": "20100301", "PatientBirthDate": "19700101"}, "040Y"),
        ({"StudyDate": "20100301", "PatientBirthDate": "19700302"}, "039Y"),
        ({"StudyDate": "20100301", "PatientBirthDate": "20100220"}, "009D"),
        ({"StudyDate": "20100301", "PatientBirthDate": "20100101"}, "008W"),
        ({"SeriesDate": "20100301", "PatientBirthDate": "20090101"}, "014M"),
        ({"StudyDate": "20100301"}, "030Y"),  # of the birth year that the receiver knows
        ({"PatientBirthDate": "19700101"}, ""),
        ({"StudyDate": "19600301", "PatientBirthDate": "19700101"}, ""),
        ({}, ""),
    ],
)
def test_the_age_is_that_at_the_study(attributes: dict[str, str], expected: str) -> None:
    prepared = prepare_arrival(grey_file(**attributes), context=CONTEXT, limits=LIMITS)
    assert dcmread(BytesIO(prepared.dicom)).get("PatientAge", "") == expected


def test_a_file_keeps_its_own_burned_in_flag() -> None:
    dataset = dcmread(BytesIO(prepare(grey_file(BurnedInAnnotation="YES")).dicom))
    assert dataset.BurnedInAnnotation == "YES"
    assert "BurnedInAnnotation" not in dcmread(BytesIO(prepare(grey_file()).dicom))


def test_uids_are_keyed_stable_and_of_one_patient() -> None:
    first, again = prepare(grey_file()), prepare(grey_file())
    second = prepare(grey_file(SOPInstanceUID="1.2.3.4.6"))
    assert first.sop_instance_uid == again.sop_instance_uid != second.sop_instance_uid
    assert first.study_instance_uid == second.study_instance_uid
    assert first.series_instance_uid == second.series_instance_uid
    for uid in (first.sop_instance_uid, first.study_instance_uid, first.series_instance_uid):
        assert uid.startswith("2.25.")
        assert UID(uid).is_valid
    other_patient = prepare_arrival(grey_file(), context=replace(CONTEXT, patient_code="P-X"), limits=LIMITS)
    other_key = prepare_arrival(grey_file(), context=replace(CONTEXT, uid_key=bytes(32)), limits=LIMITS)
    studies = {first.study_instance_uid, other_patient.study_instance_uid, other_key.study_instance_uid}
    assert len(studies) == 3


def test_a_second_run_changes_no_pixel_and_no_attribute_but_the_uids() -> None:
    once = dcmread(BytesIO(prepare(file_of(with_canaries())).dicom))
    twice = dcmread(BytesIO(prepare(prepare(file_of(with_canaries())).dicom).dicom))
    uids = {"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
    assert once.keys() == twice.keys()
    for element in once:
        assert element.keyword in uids or element.value == twice[element.tag].value


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32])
def test_native_pixels_are_kept_in_little_endian(syntax: UID, dtype: type) -> None:
    pixels = ramp(23, 31, dtype)
    dataset = dataset_of(pixels)
    if syntax == ExplicitVRBigEndian:
        swapped = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
        dataset["PixelData"].value = swapped + b"\x00" * (len(swapped) % 2)
    prepared = prepare(file_of(dataset, syntax))
    cleaned = dcmread(BytesIO(prepared.dicom))
    assert prepared.transfer_syntax_uid == ExplicitVRLittleEndian
    assert np.array_equal(cleaned.pixel_array, pixels)
    assert prepared.lossless


def test_eight_bits_in_words_of_a_big_endian_file_are_put_in_order() -> None:
    pixels = ramp(4, 6)
    dataset = dataset_of(pixels)
    dataset["PixelData"].VR = "OW"
    dataset["PixelData"].value = pixels.view(">u2").astype("<u2").tobytes()
    assert np.array_equal(dcmread(BytesIO(prepare(file_of(dataset, ExplicitVRBigEndian)).dicom)).pixel_array, pixels)


def compressed(syntax: UID, frames: int = 3) -> tuple[bytes, Any]:
    pixels = np.stack([ramp(32, 48) // (n + 1) for n in range(frames)]).astype(np.uint8)
    dataset = dataset_of(pixels, frames=frames)
    dataset.file_meta = dcmread(BytesIO(file_of(dataset))).file_meta
    if syntax in (JPEG2000Lossless, RLELossless, JPEGLSLossless):
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        streams = [encode(frame, "JPEG", quality=95, comment=b"CANARY") for frame in pixels]
        dataset["PixelData"] = DataElement("PixelData", "OB", encapsulate(streams))
    return file_of(dataset, syntax), pixels


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless, RLELossless])
def test_compressed_frames_stay_in_their_syntax(syntax: UID) -> None:
    data, pixels = compressed(syntax)
    prepared = prepare(data)
    assert prepared.transfer_syntax_uid == syntax
    assert prepared.frames == 3
    assert b"CANARY" not in prepared.dicom
    before, after = dcmread(BytesIO(data)).pixel_array, dcmread(BytesIO(prepared.dicom)).pixel_array
    assert np.array_equal(before, after)
    if syntax != JPEGBaseline8Bit:
        assert np.array_equal(after, pixels)


def test_comments_of_jpeg_2000_and_jpeg_ls_streams_go() -> None:
    for syntax, start in ((JPEG2000Lossless, None), (JPEGLSLossless, 2)):
        data, pixels = compressed(syntax, frames=1)
        dataset = dcmread(BytesIO(data))
        stream = next(generate_frames(dataset.PixelData, number_of_frames=1))
        if start is None:
            body = b"\x00\x01CANARY^Jane"
            at = 4 + struct.unpack_from(">H", stream, 4)[0]
            dirty = stream[:at] + b"\xff\x64" + struct.pack(">H", len(body) + 2) + body + stream[at:]
        else:
            body = b"CANARY^Jane"
            dirty = stream[:2] + b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body + stream[2:]
        dataset["PixelData"].value = encapsulate([dirty])
        out = prepare(file_of(dataset, syntax)).dicom
        assert b"CANARY" not in out
        assert np.array_equal(dcmread(BytesIO(out)).pixel_array, pixels[0])


def test_overlays_in_the_unused_bits_of_pixels_are_cleared() -> None:
    pixels = ramp(24, 32, np.uint16)
    pixels_with_overlay = pixels | np.uint16(0x8000)
    prepared = prepare(file_of(dataset_of(pixels_with_overlay, BitsStored=12, HighBit=11)))
    cleaned = dcmread(BytesIO(prepared.dicom))
    assert np.array_equal(np.frombuffer(cleaned.PixelData, "<u2").reshape(24, 32), pixels)
    assert "cleared" in prepared.notes[0]


def test_signed_pixels_keep_their_sign() -> None:
    pixels = (ramp(24, 32, np.int16) - 300).astype(np.int16)
    prepared = prepare(file_of(dataset_of(pixels, BitsStored=12, HighBit=11)))
    assert np.array_equal(dcmread(BytesIO(prepared.dicom)).pixel_array, pixels)
    assert prepared.notes == ()


def test_a_file_without_preamble_is_recognized() -> None:
    file = grey_file()
    for data in (file[132:], file[132 + 12 + struct.unpack_from("<I", file, 140)[0] :]):
        assert prepare(data).rows == 24


def test_a_private_kind_of_object_becomes_secondary_capture() -> None:
    prepared = prepare(grey_file(SOPClassUID="1.2.3.99999"))
    assert UID(prepared.sop_class_uid).name == "Secondary Capture Image Storage"
    assert "private" in prepared.notes[0]


def without(keyword: str) -> Dataset:
    dataset = dataset_of(ramp())
    del dataset[keyword]
    return dataset


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (file_of(without("PixelData")), "damaged", "holds none"),
        (file_of(without("Rows")), "damaged", "Rows"),
        (file_of(without("PhotometricInterpretation")), "damaged", "Photometric"),
        (grey_file(Rows=0), "damaged", "not an image"),
        (grey_file(Rows=60_000, Columns=60_000), "too-many-pixels", "60,000 x 60,000"),
        (grey_file(Rows=200), "truncated", "768 of 6,400"),
        (grey_file(NumberOfFrames=1_500), "truncated", "768 of 1,152,000"),
        (grey_file(NumberOfFrames=2_000_000_000), "too-many-pixels", "2,000,000,000"),
        (grey_file(NumberOfFrames=-1), "damaged", "frames"),
        (grey_file(SamplesPerPixel=4), "unsupported", "samples"),
        (grey_file(BitsAllocated=64), "unsupported", "64"),
        (grey_file(HighBit=3), "unsupported", "High Bit"),
        (b"\x00" * 128 + b"DICM", "damaged", "does not say what it is"),
        (b"\x00" * 128 + b"DICM" + b"\xff" * 500, "damaged", "does not say what it is"),
        (grey_file()[:-100], "truncated", "too early"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason(data: bytes, reason: str, words: str) -> None:
    refused = refusal(data)
    assert refused.reason == reason
    assert words in refused.message


def test_a_document_without_its_document_is_refused() -> None:
    document = without("PixelData")
    document.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    refused = refusal(file_of(document))
    assert (refused.reason, "Encapsulated PDF Storage" in refused.message) == ("damaged", True)


def test_video_is_refused() -> None:
    dataset = dataset_of(ramp())
    dataset["PixelData"].value = encapsulate([bytes(100)])
    assert "MPEG2" in refusal(file_of(dataset, MPEG2MPML)).message


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless])
def test_a_file_cut_anywhere_is_refused(syntax: UID, share: float) -> None:
    data = file_of(dataset_of(ramp())) if syntax == ExplicitVRLittleEndian else compressed(syntax)[0]
    assert refusal(data[: int(len(data) * share)]).reason in ("truncated", "damaged", "unsupported", "not-an-image")


def test_a_missing_frame_is_noticed() -> None:
    data, _ = compressed(JPEGBaseline8Bit)
    dataset = dcmread(BytesIO(data))
    dataset.NumberOfFrames = 4
    refused = refusal(file_of(dataset, JPEGBaseline8Bit))
    assert refused.reason in ("truncated", "damaged")


def test_a_cut_frame_is_named() -> None:
    data, _ = compressed(JPEGBaseline8Bit)
    dataset = dcmread(BytesIO(data))
    streams = list(generate_frames(dataset.PixelData, number_of_frames=3))
    streams[1] = streams[1][: len(streams[1]) // 2]
    dataset["PixelData"].value = encapsulate(streams)
    refused = refusal(file_of(dataset, JPEGBaseline8Bit))
    assert refused.reason == "truncated"
    assert "Frame 2 of 3" in refused.message


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
def test_a_stream_that_declares_another_size_than_its_file_is_refused(syntax: UID) -> None:
    """Else the decoder would ask for the memory that the stream wants."""
    if syntax == JPEG2000Lossless:
        stream = bytearray(next(generate_frames(dcmread(BytesIO(compressed(syntax, 1)[0])).PixelData)))
        struct.pack_into(">II", stream, 8, 60_000, 60_000)
    else:
        stream = bytearray(encode(ramp(32, 48), "JPEG"))
        struct.pack_into(">HH", stream, stream.index(b"\xff\xc0") + 5, 60_000, 60_000)
    dataset = dataset_of(ramp(32, 48))
    dataset["PixelData"].value = encapsulate([bytes(stream)])
    refused = refusal(file_of(dataset, syntax))
    assert refused.reason == "damaged"
    assert "another size" in refused.message


def nested(depth: int, keyword: str, *, undefined: bool = True) -> Dataset:
    inner = Dataset()
    inner.WindowCenter, inner.WindowWidth = 1, 2
    for _ in range(depth):
        outer = Dataset()
        element = DataElement(keyword, "SQ", Sequence([inner]))
        element.is_undefined_length = undefined
        outer.add(element)
        inner = outer
    dataset = dataset_of(ramp())
    dataset.update(inner)
    return dataset


def deep_bytes(depth: int, tag: tuple[int, int]) -> bytes:
    """Sequences of undefined length within one another, put by hand in front of the pixels of a file."""
    data = file_of(without("PixelData"))
    start = struct.pack("<HH", *tag) + b"SQ\x00\x00\xff\xff\xff\xff" + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 768) + ramp().tobytes()
    return data + start * depth + end * depth + pixels


def test_sequences_are_followed_to_their_depth_and_no_deeper() -> None:
    assert prepare(file_of(nested(30, "SharedFunctionalGroupsSequence"))).rows == 24
    refused = refusal(file_of(nested(40, "SharedFunctionalGroupsSequence")))
    assert refused.reason == "damaged"
    assert "32 levels" in refused.message


@pytest.mark.parametrize("tag", [(0x5200, 0x9229), (0x6001, 0x1001)])
def test_a_bomb_of_depth_does_no_harm(tag: tuple[int, int]) -> None:
    refused = refusal(deep_bytes(20_000, tag))
    assert refused.reason in ("damaged", "unsupported", "truncated")


def test_a_deflated_bomb_is_not_unfolded() -> None:
    deflated = file_of(dataset_of(ramp()), DeflatedExplicitVRLittleEndian)
    header = deflated[: 132 + 12 + struct.unpack_from("<I", deflated, 140)[0]]
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = header + b"".join(compressor.compress(bytes(1 << 20)) for _ in range(64)) + compressor.flush()
    assert len(bomb) < 100_000
    limits = DecodingLimits(max_inflated_bytes=4_000_000)
    tracemalloc.start()
    try:
        error = refusal(bomb, limits)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.reason == "too-many-bytes"
    assert peak_bytes < 20_000_000


def test_a_deflated_file_is_read_and_a_cut_one_is_refused() -> None:
    data = file_of(dataset_of(ramp()), DeflatedExplicitVRLittleEndian)
    prepared = prepare(data)
    assert prepared.transfer_syntax_uid == ExplicitVRLittleEndian
    assert np.array_equal(read_frame(prepared.dicom)[..., 0], ramp())
    assert refusal(data[: len(data) - 40]).reason == "truncated"


def test_random_damage_ends_in_an_answer() -> None:
    generator = np.random.default_rng(11)
    sources = [file_of(with_canaries()), compressed(JPEGLSLossless)[0], compressed(JPEG2000Lossless)[0]]
    answers = set()
    for number in range(240):
        data = bytearray(sources[number % len(sources)])
        for _ in range(generator.integers(1, 6)):
            data[generator.integers(0, len(data))] = generator.integers(0, 256)
        try:
            prepared = prepare(bytes(data))
            answers.add("taken")
            assert b"CANARY" not in prepared.dicom
        except Unacceptable as refused:
            answers.add(refused.reason)
    assert "taken" in answers
    assert "damaged" in answers


def test_decoding_without_storing_shows_the_same_picture() -> None:
    for data in (grey_file(), compressed(JPEGLSLossless)[0], encode(cells(), "JPEG"), encode(cells(), "PNG")):
        assert np.array_equal(decode_photograph(data, LIMITS), read_frame(prepare(data).dicom))


def test_the_file_meta_information_is_our_own() -> None:
    meta = dcmread(BytesIO(prepare(grey_file()).dicom)).file_meta
    assert set(meta.dir()) == {
        "FileMetaInformationGroupLength",
        "FileMetaInformationVersion",
        "MediaStorageSOPClassUID",
        "MediaStorageSOPInstanceUID",
        "TransferSyntaxUID",
        "ImplementationClassUID",
        "ImplementationVersionName",
    }
    assert meta.MediaStorageSOPInstanceUID != "1.2.3.4.5"
    assert Tag(0x00020016) not in meta


@pytest.mark.skipif(not (SHARED_DATA / "dicom").is_dir(), reason="the shared data are not here")
def test_real_dicom_files_are_taken_or_refused_with_a_reason() -> None:
    taken, refused = 0, set()
    paths = sorted(path for path in (SHARED_DATA / "dicom").rglob("*") if path.is_file())[::4]
    for path in paths:
        try:
            prepared = prepare(path.read_bytes())
            if prepared.frames:
                assert read_frame(prepared.dicom, prepared.frames - 1).shape == (prepared.rows, prepared.columns, 3)
            taken += 1
        except Unacceptable as answer:
            refused.add(answer.reason)
    assert taken > 40
    assert {"unsupported", "not-an-image"} <= refused
