# SPDX-License-Identifier: Apache-2.0
"""Reports that were sealed in their keywords, before PDF signatures, still verify.

``files/keyword-seal.pdf`` was rendered from the facts of ``conftest.build_facts(2, identity=None)`` and sealed with
``KEY`` by the code that wrote such seals.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from medhub.foundation.keys import Keys
from medhub.reports.certificate import derive_credentials
from medhub.reports.document import facts_digest, facts_record
from medhub.reports.keyword_seal import BLANK_SEAL, key_id
from medhub.reports.pdf_signature import check_signature, sign_report
from medhub.reports.verification import verify_report
from medhub.reports.verification_result import TrustedKeys
from tests.reports.conftest import NOON, build_facts

KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the laboratory's key").digest())
OTHER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"somebody else's key").digest())
TRUSTED = TrustedKeys(seal_key=KEY.public_key())
NOTHING = TrustedKeys()
CREDENTIALS = derive_credentials(Keys(b"\x07" * 32))
SEAL = re.compile(rb"medhub-seal:1:[0-9a-f]{64}:[0-9a-f]{64}:[0-9a-f]{128}")


@pytest.fixture(scope="module")
def sealed() -> bytes:
    return (Path(__file__).parent / "files" / "keyword-seal.pdf").read_bytes()


@pytest.fixture(scope="module")
def draft(sealed: bytes) -> bytes:
    """The report before it was sealed."""
    return SEAL.sub(BLANK_SEAL.encode(), sealed)


def seal(draft: bytes, key: Ed25519PrivateKey) -> bytes:
    """Seal a draft as former versions did."""
    digest = hashlib.sha256(draft).digest()
    public = key.public_key().public_bytes_raw()
    signature = key.sign(b"medhub report seal 1\x00" + digest)
    return draft.replace(BLANK_SEAL.encode(), f"medhub-seal:1:{digest.hex()}:{public.hex()}:{signature.hex()}".encode())


def test_a_sealed_report_is_intact_authentic_and_carries_its_record(sealed: bytes) -> None:
    result = verify_report(sealed, TRUSTED)
    assert result.intact
    assert result.authentic is True
    assert result.method == "seal"
    assert result.key_id == key_id(KEY.public_key())
    assert result.record == facts_record(build_facts(2, identity=None))
    assert result.facts_digest_matches is True
    assert result.record is not None
    assert facts_digest(result.record) in sealed.decode("latin-1")


def test_the_digest_is_that_of_the_file_with_blank_seals(sealed: bytes, draft: bytes) -> None:
    assert seal(draft, KEY) == sealed
    assert verify_report(sealed, TRUSTED).digest == hashlib.sha256(draft).hexdigest()


def test_without_a_key_it_is_intact_but_nobody_knows_whose(sealed: bytes) -> None:
    result = verify_report(sealed, NOTHING)
    assert result.intact
    assert result.authentic is None
    assert "can only be known from a source that you trust" in result.reason


def test_under_another_key_it_is_not_authentic(sealed: bytes, draft: bytes) -> None:
    assert verify_report(sealed, TrustedKeys(seal_key=OTHER.public_key())).authentic is False
    forged = verify_report(seal(draft, OTHER), TRUSTED)
    assert forged.intact
    assert forged.authentic is False
    assert "do not trust it" in forged.reason


def test_a_certificate_alone_does_not_vouch_for_a_seal(sealed: bytes) -> None:
    result = verify_report(sealed, TrustedKeys(CREDENTIALS.certificate))
    assert (result.intact, result.authentic) == (True, False)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(sealed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sealed) - 1))
    change = data.draw(st.integers(1, 255))
    broken = bytearray(sealed)
    broken[at] ^= change
    assert not verify_report(bytes(broken), NOTHING).intact
    assert verify_report(bytes(broken), TRUSTED).authentic is False


def test_each_byte_of_the_seals_themselves_counts(sealed: bytes) -> None:
    starts = [start for start in range(len(sealed)) if sealed.startswith(b"medhub-seal:", start)]
    assert len(starts) == 2
    for start in starts:
        for at in range(start - 14, start + len(BLANK_SEAL) + 2):
            for change in (1, 2, 32, 128):
                broken = bytearray(sealed)
                broken[at] ^= change
                assert not verify_report(bytes(broken), NOTHING).intact


def test_both_seals_changed_alike_are_found(sealed: bytes) -> None:
    start = sealed.index(b"medhub-seal:1:") + len("medhub-seal:1:")
    text = sealed[start : start + 258]
    for at in (0, 63, 65, 128, 130, 257):
        digit = b"1" if text[at : at + 1] == b"0" else b"0"
        other = text[:at] + digit + text[at + 1 :]
        assert sealed.count(text) == 2
        assert not verify_report(sealed.replace(text, other), NOTHING).intact


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_added_or_removed_byte_is_found(sealed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sealed)))
    extra = data.draw(st.binary(min_size=1, max_size=3))
    assert not verify_report(sealed[:at] + extra + sealed[at:], NOTHING).intact
    cut = data.draw(st.integers(0, len(sealed) - 1))
    assert not verify_report(sealed[:cut] + sealed[cut + 1 :], NOTHING).intact
    assert not verify_report(sealed[:cut], NOTHING).intact


def test_an_update_appended_to_the_file_is_found(sealed: bytes) -> None:
    result = verify_report(sealed + b"\n1 0 obj\n<<>>\nendobj\nstartxref\n0\n%%EOF\n", TRUSTED)
    assert not result.intact
    assert result.authentic is False
    assert "changed after it was sealed" in result.reason


def test_a_pdf_signature_added_to_a_sealed_report_is_found(sealed: bytes) -> None:
    signed = sign_report(sealed, CREDENTIALS, NOON)
    assert check_signature(signed, TrustedKeys(CREDENTIALS.certificate)).intact
    result = verify_report(signed, TrustedKeys(CREDENTIALS.certificate, KEY.public_key()))
    assert (result.intact, result.authentic) == (False, False)
    assert "changed after it was sealed" in result.reason


def test_a_draft_is_called_so(draft: bytes) -> None:
    result = verify_report(draft, NOTHING)
    assert not result.intact
    assert "never sealed" in result.reason
