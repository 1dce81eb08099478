# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from medhub.foundation.settings import Settings, default_data_folder

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_has_a_default_but_no_secret_has_one() -> None:
    settings = Settings()
    assert settings.master_key is None
    assert settings.host == "127.0.0.1"
    assert settings.sqlalchemy_url == f"sqlite:///{settings.data / 'medhub.sqlite'}"


def test_the_default_data_folder_is_the_users_and_never_the_repository() -> None:
    assert default_data_folder().is_absolute()
    assert not default_data_folder().is_relative_to(ROOT)


def test_the_environment_sets_what_has_the_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDHUB_DATA", str(tmp_path))
    monkeypatch.setenv("MEDHUB_PORT", "9000")
    monkeypatch.setenv("MEDHUB_DATABASE_URL", "postgresql+psycopg://u@h/d")
    monkeypatch.setenv("PORT", "1")
    settings = Settings()
    assert (settings.data, settings.port, settings.sqlalchemy_url) == (tmp_path, 9000, "postgresql+psycopg://u@h/d")
    assert settings.blobs_folder == tmp_path / "blobs"
    assert settings.keys_folder == tmp_path / "keys"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("port", "a port"),
        ("session_hours", 0),
        ("token_minutes", 1441),
        ("upload_max_bytes", 0),
        ("quarantine_days", 0),
        ("decoder_workers", 0),
        ("job_lease_s", 0),
        ("job_lease_s", -1),
        ("log_json", "perhaps"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_settings_do_not_change() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_the_master_key_is_not_shown_when_settings_are_printed() -> None:
    settings = Settings(master_key=SecretStr("5e" * 32))
    assert "5e5e" not in f"{settings!r} {settings} {settings.model_dump_json()}"
