# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from medhub.errors import Conflict, Invalid
from medhub.reports.document import ReportFacts, facts_digest, facts_record, render
from medhub.reports.seal import BLANK_SEAL, key_id, seal, verify

FactsMaker = Callable[..., ReportFacts]

KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the laboratory's key").digest())
OTHER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"somebody else's key").digest())


@pytest.fixture(scope="module")
def facts(make_facts: FactsMaker) -> ReportFacts:
    return make_facts(2)


@pytest.fixture(scope="module")
def draft(facts: ReportFacts) -> bytes:
    return render(facts)


@pytest.fixture(scope="module")
def sealed(draft: bytes) -> bytes:
    return seal(draft, KEY)


def test_a_sealed_report_is_intact_authentic_and_carries_its_record(facts: ReportFacts, sealed: bytes) -> None:
    found = verify(sealed, KEY.public_key())
    assert found.intact
    assert found.authentic is True
    assert found.key_id == key_id(KEY.public_key())
    assert found.record == facts_record(facts)
    assert found.facts_digest_matches is True
    assert found.record is not None
    assert facts_digest(found.record) in sealed.decode("latin-1")


def test_sealing_writes_in_place_and_always_the_same(draft: bytes, sealed: bytes) -> None:
    assert len(sealed) == len(draft)
    assert seal(draft, KEY) == sealed
    assert sum(a != b for a, b in zip(draft, sealed, strict=True)) <= 2 * 256


def test_without_a_key_it_is_intact_but_nobody_knows_whose(sealed: bytes) -> None:
    found = verify(sealed, None)
    assert found.intact
    assert found.authentic is None
    assert "nobody knows whose" in found.reason


def test_under_another_key_it_is_not_authentic(draft: bytes, sealed: bytes) -> None:
    assert verify(sealed, OTHER.public_key()).authentic is False
    forged = verify(seal(draft, OTHER), KEY.public_key())
    assert forged.intact
    assert forged.authentic is False
    assert "do not trust it" in forged.reason


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(sealed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sealed) - 1))
    change = data.draw(st.integers(1, 255))
    broken = bytearray(sealed)
    broken[at] ^= change
    assert not verify(bytes(broken), None).intact
    assert verify(bytes(broken), KEY.public_key()).authentic is False


def test_each_byte_of_the_seals_themselves_counts(sealed: bytes) -> None:
    places = [start for start in range(len(sealed)) if sealed.startswith(b"medhub-seal:", start)]
    assert len(places) == 2
    for place in places:
        for at in range(place - 14, place + len(BLANK_SEAL) + 2):
            for change in (1, 2, 32, 128):
                broken = bytearray(sealed)
                broken[at] ^= change
                assert not verify(bytes(broken), None).intact


def test_both_seals_changed_alike_are_found(sealed: bytes) -> None:
    start = sealed.index(b"medhub-seal:1:") + len("medhub-seal:1:")
    text = sealed[start : start + 258]
    for at in (0, 63, 65, 128, 130, 257):
        digit = b"1" if text[at : at + 1] == b"0" else b"0"
        other = text[:at] + digit + text[at + 1 :]
        assert sealed.count(text) == 2
        assert not verify(sealed.replace(text, other), None).intact


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_added_or_removed_byte_is_found(sealed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sealed)))
    extra = data.draw(st.binary(min_size=1, max_size=3))
    assert not verify(sealed[:at] + extra + sealed[at:], None).intact
    cut = data.draw(st.integers(0, len(sealed) - 1))
    assert not verify(sealed[:cut] + sealed[cut + 1 :], None).intact
    assert not verify(sealed[:cut], None).intact


def test_an_update_appended_to_the_file_is_found(sealed: bytes) -> None:
    found = verify(sealed + b"\n1 0 obj\n<<>>\nendobj\nstartxref\n0\n%%EOF\n", KEY.public_key())
    assert not found.intact
    assert found.authentic is False
    assert "changed after it was sealed" in found.reason


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(50)])
def test_what_is_no_pdf_is_called_so(data: bytes) -> None:
    found = verify(data, None)
    assert not found.intact
    assert found.digest is None
    assert found.reason == "This is not a PDF file."


def test_a_pdf_without_a_seal_is_called_so() -> None:
    found = verify(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF", KEY.public_key())
    assert not found.intact
    assert found.authentic is False
    assert "carries no seal" in found.reason


def test_a_draft_is_called_so(draft: bytes) -> None:
    found = verify(draft, None)
    assert not found.intact
    assert "never sealed" in found.reason


def test_a_report_is_sealed_once_and_nothing_else_can_be(sealed: bytes) -> None:
    with pytest.raises(Conflict, match="sealed already"):
        seal(sealed, OTHER)
    with pytest.raises(Invalid, match="no place for a seal"):
        seal(b"%PDF-1.7\n%%EOF", KEY)


def test_a_seal_written_into_a_note_seals_nothing(make_facts: FactsMaker) -> None:
    for fake in (f"/Keywords({BLANK_SEAL})", f"<pdf:Keywords>{BLANK_SEAL}", BLANK_SEAL):
        facts = make_facts(
            1,
            case_id=fake,
            pathway_title=fake,
            project=fake,
            institution=fake,
            each={"verdict_note": fake, "verdict_label": fake, "classifier_label": fake},
        )
        found = verify(seal(render(facts), KEY), KEY.public_key())
        assert found.intact
        assert found.authentic
        assert found.facts_digest_matches


def test_a_record_exchanged_before_sealing_does_not_match_the_pages(make_facts: FactsMaker) -> None:
    facts = make_facts(1)
    digest = facts_digest(facts_record(facts)).encode()
    forged = render(facts).replace(b"medhub-facts:" + digest, b"medhub-facts:" + digest[::-1])
    found = verify(seal(forged, KEY), KEY.public_key())
    assert found.intact
    assert found.facts_digest_matches is False
    assert "does not have the digest" in found.reason
