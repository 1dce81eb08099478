# SPDX-License-Identifier: Apache-2.0
"""``medhub train``, ``evaluate``, ``compare`` and ``card``, as a person or a script runs them, without a server."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.science.optional_packages import need

need("torch", "onnx", "safetensors", "matplotlib")

DEMO = ROOT / "demo" / "blood-cells"
COMMAND = [sys.executable, "-m", "medhub.entrypoints.cli"]


def _run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200", **environment},
        timeout=300,
    )


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("listing") / "cells.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for image in sorted(DEMO.glob("*/*.jpg")):
            writer.writerow([image.relative_to(DEMO).as_posix(), image.parent.name])
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    quick = (ROOT / "src/medhub/science/learning/recipes/quick.toml").read_text()
    path = tmp_path_factory.mktemp("recipe") / "short.toml"
    path.write_text(quick.replace("epochs = 15", "epochs = 2").replace("repeats = 6", "repeats = 2"))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, listing: Path, recipe: Path) -> tuple[Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("trained") / "my-cells"
    progress = out.parent / "progress.jsonl"
    ended = _run(
        "train", recipe, "--data", listing, "--root", DEMO, "--out", out, "--progress", progress, "--threads", "1"
    )
    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in progress.read_text().splitlines()]
    assert ended.stdout.strip() == events[-1]["digest"]
    return out, events


def test_training_tells_what_happens_and_leaves_a_whole_classifier(trained: tuple[Path, list[dict[str, Any]]]) -> None:
    out, events = trained
    assert [item["name"] for item in events if item["event"] == "stage"] == [
        "reading",
        "checking",
        "learning",
        "calibrating",
        "exporting",
        "measuring",
    ]
    epochs = [item for item in events if item["event"] == "epoch"]
    assert [(item["epoch"], item["of"]) for item in epochs] == [(1, 2), (2, 2)]
    assert {"loss", "validation_loss", "validation_accuracy", "learning_rate", "seconds"} <= set(epochs[0])
    assert any(item["event"] == "step" for item in events)
    assert {path.name for path in out.iterdir()} == {"model.onnx", "card.toml", "run.json", "report"}
    shown = _run("card", out, "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["name"] == "my-cells"
    page = _run("card", out, "--markdown")
    assert page.stdout.startswith("<!-- Written by `medhub card models/my-cells")


def test_a_classifier_is_calibrated_anew_as_another_version(listing: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours"
    options = ("--data", listing, "--root", DEMO, "--out", out)
    ended = _run("calibrate", "blood-cells", *options, "--version", "9", "--note", "Our own stain.")
    assert ended.returncode == 0, ended.stderr
    assert "no limit could be learned" in ended.stderr  # thirty images promise nothing
    shown = json.loads(_run("card", out, "--json").stdout)
    assert shown["digest"] == ended.stdout.strip()
    assert shown["version"] == "9"
    assert sum(shown["recalibrated"]["images"]) == 30
    again = _run("calibrate", "blood-cells", *options, "--version", "10")
    assert again.returncode != 0
    assert "never changed" in again.stderr


def test_a_classifier_is_measured_and_unknown_labels_are_left_out_by_name(listing: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.csv"
    odd = DEMO / "basophil" / sorted(path.name for path in (DEMO / "basophil").iterdir())[0]
    lines = listing.read_text().splitlines()
    more.write_text("\n".join([*lines[:1], *lines[2:], f"basophil/{odd.name},werewolf"]) + "\n")
    ended = _run("evaluate", "blood-cells", "--data", more, "--root", DEMO, "--json")
    assert ended.returncode == 0, ended.stderr
    values = json.loads(ended.stdout)
    assert values["n"] == len(lines) - 2
    assert values["left_out"] == {"werewolf": 1}
    accuracy = values["accuracy"]
    assert 0.8 < accuracy["value"] <= 1
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert set(values["per_class"]["basophil"]) == {
        "n",
        "sensitivity",
        "specificity",
        "precision",
        "f1",
        "auroc",
        "auprc",
    }
    assert set(values["answered"]) >= {"share", "accuracy"}
    assert sum(map(sum, values["confusion"]["rows"])) == values["n"]
    assert "ece" in values
    assert "balanced_accuracy" in values
    shown = _run("evaluate", "blood-cells", "--data", more, "--root", DEMO)
    assert "werewolf (1)" in shown.stdout


def test_a_file_that_is_no_image_is_named_and_the_rest_measured(tmp_path: Path) -> None:
    for index, path in enumerate(sorted(DEMO.glob("*/*.jpg"))[::4]):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        (tmp_path / path.parent.name / f"{index}.jpg").write_bytes(path.read_bytes())
    (tmp_path / "basophil" / "broken.jpg").write_bytes(b"GIF89a?")
    Image.new("RGB", (1, 1)).save(tmp_path / "basophil" / "dot.png")
    ended = _run("evaluate", "blood-cells", "--data", tmp_path, "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["unreadable"] == ["basophil/broken.jpg"]


def test_two_classifiers_are_compared(trained: tuple[Path, list[dict[str, Any]]], listing: Path) -> None:
    ended = _run("compare", trained[0], "blood-cells", "--data", listing, "--root", DEMO, "--json")
    assert ended.returncode == 0, ended.stderr
    values = json.loads(ended.stdout)
    assert values["difference"]["value"] > 0.3  # an hour's training against seconds'
    assert values["only_second_right"] > values["only_first_right"]
    assert 0 <= values["mcnemar_p"] < 0.05


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label", "../../secret.png,x"], "leads out of its folder"),
        (["path,label", "nowhere.png,x"], "not there"),
        (["name,label", "a.png,x"], "lacks the columns"),
    ],
)
def test_a_listing_that_cannot_be_used_is_refused_in_words(tmp_path: Path, lines: list[str], message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines) + "\n")
    for arguments in (("evaluate", "blood-cells"), ("train", "quick", "--out", tmp_path / "out")):
        ended = _run(*arguments, "--data", path)
        assert ended.returncode == 2
        assert message in ended.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_said(tmp_path: Path, listing: Path) -> None:
    assert _run("evaluate", "no-such-classifier", "--data", listing).returncode == 3
    ended = _run("train", "no-such-recipe", "--data", listing, "--out", tmp_path / "out")
    assert ended.returncode == 3
    assert "chest-xray" in ended.stderr
    ended = _run("train", "quick", "--data", listing, "--out", tmp_path / "Out Of Names")
    assert ended.returncode == 2
    assert "--name" in ended.stderr
    ended = _run("train", "csss", "--data", listing, "--root", DEMO, "--out", tmp_path / "out", "--init", "weights.pth")
    assert ended.returncode == 2


def test_a_training_that_is_ended_goes_on_where_it_was(tmp_path: Path, listing: Path, recipe: Path) -> None:
    longer = tmp_path / "longer.toml"
    longer.write_text(recipe.read_text().replace("epochs = 2", "epochs = 6"))
    out, events = tmp_path / "out", tmp_path / "told.jsonl"
    arguments: list[str | Path] = [
        "train",
        longer,
        "--data",
        listing,
        "--root",
        DEMO,
        "--out",
        out,
        "--progress",
        events,
        "--threads",
        "1",
    ]
    with subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, cwd=ROOT) as running:
        deadline = time.monotonic() + 120
        while '"epoch": 2,' not in (events.read_text() if events.exists() else "") and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=120)
        assert running.returncode == 143
    assert json.loads(events.read_text().splitlines()[-1])["event"] == "stopped"
    assert not (out / "card.toml").exists()
    ended = _run(*arguments)
    assert ended.returncode == 4
    assert "--resume" in ended.stderr
    events.unlink()
    ended = _run(*arguments, "--resume")
    assert ended.returncode == 0, ended.stderr
    epochs = [json.loads(line) for line in events.read_text().splitlines() if '"epoch"' in line]
    assert epochs[0]["epoch"] >= 2
    assert epochs[-1]["epoch"] == 6
    assert (out / "card.toml").exists()


def test_without_torch_training_says_what_to_install(tmp_path: Path, listing: Path) -> None:
    assert find_spec("torch") is not None
    # An installation without the extra: the packages cannot be found.
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.machinery as m\n"
        "real = m.PathFinder.find_spec\n"
        "def found(name, path=None, target=None):\n"
        "    return None if name.split('.')[0] in ('torch', 'onnx') else real(name, path, target)\n"
        "m.PathFinder.find_spec = staticmethod(found)\n"
    )
    ended = _run("train", "quick", "--data", listing, "--out", tmp_path / "out", PYTHONPATH=str(tmp_path))
    assert ended.returncode == 5
    assert "pip install 'medhub[train]'" in ended.stderr
    measured = _run("evaluate", "blood-cells", "--data", listing, "--root", DEMO, "--json", PYTHONPATH=str(tmp_path))
    assert measured.returncode == 0, measured.stderr
