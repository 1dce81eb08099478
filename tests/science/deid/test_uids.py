# SPDX-License-Identifier: Apache-2.0
"""Keyed UIDs."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import UID

from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.profile import find_profile
from medhub.science.deid.pseudonym import subject_of
from medhub.science.deid.uids import keyed_uid

KEY = b"0123456789abcdef"


@given(st.binary(min_size=16, max_size=64), st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4))
def test_a_keyed_uid_is_a_valid_uid_of_a_uuid(key: bytes, parts: list[str]) -> None:
    uid = keyed_uid(key, *parts)
    assert UID(uid).is_valid
    assert len(uid) <= 64
    number = uuid.UUID(int=int(uid.removeprefix("2.25.")))
    assert (number.version, number.variant) == (8, uuid.RFC_4122)
    assert keyed_uid(key, *parts) == uid


def test_the_same_parts_give_the_same_uid_in_every_release() -> None:
    assert keyed_uid(KEY, "P-1", "1.2.840") == "2.25.38008562842683889441388131915220670572"


def test_parts_are_kept_apart() -> None:
    assert len({keyed_uid(KEY, *parts) for parts in (("a", "bc"), ("ab", "c"), ("abc",), ("", "abc"))}) == 4


def test_another_key_gives_another_uid() -> None:
    assert keyed_uid(KEY, "1.2") != keyed_uid(KEY[::-1], "1.2")


def test_a_short_key_is_no_secret() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        keyed_uid(b"short", "1.2")


def test_a_class_that_is_newer_than_the_dictionary_stays_what_it_is() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.7", "1.2.3"
    profile = find_profile("basic")
    cleaned = deidentify(dataset, profile, subject_of(b"k" * 32, "4711", "", profile.dates)).dataset
    assert cleaned.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    assert cleaned.SOPInstanceUID != "1.2.3"
