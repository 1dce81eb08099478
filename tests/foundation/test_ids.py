# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
import uuid
from collections import Counter

import pytest
from pydicom.uid import UID

from medhub.foundation import ids
from tests.factories.threads import together


def test_an_id_is_a_uuid_of_version_7() -> None:
    for _ in range(200):
        text = ids.new_id()
        known = uuid.UUID(hex=text)
        assert (known.version, known.variant, known.hex) == (7, uuid.RFC_4122, text)


def test_ids_sort_by_the_time_of_their_making(monkeypatch: pytest.MonkeyPatch) -> None:
    created = []
    for moment in (0, 1, 999, 1_732_000_000_000, 1_732_000_000_001, 2**48 - 1):
        monkeypatch.setattr(time, "time_ns", lambda m=moment: m * 1_000_000)
        created.append(ids.new_id())
    assert created == sorted(created)
    assert int(created[3][:12], 16) == 1_732_000_000_000


def test_ids_of_many_threads_are_all_different() -> None:
    created = [new_id for many in together(*[lambda: [ids.new_id() for _ in range(2000)]] * 4) for new_id in many]
    assert len(set(created)) == len(created) == 8000


def test_codes_have_only_signs_that_nobody_confuses() -> None:
    counted = Counter("".join(ids.new_code("P", 50).removeprefix("P-") for _ in range(600)))
    assert set(counted) == set("23456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert not set("0O1IL") & set(counted)


def test_a_code_has_its_prefix_and_length() -> None:
    code = ids.new_code("P")
    assert code.startswith("P-")
    assert len(code) == 8


def test_uids_are_valid_dicom_and_different() -> None:
    uids = {ids.new_uid() for _ in range(500)}
    assert len(uids) == 500
    assert all(UID(uid).is_valid and len(uid) <= 64 and uid.startswith("2.25.") for uid in uids)
