# SPDX-License-Identifier: Apache-2.0
"""The functions of science in isolated processes: the same results as here, and checked answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medhub.foundation.call_codec import codec_of_call
from medhub.foundation.isolation import DecoderFailed, Isolation
from medhub.foundation.message_codec import codec_of
from medhub.records import isolated_calls
from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival, prepare_arrivals
from medhub.science.arrivals.patient_identifiers import (
    PatientIdentifiers,
    read_identifiers_of_files,
    read_patient_identifiers,
)
from medhub.science.arrivals.transient_decoding import decode_photograph
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.query_identifiers import MOST_KEYS, Identifier
from medhub.science.imaging.dicom.search_attributes import read_search_attributes
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.renditions import original, render_file
from tests.factories.cts import ct
from tests.science.imaging.pictures import CONTEXT, LIMITS, cells, encode, png


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    with Isolation(workers=1, memory_bytes=2 * 1024**3, timeout_s=60) as pool:
        yield pool


def test_an_isolated_process_prepares_and_shows_as_this_one_does(isolation: Isolation) -> None:
    data = encode(cells(), "PNG")
    prepared = isolation.run(prepare_arrival, data, context=CONTEXT, limits=LIMITS)
    assert prepared == prepare_arrival(data, context=CONTEXT, limits=LIMITS)
    dicom = prepared.dicom
    assert np.array_equal(isolation.run(read_frame, dicom), read_frame(dicom))
    assert np.array_equal(isolation.run(decode_photograph, data, LIMITS), cells())
    assert isolation.run(render_file, dicom, 64) == render_file(dicom, 64)
    assert isolation.run(original, dicom) == original(dicom)
    assert isolation.run(read_search_attributes, dicom, []) == read_search_attributes(dicom, [])


def test_a_batch_gives_each_file_its_image_or_its_refusal(isolation: Isolation) -> None:
    files = [ct(), b"no image", encode(cells(), "JPEG")]
    other = replace(CONTEXT, patient_code="P-OTHER")
    answers = isolation.run(prepare_arrivals, files, [CONTEXT, other], [0, 0, 1], LIMITS)
    assert answers[0] == prepare_arrival(files[0], context=CONTEXT, limits=LIMITS)
    assert isinstance(answers[1], Unacceptable)
    assert answers[1].reason == "not-an-image"
    assert answers[2] == prepare_arrival(files[2], context=other, limits=LIMITS)
    identifiers = isolation.run(read_identifiers_of_files, files, LIMITS)
    assert identifiers[0] == read_patient_identifiers(files[0], LIMITS)
    assert [type(answer) for answer in identifiers] == [PatientIdentifiers, Unacceptable, Unacceptable]


def test_refusals_come_back_as_they_are(isolation: Isolation) -> None:
    with pytest.raises(Unacceptable) as caught:
        isolation.run(prepare_arrival, b"no image", context=CONTEXT, limits=LIMITS)
    assert caught.value.reason == "not-an-image"


def test_memory_stays_within_the_limit_of_the_process() -> None:
    # 90 million pixels are within the limits of a file, but decoded they need more than this process is given.
    data = png(9_500, 9_500, 8, 2, bytes(9_500 * (1 + 3 * 9_500)))
    with Isolation(workers=1, memory_bytes=512 * 1024**2, timeout_s=60) as small:
        with pytest.raises((Unacceptable, DecoderFailed)) as caught:
            small.run(prepare_arrival, data, context=CONTEXT, limits=LIMITS)
        reason = caught.value.facts.get("reason") or caught.value.facts["how"]
        assert reason in ("too-many-pixels", "memory", "crash", "damaged")
        assert small.run(prepare_arrival, encode(cells(), "JPEG"), context=CONTEXT, limits=LIMITS).rows == 120


@pytest.mark.parametrize("context", [CONTEXT, replace(CONTEXT, sex=None, birth_year=None, study_instance_uid="1.2")])
def test_a_context_is_decoded_as_it_was_encoded(context: CleaningContext) -> None:
    segments: list[bytes] = []
    codec = codec_of(CleaningContext)
    assert codec.decode(codec.encode(context, segments), segments) == context
    assert codec_of(DecodingLimits).decode(codec_of(DecodingLimits).encode(LIMITS, segments), segments) == LIMITS


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "7"},
        {"rows": True},
        {"rows": 1.5},
        {"rows": None},
        {"dicom": "text"},
        {"dicom": 99},
        {"dicom": -1},
        {"lossless": 1},
        {"more": 1},
        {"notes": "x"},
        {"notes": [1]},
        {"kind": "movie"},
        {"shown_as": "x"},
        {"identity": {"name": 1}},
        {"identity": []},
        {"manifest": 99},
        {"manifest": [[]]},
        {"attributes": {"study": {}}},
        {"attributes": {"study": {}, "series": {}, "image": {"Rows": "7"}}},
        {"attributes": {"study": {}, "series": {}, "image": {"Rows": ["7\x00"]}}},
        {"attributes": {"study": {}, "series": {}, "image": {"Rows": ["7"] * 33}}},
        {"attributes": {"study": {}, "series": {}, "image": {"Rows": ["7" * 1025]}}},
    ],
)
def test_a_cleaned_image_of_other_types_is_refused(change: dict[str, Any]) -> None:
    codec = codec_of(CleanedImage)
    segments: list[bytes] = []
    values = codec.encode(prepare_arrival(encode(cells(), "PNG"), context=CONTEXT, limits=LIMITS), segments)
    assert codec.decode(values, segments).rows == 120
    with pytest.raises(ValueError, match=r"type|segment|attribute"):
        codec.decode({**values, **change}, segments)


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[1]", b'[["","","","","","1"]]', b'[["","","","",""]]'])
def test_a_manifest_of_other_types_is_refused(manifest: bytes) -> None:
    codec = codec_of(CleanedImage)
    segments: list[bytes] = []
    values = codec.encode(prepare_arrival(encode(cells(), "PNG"), context=CONTEXT, limits=LIMITS), segments)
    with pytest.raises(ValueError, match=r"type|Expecting|characters"):
        codec.decode(values, [manifest if number == values["manifest"] else s for number, s in enumerate(segments)])


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [([2, 2, 3], b"123"), (["2", 2, 3], b""), ([-1, -4, 3], bytes(12)), ([1, 1, 1, 1, 1], b"1"), (12, bytes(12))],
)
def test_an_array_of_another_size_is_refused(shape: Any, pixels: bytes) -> None:
    codec = codec_of(NDArray[np.uint8])
    assert codec.decode([[2, 2, 3], 0], [bytes(12)]).shape == (2, 2, 3)
    with pytest.raises(ValueError, match=r"type|shape"):
        codec.decode([shape, 0], [pixels])


@pytest.mark.parametrize("keys", [{"NoKeyword": ""}, {"PatientID": 1}, {f"k{n}": "" for n in range(MOST_KEYS + 1)}])
def test_keys_of_a_query_that_are_none_are_refused(keys: Any) -> None:
    codec = codec_of(Identifier)
    assert codec.decode({"level": "STUDY", "keys": {"PatientID": "1"}}, ()) == Identifier("STUDY", {"PatientID": "1"})
    with pytest.raises(ValueError, match=r"type|keys"):
        codec.decode({"level": "STUDY", "keys": keys}, ())


def test_every_preloaded_function_declares_types_that_can_be_sent() -> None:
    for function in isolated_calls.ISOLATED_FUNCTIONS:
        assert codec_of_call(function).parameters
