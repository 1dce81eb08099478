# SPDX-License-Identifier: Apache-2.0
"""The way of images to a process apart and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medhub.foundation.isolation import DecoderFailed, Isolation
from medhub.science.arrivals import wire
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.renditions import original, render_file
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells, encode, png


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    with Isolation(workers=1, memory_bytes=2 * 1024**3, timeout_s=60) as pool:
        yield pool


def test_a_process_apart_prepares_and_shows_as_this_one_does(isolation: Isolation) -> None:
    data = encode(cells(), "PNG")
    prepared = CleanedImage.from_wire(isolation.run(wire.prepare, data, CONTEXT.to_wire(), LIMITS.to_wire()))
    assert prepared == prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    dicom = prepared.dicom
    assert np.array_equal(wire.array(isolation.run(wire.frame, dicom)), read_frame(dicom))
    assert np.array_equal(wire.array(isolation.run(wire.photograph, data, LIMITS.to_wire())), cells())
    assert isolation.run(wire.rendition, dicom, 64) == render_file(dicom, 64)
    assert tuple(isolation.run(wire.download, dicom)) == original(dicom)


def test_refusals_come_back_as_they_are(isolation: Isolation) -> None:
    with pytest.raises(Unacceptable) as caught:
        isolation.run(wire.prepare, b"no image", CONTEXT.to_wire(), LIMITS.to_wire())
    assert caught.value.reason == "not-an-image"


def test_memory_stays_within_the_limit_of_the_process() -> None:
    # 90 million pixels are within the limits of a file, but decoded they need more than this process is given.
    data = png(9_500, 9_500, 8, 2, bytes(9_500 * (1 + 3 * 9_500)))
    with Isolation(workers=1, memory_bytes=512 * 1024**2, timeout_s=60) as small:
        with pytest.raises((Unacceptable, DecoderFailed)) as caught:
            small.run(wire.prepare, data, CONTEXT.to_wire(), LIMITS.to_wire())
        reason = caught.value.facts.get("reason") or caught.value.facts["how"]
        assert reason in ("too-many-pixels", "memory", "crash", "damaged")
        good = small.run(wire.prepare, encode(cells(), "JPEG"), CONTEXT.to_wire(), LIMITS.to_wire())
        assert CleanedImage.from_wire(good).rows == 120


@pytest.mark.parametrize("context", [CONTEXT, replace(CONTEXT, sex=None, birth_year=None, study_instance_uid="1.2")])
def test_a_context_survives_the_way(context: CleaningContext) -> None:
    assert CleaningContext.from_wire(context.to_wire()) == context
    assert DecodingLimits.from_wire(LIMITS.to_wire()) == LIMITS


@pytest.mark.parametrize(
    "change", [{"rows": "7"}, {"dicom": "text"}, {"lossless": 1}, {"more": 1}, {"rows": True}, {"notes": "x"}]
)
def test_an_answer_of_other_types_is_not_believed(change: dict[str, Any]) -> None:
    values = prepare_arrival(encode(cells(), "PNG"), context=CONTEXT, limits=LIMITS).to_wire()
    assert CleanedImage.from_wire(values).rows == 120
    with pytest.raises(ValueError, match=r"not a prepared image|argument|string|int"):
        CleanedImage.from_wire({**values, **change})


@pytest.mark.parametrize(
    "values", [{"rows": 2, "columns": 2, "pixels": b"123"}, {"rows": "2", "columns": 2, "pixels": b""}]
)
def test_a_picture_of_another_size_is_not_believed(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"picture|reshape"):
        wire.array(values)
