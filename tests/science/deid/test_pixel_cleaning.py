# SPDX-License-Identifier: Apache-2.0
"""Text burned into pixels: it is detected, judged and blackened in every kind of file, and other pixels stay."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import DataElement, Dataset, FileMetaDataset, Sequence, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from medhub.science.deid.allowed_text import is_allowed_text
from medhub.science.deid.device_regions import known_regions
from medhub.science.deid.file_cleaning import Result, clean_file, clean_object
from medhub.science.deid.frame_layouts import Layouts
from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.ocr import text_reader
from medhub.science.deid.pixel_cleaning import blacken
from medhub.science.deid.profile import Pixels, Profile, find_profile
from medhub.science.deid.pseudonym import Pseudonym
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.rendering.frames import read_frame, read_stored
from tests.conftest import ROOT
from tests.factories.burned import BurnedImage, make_burned_image, write_line

FONTS = ROOT / "src/medhub/reports/fonts"
KEY = b"a key of sixteen bytes or more"
PROFILE = Profile(name="plain", title="Plain", version=1)
NOBODY = IdentifyingText(frozenset())


def _file(
    *frames: NDArray[Any], syntax: UID = ExplicitVRLittleEndian, modality: str = "US", **attributes: Any
) -> bytes:
    """A DICOM file of these frames, with a name in its header."""
    first = frames[0]
    dataset = Dataset()
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage if len(frames) > 1 else UltrasoundImageStorage
    dataset.SOPInstanceUID = f"1.2.3.4.{abs(hash(first.tobytes()))}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "1.2.3.4", modality
    dataset.PatientID, dataset.PatientName = "H-4711", "Left^Anna"
    dataset.Rows, dataset.Columns = first.shape[:2]
    dataset.SamplesPerPixel = 1 if first.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if first.ndim == 2 else "RGB"
    if first.ndim == 3:
        dataset.PlanarConfiguration = 0
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    dataset.BitsAllocated = dataset.BitsStored = 8 * first.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    data = b"".join(frame.tobytes() for frame in frames)
    vr = "OB" if first.itemsize == 1 else "OW"
    dataset["PixelData"] = DataElement(0x7FE00010, vr, data + b"\0" * (len(data) % 2))
    dataset.file_meta = FileMetaDataset()
    if syntax == JPEGBaseline8Bit:
        streams = []
        for frame in frames:
            buffer = BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG", quality=95)
            streams.append(buffer.getvalue())
        dataset["PixelData"] = DataElement(0x7FE00010, "OB", encapsulate(streams))
        dataset["PixelData"].is_undefined_length = True
        if first.ndim == 3:
            dataset.PhotometricInterpretation = "YBR_FULL_422"
    elif syntax.is_encapsulated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(syntax, generate_instance_uid=False)
    return write_file(dataset, syntax)


def _cleaned(data: bytes, profile: Profile = PROFILE, layouts: Layouts | None = None) -> Result:
    return clean_file(data, profile, KEY, layouts=layouts)


def _screen(text: str = "Kowalska, Anna", *, size: int = 22, at: tuple[int, int] = (20, 12)) -> NDArray[np.uint8]:
    """An image of a console, 300 x 420, black with an ellipse and a line of text."""
    y, x = np.mgrid[0:300, 0:420]
    values = np.where(np.hypot((x - 210) / 150, (y - 170) / 100) < 1, 70.0, 0.0)
    write_line(values, text, at, size, 250)
    return values.astype(np.uint8)


def _touched(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_]:
    changed = before != after
    return np.asarray(changed.any(-1) if changed.ndim == 3 else changed)


@pytest.mark.parametrize("seed", range(12))
def test_identifiers_become_black_and_little_else_changes(seed: int) -> None:
    sample = make_burned_image(seed)
    result = _cleaned(_file(sample.image, modality=sample.modality))
    assert (result.outcome, result.reason) == ("cleaned", "")
    after, _ = read_stored(result.data)
    black = np.zeros(after.shape[:2], bool)
    for frame, x0, y0, x1, y1 in result.boxes:
        assert frame == 1
        black[y0:y1, x0:x1] = True
    touched = _touched(sample.image, after)
    assert not (touched & ~black).any(), "changed outside of the boxes that the manifest names"
    for line in sample.lines:
        if line.identifies:
            assert (black & line.ink).sum() >= 0.9 * line.ink.sum(), line.text
            assert not (sample.image[line.ink] == after[line.ink]).all()
    assert (touched & ~_neighborhood(sample)).mean() <= 0.01
    dataset = dcmread(BytesIO(result.data))
    assert dataset.BurnedInAnnotation == "NO"
    assert "113101" in [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]


def _neighborhood(sample: BurnedImage) -> NDArray[np.bool_]:
    """The boxes around the lines of text, with a margin of a few pixels."""
    near = np.zeros(sample.image.shape[:2], bool)
    for line in sample.lines:
        rows, columns = (np.flatnonzero(line.ink.any(axis)) for axis in (1, 0))
        near[max(0, rows[0] - 8) : rows[-1] + 9, max(0, columns[0] - 8) : columns[-1] + 9] = True
    return near


@pytest.mark.parametrize("seed", range(100, 106))
def test_harmless_writing_stays(seed: int) -> None:
    sample = make_burned_image(seed, identifiers=False)
    result = _cleaned(_file(sample.image, modality=sample.modality, PatientName="Kowalska^Anna"))
    assert result.boxes == ()
    assert np.array_equal(read_stored(result.data)[0], sample.image)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGBaseline8Bit]
)
@pytest.mark.parametrize("kind", ["grey", "color"])
def test_frames_without_writing_keep_their_values_in_every_syntax(syntax: UID, kind: str) -> None:
    clear = _screen("")
    pictures = [_screen(), clear, np.roll(clear, 3, axis=1)]
    if kind == "color":
        pictures = [np.stack([picture, picture // 2, picture], -1) for picture in pictures]
    received = _file(*pictures, syntax=syntax)
    result = _cleaned(received)
    assert (result.outcome, result.reason) == ("cleaned", "")
    before = [read_stored(received, number)[0] for number in range(3)]
    after = [read_stored(result.data, number)[0] for number in range(3)]
    named = {box[0] for box in result.boxes}
    assert 1 in named
    assert (after[0][14:40, 25:150] == 0).all()
    _, x0, y0, x1, y1 = next(box for box in result.boxes if box[0] == 1)
    outside = np.ones(before[0].shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    for first, second in zip(before, after, strict=True):
        assert np.array_equal(first[outside], second[outside])
    if syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless) and kind == "grey":
        assert dcmread(BytesIO(result.data)).file_meta.TransferSyntaxUID == syntax


def test_sixteen_bits_are_read_beyond_their_window_and_keep_their_values() -> None:
    pixels = _screen().astype(np.uint16) * 16
    result = _cleaned(_file(pixels, modality="DX", WindowCenter=30000, WindowWidth=10))
    after, _ = read_stored(result.data)
    ((_, x0, y0, x1, y1),) = result.boxes
    outside = np.ones(pixels.shape, bool)
    outside[y0:y1, x0:x1] = False
    assert (after[14:40, 25:150] == 0).all()
    assert np.array_equal(after[outside], pixels[outside])


def test_the_same_layout_is_taken_over_and_other_writing_is_found() -> None:
    layouts = Layouts()
    first = _cleaned(_file(_screen()), layouts=layouts)
    second = _cleaned(_file(_screen("Kowalska, Jane")), layouts=layouts)
    assert first.boxes
    assert second.boxes == first.boxes
    third = _cleaned(_file(_screen("Kowalska, Anna", at=(20, 262))), layouts=layouts)
    assert [box[2] > 240 for box in third.boxes] == [True]


@pytest.mark.parametrize("bits", [8, 16])
def test_dim_writing_is_found_in_later_frames_of_a_layout_that_moves(bits: int) -> None:
    layouts = Layouts()
    chance = np.random.default_rng(1)
    kind: Any = np.uint8 if bits == 8 else np.uint16
    attributes: dict[str, Any] = {} if bits == 8 else {"modality": "DX", "WindowCenter": 40000, "WindowWidth": 10}

    def frame(text: str) -> NDArray[Any]:
        values = _screen().astype(float)
        values += chance.normal(0, 2, values.shape) * (values > 0)
        write_line(values, text, (140, 140), 22, 110)
        return (values.clip(0, 255) * (1 if bits == 8 else 16)).astype(kind)

    first, second, third = (
        _cleaned(_file(frame(text), **attributes), layouts=layouts) for text in ("", "", "Tanaka, Yuki")
    )
    assert first.boxes == second.boxes
    assert len(third.boxes) == len(first.boxes) + 1
    assert [box for box in third.boxes if 130 <= box[1] <= 145 and 130 <= box[2] <= 150]


def test_harmless_writing_of_a_layout_is_read_again_when_it_changes() -> None:
    layouts = Layouts()
    assert _cleaned(_file(_screen("Gain 45")), layouts=layouts).boxes == ()
    assert _cleaned(_file(_screen("Gatsby ")), layouts=layouts).boxes


@pytest.mark.parametrize(
    ("font", "name"),
    [
        ("NotoSansArabic-Regular.ttf", "محمد علي"),
        ("NotoSansDevanagari-Regular.ttf", "अनिता शर्मा"),
        ("NotoSansTamil-Regular.ttf", "கமலா தேவி"),
        ("NotoSansCJKsc-Regular.otf", "王小明"),
        ("NotoSansHebrew-Regular.ttf", "דוד כהן"),
        ("NotoSans-Regular.ttf", "Иванова Анна"),
    ],
)
def test_names_in_scripts_that_cannot_be_read_become_black(font: str, name: str) -> None:
    picture = Image.fromarray(_screen(""))
    ImageDraw.Draw(picture).text((30, 10), name, fill=230, font=ImageFont.truetype(FONTS / font, 28))
    result = _cleaned(_file(np.asarray(picture), modality="DX"))
    assert result.outcome == "cleaned"
    assert read_stored(result.data)[0].max() < 100


def test_cells_are_not_taken_for_letters() -> None:
    y, x = np.mgrid[0:300, 0:420]
    picture = np.full((300, 420, 3), 225, np.uint8)
    for row, column in ((60, 70), (60, 160), (60, 250), (200, 100), (210, 300)):
        picture[np.hypot(y - row, x - column) < 26] = (200, 120, 150)
        picture[np.hypot(y - row, x - column) < 12] = (120, 60, 140)
    assert _cleaned(_file(picture, modality="GM")).boxes == ()


def test_rings_are_not_taken_for_numbers_and_writing_beside_them_is_found() -> None:
    y, x = np.mgrid[0:300, 0:420]
    chance = np.random.default_rng(3)
    picture = np.full((300, 420, 3), 215, np.uint8)
    for row in range(30, 290, 48):
        for column in range(30, 410, 44):
            away = np.hypot((y - row) / chance.uniform(0.8, 1.2), x - column + chance.uniform(-4, 4))
            picture[away < 19] = (170, 110, 130)
            picture[away < 9] = (205, 180, 190)
    assert _cleaned(_file(picture, modality="GM")).boxes == ()
    for size, at in ((26, (120, 140)), (18, (100, 120))):
        written = Image.fromarray(picture)
        font = ImageFont.truetype(FONTS / "NotoSans-Regular.ttf", size)
        ImageDraw.Draw(written).text(at, "Kowalska", fill=0, font=font)
        changed = _touched(picture, np.asarray(written))
        black = np.zeros(changed.shape, bool)
        for _, x0, y0, x1, y1 in _cleaned(_file(np.asarray(written), modality="GM")).boxes:
            black[y0:y1, x0:x1] = True
        assert (black & changed).sum() >= 0.9 * changed.sum()
        assert black.mean() < 0.2


@pytest.mark.parametrize("seed", [10071, 10097])
def test_small_writing_of_which_the_network_sees_an_end_only_is_found_whole(seed: int) -> None:
    sample = make_burned_image(seed)
    result = _cleaned(_file(sample.image, modality=sample.modality))
    black = np.zeros(sample.image.shape[:2], bool)
    for _, x0, y0, x1, y1 in result.boxes:
        black[y0:y1, x0:x1] = True
    smallest = min((line for line in sample.lines if line.identifies), key=lambda line: line.size)
    assert smallest.size <= 14
    assert (black & smallest.ink).sum() >= 0.9 * smallest.ink.sum()


def test_a_word_of_the_header_does_not_stay_in_the_pixels() -> None:
    assert is_allowed_text("LEFT", "US", NOBODY)
    assert _cleaned(_file(_screen("LEFT"))).boxes  # the patient's name is Left
    other = _file(_screen("LEFT"), PatientName="Right^Anna")
    assert _cleaned(other).boxes == ()


def test_what_lies_outside_of_the_ultrasound_becomes_black_where_a_profile_wants_it() -> None:
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 60, 70
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 359, 269
    data = _file(_screen("Gain 45"), SequenceOfUltrasoundRegions=Sequence([region]))
    assert _cleaned(data).boxes == ()
    only = Profile(name="only", title="Only", version=1, pixels=Pixels(only_ultrasound=True))
    result = _cleaned(data, only)
    after, _ = read_stored(result.data)
    assert not after[:70].any()
    assert np.array_equal(after[70:270, 60:360], _screen("Gain 45")[70:270, 60:360])
    assert (1, 0, 0, 420, 70) in result.boxes


def test_regions_of_known_devices_become_black() -> None:
    device: dict[str, Any] = {"Manufacturer": "Philips Medical Systems", "ManufacturerModelName": "CX50"}
    picture = _screen("")
    picture[5:20, 30:200] = 90
    result = _cleaned(_file(picture, **device))
    after, _ = read_stored(result.data)
    assert (1, 0, 0, 420, 59) in result.boxes
    assert not after[:59].any()
    assert np.array_equal(after[59:], picture[59:])
    assert known_regions(Dataset()) == ()


def test_a_file_that_says_it_has_writing_waits_when_none_is_found() -> None:
    result = _cleaned(_file(_screen(""), BurnedInAnnotation="YES"))
    assert result.outcome == "quarantined"
    assert "none was found" in result.reason


def test_one_huge_piece_of_writing_waits_for_a_person() -> None:
    values = np.zeros((120, 420))
    write_line(values, "KOWALSKA", (8, 6), 84, 255)
    result = _cleaned(_file(values.astype(np.uint8)))
    assert result.outcome == "quarantined"
    assert "large part" in result.reason
    assert result.boxes
    assert result.data == b""
    # What a person sees first: a clean header, pixels as received; what the person chose then becomes black.
    dataset = dcmread(BytesIO(result.doubtful))
    assert "4711" not in str(dataset)
    assert np.array_equal(read_stored(result.doubtful)[0], values.astype(np.uint8))
    frame, *box = result.boxes[0]
    finished = blacken(result.doubtful, {frame - 1: [(box[0], box[1], box[2], box[3])]})
    assert not read_stored(finished)[0][box[1] : box[3], box[0] : box[2]].any()
    assert dcmread(BytesIO(finished)).BurnedInAnnotation == "NO"


def test_code_and_dates_are_those_of_the_person_whose_file_it_is_known_to_be() -> None:
    somebody = Pseudonym(KEY, "P-KNOWN", -70)
    profile = find_profile("research-dates-shifted")
    data = _file(_screen("Gain 45"), StudyDate="20240311")
    result = clean_object(data, profile, somebody, KEY, DecodingLimits())
    dataset = dcmread(BytesIO(result.data))
    assert (dataset.PatientID, result.output_path[0], dataset.StudyDate) == ("P-KNOWN", "P-KNOWN", "20240101")
    assert result.allowed
    assert clean_object(data, profile, None, KEY, DecodingLimits()).data == clean_file(data, profile, KEY).data


def test_without_cleaning_of_pixels_what_may_hold_writing_waits() -> None:
    without_pixels = Profile(name="kept", title="Kept", version=1, pixels=Pixels(clean=False))
    assert "modality US" in _cleaned(_file(_screen()), without_pixels).reason


def test_single_frames_are_written_anew_beside_the_others() -> None:
    received = _file(_screen(), np.zeros((300, 420), np.uint8), syntax=RLELossless)
    result = _cleaned(received)
    frames = [
        list(generate_frames(dcmread(BytesIO(data)).PixelData, number_of_frames=2)) for data in (received, result.data)
    ]
    assert frames[0][0] != frames[1][0]
    assert np.asarray(read_frame(result.data, 1)).max() == 0


@pytest.mark.parametrize(
    ("text", "modality", "stays"),
    [
        ("12.4 cm", "US", True),
        ("MI 1.2 TIS 0.8", "US", True),
        ("DR 60", "US", True),
        ("Dr. Long", "US", False),
        ("PA ERECT", "DX", True),
        ("PAERECT", "DX", True),
        ("P0RTABLE", "CR", True),
        ("Kowalska", "DX", False),
        ("12.03.1961", "DX", False),
        ("10:45", "US", False),
        ("1961", "US", False),
        ("4711023", "CT", False),
        ("ID 4711", "CT", False),
        ("anna@lab.example", "XC", False),
        ("", "US", False),
        ("...", "US", False),
    ],
)
def test_what_writing_may_stay(text: str, modality: str, stays: bool) -> None:
    assert is_allowed_text(text, modality, NOBODY) is stays


def test_low_letters_in_two_lines_on_the_strip_of_an_old_screen_are_found() -> None:
    screen = Image.new("RGB", (640, 480))
    drawing = ImageDraw.Draw(screen)
    drawing.rectangle((0, 0, 640, 26), fill=(45, 50, 75))
    for number, text in enumerate(("24-MAY-02", "11:24:20")):
        drawing.text((560, 1 + 10 * number), text, fill=(225, 225, 225), font=ImageFont.load_default(10))
    regions = text_reader().find(np.asarray(screen))
    assert {region.readings[0][0] for region in regions} == {"24-MAY-02", "11:24:20"}
