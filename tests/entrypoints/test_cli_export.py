# SPDX-License-Identifier: Apache-2.0
"""`medhub export`, as a person or a script runs it."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import select

from medhub.entrypoints import cli
from medhub.entrypoints.bootstrap import build
from medhub.export import export_scan
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.records.models import Image
from tests.factories.accounts import make_people
from tests.factories.colors import COLORS, lay_out
from tests.factories.exports import lay_signed, plant


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of an installation that reads colors, with two signed images of a patient."""
    pathways, classifiers = lay_out(tmp_path)
    monkeypatch.setenv("MEDHUB_PATHWAYS", str(pathways))
    monkeypatch.setenv("MEDHUB_CLASSIFIERS", str(classifiers))
    monkeypatch.setenv("MEDHUB_DECODER_WORKERS", "1")
    monkeypatch.setattr(export_scan, "READ_PIXELS", False)
    app = opened(tmp_path / "data")
    lay_signed(app, make_people(app), {"red": "red", "green": "green"}, 100, identity=True)
    app.close()
    return tmp_path / "data"


def opened(data: Path) -> AppContext:
    return build(Settings(data=data))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["medhub", "export", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def test_a_data_set_leaves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.zip"
    options = ("--form", "training", "--pathway", COLORS, "--out", out, "--data", folder, "--json")
    assert run(monkeypatch, "Haematology", *options) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["state"], result["images"], result["patients"], result["open_findings"]) == ("ready", 2, 1, 0)
    with zipfile.ZipFile(out) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 2


def test_what_may_name_somebody_does_not_leave(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = opened(folder)
    with app.database.reading() as session:
        image_id = session.scalars(select(Image.id).limit(1)).one()
    plant(app, image_id, ImageComments="Abdullah")
    app.close()
    out = tmp_path / "out.zip"
    assert run(monkeypatch, "Haematology", "--out", out, "--data", folder) == 1
    assert not out.exists()
    assert "Decide on them in the app" in capsys.readouterr().out


def test_an_order_that_cannot_be_kept_says_why(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (
        ("--patient", "P-234567", "--pathway", COLORS, "--out", tmp_path / "out.zip"),
        ("--patient", "P-234567", "--out", tmp_path / "out.zip"),
        ("--out", tmp_path / "nowhere" / "out.zip"),
    ):
        assert run(monkeypatch, "Haematology", *wrong, "--data", folder) in cli.EXIT_CODES.values()
        assert capsys.readouterr().err != ""
    assert not (tmp_path / "out.zip").exists()
