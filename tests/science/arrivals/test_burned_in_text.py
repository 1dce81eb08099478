# SPDX-License-Identifier: Apache-2.0
"""Writing in images on their way into the store."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread

from medhub.foundation.message_codec import codec_of
from medhub.science.arrivals.burned_in_text import BurnedInText, clean_burned_in_text
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import Profile
from medhub.science.imaging.rendering.frames import read_frame
from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.pictures import CONTEXT, LIMITS


def radiograph(text: str, **attributes: Any) -> bytes:
    """A grey picture with a line of writing."""
    picture = Image.fromarray(np.full((400, 500), 30, np.uint8))
    ImageDraw.Draw(picture).text((120, 60), text, fill=230, font=ImageFont.load_default(28))
    return file_of(dataset_of(np.asarray(picture), Modality="DX", **attributes))


def clean_pixels(data: bytes, context: CleaningContext = CONTEXT) -> Any:
    return clean_burned_in_text(data, prepare_arrival(data, context=context, limits=LIMITS).dicom, context, LIMITS)


def test_harmless_writing_stays_unless_it_is_the_patients_name() -> None:
    stays = clean_pixels(radiograph("PORTABLE"))
    assert stays.boxes == ()
    assert len(stays.allowed) == 1
    named = clean_pixels(radiograph("PORTABLE"), replace(CONTEXT, known=("Anna Portable",)))
    assert len(named.boxes) == 1
    assert read_frame(named.dicom)[64:84, 125:250].max() <= 30
    in_header = clean_pixels(radiograph("PORTABLE", PatientName="Portable^Anna"))
    assert len(in_header.boxes) == 1


def test_a_name_goes_and_the_thumbnail_is_of_what_is_left() -> None:
    seen = clean_pixels(radiograph("KOWALSKA 1979"))
    assert seen.doubt == ""
    with Image.open(BytesIO(seen.thumbnail)) as small:
        assert np.asarray(small.convert("L")).max() < 60
    assert dcmread(BytesIO(seen.dicom)).BurnedInAnnotation == "NO"


def test_only_what_a_person_chose_is_black() -> None:
    data = radiograph("KOWALSKA 1979")
    prepared = prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    seen = clean_burned_in_text(data, prepared.dicom, CONTEXT, LIMITS, [(1, 0, 0, 160, 400)])
    frame = read_frame(seen.dicom)
    assert frame[:, :160].max() <= 30
    assert frame[60:90, 160:].max() > 200


def test_a_profile_that_has_nobody_read_leaves_it_to_a_person() -> None:
    profile = Profile.model_validate({**CONTEXT.profile.model_dump(), "pixels": {"clean": False}})
    assert clean_pixels(radiograph("R"), replace(CONTEXT, profile=profile)).doubt


@pytest.mark.parametrize(
    ("modality", "region", "doubtful"),
    [("XC", "", True), ("CT", "HEAD", True), ("MR", "", True), ("CT", "CHEST", False), ("DX", "SKULL", False)],
)
def test_what_may_show_a_face_waits_where_the_profile_says_so(modality: str, region: str, doubtful: bool) -> None:
    profile = Profile.model_validate({**CONTEXT.profile.model_dump(), "pixels": {"faces": "hold"}})
    context = replace(CONTEXT, profile=profile)
    image_type = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data = file_of(
        dataset_of(np.full((64, 64), 30, np.uint8), Modality=modality, BodyPartExamined=region, ImageType=image_type)
    )
    prepared = prepare_arrival(data, context=context, limits=LIMITS)
    assert prepared.unseen
    undecided = clean_burned_in_text(data, prepared.dicom, context, LIMITS)
    assert ("face" in undecided.doubt) == doubtful
    released = clean_burned_in_text(data, prepared.dicom, context, LIMITS, [(1, 0, 0, 9, 9)])
    dataset = dcmread(BytesIO(released.dicom))
    assert dataset.RecognizableVisualFeatures == "NO"
    assert {"113101", "113102"} <= {code.CodeValue for code in dataset.DeidentificationMethodCodeSequence}
    assert clean_pixels(data).doubt == ""


@pytest.mark.parametrize("boxes", ["", [[1, 2]], [[1, 2, 3, 4, "5"]], [[1, 2, 3, 4, 5]] * 20_001])
def test_boxes_of_an_isolated_process_are_checked(boxes: Any) -> None:
    codec = codec_of(BurnedInText)
    segments: list[bytes] = []
    values = codec.encode(BurnedInText(b"file", b"", "1.2"), segments)
    assert codec.decode({**values, "boxes": [[1, 2, 3, 4, 5]]}, segments).boxes == ((1, 2, 3, 4, 5),)
    for name in ("boxes", "kept"):
        with pytest.raises(ValueError, match=r"type|boxes"):
            codec.decode({**values, name: boxes}, segments)


def test_the_result_of_an_isolated_process_has_exactly_the_declared_fields() -> None:
    data = radiograph("R")
    prepared = prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    cleaned = clean_burned_in_text(data, prepared.dicom, CONTEXT, LIMITS)
    codec = codec_of(BurnedInText)
    segments: list[bytes] = []
    values = codec.encode(cleaned, segments)
    assert codec.decode(values, segments) == cleaned
    for wrong in ({"dicom": "text"}, {"dicom": 7}, {"dicom": True}, {"doubt": 1}, {"more": 1}):
        with pytest.raises(ValueError, match=r"type|segment"):
            codec.decode({**values, **wrong}, segments)
    with pytest.raises(ValueError, match="type"):
        codec.decode({name: value for name, value in values.items() if name != "doubt"}, segments)
