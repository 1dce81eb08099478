# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from medhub.errors import Unavailable
from medhub.foundation.keys import Keys, MasterKeyMissing, load_keys, new_key, seal, unseal
from medhub.foundation.settings import Settings
from tests.factories.threads import together

MASTER = bytes(range(32))


def test_each_purpose_has_a_key_of_its_own_and_keeps_it() -> None:
    keys = Keys(MASTER)
    derived = {keys.derive(purpose) for purpose in ("vault", "api-tokens", "csrf")}
    assert len(derived) == 3
    assert all(len(key) == 32 and key != MASTER for key in derived)
    assert Keys(MASTER).derive("vault") == keys.derive("vault")
    assert Keys(new_key()).derive("vault") != keys.derive("vault")


def test_derivation_is_hkdf_of_rfc_5869() -> None:
    import hashlib
    import hmac

    extracted = hmac.new(b"\x00" * 32, MASTER, hashlib.sha256).digest()
    expanded = hmac.new(extracted, b"medhub:vault\x01", hashlib.sha256).digest()
    assert Keys(MASTER).derive("vault") == expanded


def test_fingerprints_tell_equal_data_and_need_the_key() -> None:
    first, other = Keys(MASTER), Keys(new_key())
    assert first.fingerprint("terms", b"siti") == first.fingerprint("terms", b"siti")
    assert len({
        first.fingerprint("terms", b"siti"),
        first.fingerprint("terms", b"sita"),
        first.fingerprint("arrivals", b"siti"),
        other.fingerprint("terms", b"siti"),
    }) == 4  # fmt: skip


@given(st.binary(max_size=2000), st.text(max_size=50))
def test_what_is_sealed_opens_with_its_key_and_its_binding(data: bytes, bound_to: str) -> None:
    key = Keys(MASTER).derive("vault")
    bound_to = bound_to.encode("utf-8", "replace").decode()
    sealed = seal(key, data, bound_to)
    assert unseal(key, sealed, bound_to) == data
    assert len(data) < 8 or data not in sealed


def test_sealing_twice_gives_different_bytes() -> None:
    key = new_key()
    assert seal(key, b"Siti", "p1") != seal(key, b"Siti", "p1")


def test_another_key_another_binding_and_any_altered_byte_are_refused() -> None:
    key = new_key()
    sealed = seal(key, b"Siti binti Abdullah", "identity p1")
    attempts = [(new_key(), sealed, "identity p1"), (key, sealed, "identity p2"), (key, sealed[:-1], "identity p1")]
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        attempts.append((key, bytes(altered), "identity p1"))
    for wrong_key, wrong, bound_to in attempts:
        with pytest.raises(Unavailable, match="master key"):
            unseal(wrong_key, wrong, bound_to)


@pytest.mark.parametrize("sealed", [b"", b"x", b"x" * 12, b"x" * 27])
def test_too_few_bytes_are_refused_too(sealed: bytes) -> None:
    with pytest.raises(Unavailable):
        unseal(new_key(), sealed, "identity p1")


def test_the_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    first = load_keys(settings)
    path = settings.keys_folder / "master.key"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert load_keys(settings).derive("vault") == first.derive("vault")
    assert load_keys(Settings(data=tmp_path / "other")).derive("vault") != first.derive("vault")


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    derived = together(*[lambda: load_keys(settings).derive("vault")] * 8)
    assert len(set(derived)) == 1


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "elsewhere.key"
    file.write_text(new_key().hex() + "\n")
    from_file = load_keys(Settings(data=tmp_path, master_key_file=file))
    monkeypatch.setenv("MEDHUB_MASTER_KEY", MASTER.hex())
    from_environment = load_keys(Settings(data=tmp_path, master_key_file=file))
    assert from_environment.derive("vault") == Keys(MASTER).derive("vault") != from_file.derive("vault")
    assert not (tmp_path / "keys").exists()


def test_a_key_that_was_named_and_is_not_there_is_never_made_anew(tmp_path: Path) -> None:
    named = tmp_path / "mounted" / "master.key"
    with pytest.raises(MasterKeyMissing, match="backup"):
        load_keys(Settings(data=tmp_path, master_key_file=named))
    with pytest.raises(MasterKeyMissing):
        load_keys(Settings(data=tmp_path), create=False)
    assert not named.exists()
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33, "a password"])
def test_what_is_no_key_is_told_so_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(MasterKeyMissing) as caught:
        load_keys(Settings(data=tmp_path, master_key=SecretStr(text)))
    assert "64 hexadecimal digits" in caught.value.message
    assert not text or text not in caught.value.message.replace("64 hexadecimal", "")


def test_the_key_that_seals_reports_stays_the_same() -> None:
    first, again = Keys(MASTER).signing_key(), Keys(MASTER).signing_key()
    assert first.public_key().public_bytes_raw() == again.public_key().public_bytes_raw()
