# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import unicodedata

import pytest
from argon2 import PasswordHasher

from medhub.accounts.passwords import hash_password, new_password, verify_password
from medhub.errors import Invalid

GOOD = "correct horse battery"


def test_a_password_is_kept_as_argon2id_with_at_least_owasps_cost() -> None:
    hashed = hash_password(GOOD)
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert GOOD not in hashed
    assert hashed != hash_password(GOOD)


def test_only_the_password_itself_fits_its_hash() -> None:
    hashed = hash_password(GOOD)
    assert verify_password(GOOD, hashed)
    for wrong in (GOOD.upper(), GOOD + " ", "", GOOD[:-1], "x" * 300):
        assert not verify_password(wrong, hashed)


def test_a_password_fits_however_the_keyboard_composes_its_letters() -> None:
    composed = "caf\u00e9 \u1e69\u00fc \ud55c\uae00 2026"
    apart = unicodedata.normalize("NFD", composed)
    for stored, typed in ((composed, apart), (apart, composed)):
        assert verify_password(typed, hash_password(stored))
    of_an_earlier_version = PasswordHasher().hash(apart)
    assert verify_password(apart, of_an_earlier_version)


def test_without_a_hash_or_with_a_broken_one_nothing_fits() -> None:
    assert not verify_password(GOOD, None)
    assert not verify_password(GOOD, "not a hash")


@pytest.mark.parametrize(
    ("password", "words"), [("x" * 11, "at least 12"), ("", "at least 12"), ("x" * 257, "at most 256")]
)
def test_a_password_is_neither_short_nor_endless(password: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        hash_password(password)
    assert caught.value.facts["field"] == "password"


def test_passwords_of_every_script_are_taken() -> None:
    for password in ("密码密码密码密码密码密码", "கடவுச்சொல் மிக நீளமானது", "😀" * 12):
        assert verify_password(password, hash_password(password))


def test_made_passwords_can_be_read_from_paper_and_differ() -> None:
    passwords = {new_password() for _ in range(200)}
    assert len(passwords) == 200
    for password in passwords:
        assert len(password) == 23
        assert not set("0o1il") & set(password)
        assert password.count("-") == 3
