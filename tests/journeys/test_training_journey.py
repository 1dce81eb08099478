# SPDX-License-Identifier: Apache-2.0
"""From signed verdicts to a promoted classifier that reads the next upload, over HTTP and with the real trainer."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.entrypoints.bootstrap import build
from medhub.foundation.keys import load_keys
from medhub.foundation.settings import Settings
from medhub.science.learning.patient_splits import part_of_group
from tests.conftest import missing
from tests.factories.colors import COLORS, VALUES, lay_out, picture

PASSWORD = "a password of the journey"
PATIENCE_S = 900.0
WANTED = {"train": 7, "val": 2, "test": 3}

RECIPE = """
[network]
architecture = "mobilenetv2-0.35"
dropout = 0.0
[preprocessing]
size = 64
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
[augmentation]
gain = 0.0
saturation = 0.0
contrast = 0.0
brightness = 0.0
noise_share = 0.0
jpeg_share = 0.0
small_share = 0.0
[training]
epochs = 5
repeats = 24
batch_size = 12
learning_rate = 2e-3
head_factor = 1.0
gradient_clip = 5.0
"""

Api = Callable[..., Any]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The folders of pathways, classifiers and data, with the users of a project."""
    if importlib.util.find_spec("torch") is None:
        missing("torch (the extra train)")
    pathways, classifiers = lay_out(tmp_path)
    data = tmp_path / "data"
    app = build(Settings(data=data, pathways=pathways, classifiers=classifiers))
    with app.database.writing() as session:
        project = accounts.add_project(session, "Haematology")
        for name in (*Role, "second"):
            accounts.add_user(
                session,
                email=f"{name}@lab.example",
                name=f"The {name}",
                password=PASSWORD,
                role=Role.ADMINISTRATOR if name == "second" else Role(name),
                project_id=project.id,
            )
    app.close()
    return pathways, classifiers, data


@pytest.fixture
def api(folders: tuple[Path, Path, Path]) -> Iterator[Callable[[str], Api]]:
    """Calls of a running server by a user; a refused call raises."""
    pathways, classifiers, data = folders
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "MEDHUB_PATHWAYS": str(pathways),
        "MEDHUB_CLASSIFIERS": str(classifiers),
        "MEDHUB_DECODER_WORKERS": "1",
    }
    command = [sys.executable, "-m", "medhub.entrypoints.cli", "serve", "--data", str(data), "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    clients: dict[str, httpx.Client] = {}

    def ready() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{url}/api/ready").status_code == 200
        except httpx.TransportError:
            return False

    def calls_of(user_name: str) -> Api:
        if user_name not in clients:
            form = {"username": f"{user_name}@lab.example", "password": PASSWORD}
            token = httpx.post(f"{url}/api/auth/token", data=form).json()["access_token"]
            clients[user_name] = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

        def call(method: str, path: str, **arguments: Any) -> Any:
            response = clients[user_name].request(method, path, **arguments)
            assert response.status_code < 300, response.text
            return response.json()

        return call

    try:
        wait_for(ready, "The server")
        yield calls_of
    finally:
        process.terminate()
        process.wait(60)
        for client in clients.values():
            client.close()


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.2)


def upload(technologist: Api, patient_id: str, *pictures: bytes) -> list[str]:
    sent = technologist(
        "POST",
        "/api/images",
        data={"patient_id": patient_id, "pathway": COLORS},
        files=[("files", (f"{number}.png", data)) for number, data in enumerate(pictures)],
    )
    image_ids = [item["image_id"] for item in sent["items"]]
    for image_id in image_ids:
        wait_for(partial(is_read, technologist, image_id), "A prediction")
    return image_ids


def is_read(technologist: Api, image_id: str) -> bool:
    return bool(technologist("GET", f"/api/images/{image_id}")["state"] == "read")


def sign(technologist: Api, physician: Api, patient_id: str, seed: int) -> None:
    """A case with an image of each color, with verdicts, signed."""
    image_ids = upload(technologist, patient_id, *(picture(color, seed + n) for n, color in enumerate(VALUES)))
    for image_id, color in zip(image_ids, VALUES, strict=True):
        physician("PUT", f"/api/images/{image_id}/verdict", json={"label": color, "note": "Seen."})

    def case_id() -> str | None:
        cases = physician("GET", f"/api/cases?patient_id={patient_id}&stage=review")["items"]
        return cases[0]["id"] if cases else None

    wait_for(case_id, "The case")
    physician("POST", f"/api/cases/{case_id()}/sign")


def test_signed_verdicts_become_the_classifier_that_reads_the_next_image(
    folders: tuple[Path, Path, Path], api: Callable[[str], Api]
) -> None:
    technologist, physician, researcher = api("technologist"), api("physician"), api("researcher")
    administrator, second_administrator = api("administrator"), api("second")
    key = load_keys(Settings(data=folders[2]), create=False).derive("splits")

    # Patients are registered until each part of the split has enough; a key decides the part of a patient.
    remaining = dict(WANTED)
    patients = []
    while any(remaining.values()):
        patient_id = technologist("POST", "/api/patients", json={"sex": "F"})["id"]
        part = part_of_group(key, patient_id)
        if remaining[part]:
            remaining[part] -= 1
            patients.append(patient_id)
    for number, patient_id in enumerate(patients):
        sign(technologist, physician, patient_id, 10 * number)

    dataset = researcher("POST", "/api/datasets", json={"pathway": COLORS})
    assert dataset["images"] == 3 * sum(WANTED.values())
    assert dataset["counts"] == dict.fromkeys(sorted(VALUES), WANTED)
    assert dataset["gaps"] == []

    run = researcher(
        "POST",
        "/api/training-runs",
        json={"name": "ours", "dataset_id": dataset["id"], "recipe": RECIPE, "init": "none"},
    )

    def run_has_ended() -> bool:
        nonlocal run
        run = researcher("GET", f"/api/training-runs/{run['id']}")
        return run["state"] not in {"waiting", "running"}

    # Images are classified while the training runs.
    wait_for(lambda: run_has_ended() or run["state"] == "running", "The training")
    upload(technologist, patients[0], picture("red", 5000))
    wait_for(run_has_ended, "The end of the training")
    assert (run["state"], run["failure"]) == ("done", None)
    assert [epoch["epoch"] for epoch in run["epochs"]] == [1, 2, 3, 4, 5]
    digest = run["digest"]
    card = researcher("GET", f"/api/classifiers/{digest}")
    assert (card["trained_here"], card["run_id"], card["card"]["name"]) == (True, run["id"], "ours")

    limits = {"margin": 0.1, "ece": 0.5, "abstention": 0.9, "images": 3 * WANTED["test"]}
    administrator("PUT", f"/api/pathways/{COLORS}/limits", json=limits)
    digest_before = researcher("PUT", f"/api/pathways/{COLORS}/shadow", json={"digest": digest})["in_use"]["digest"]

    def checks() -> dict[str, bool]:
        rows = researcher("GET", f"/api/pathways/{COLORS}/classifiers")["checks"]
        return {check["name"]: check["met"] for check in rows}

    wait_for(lambda: checks()["images"], "Reading in the shadow")
    assert all(checks().values())
    weeks = researcher("GET", f"/api/pathways/{COLORS}/agreement")["weeks"]
    assert sum(week["n"] for week in weeks) == 3 * WANTED["test"]
    (green_image_id,) = upload(technologist, patients[1], picture("green", 6000))
    assert [
        prediction["digest"] for prediction in technologist("GET", f"/api/images/{green_image_id}")["predictions"]
    ] == [digest_before]

    promotion = administrator("POST", "/api/promotions", json={"digest": digest, "pathway": COLORS})
    with pytest.raises(AssertionError, match="another administrator"):
        administrator("POST", f"/api/promotions/{promotion['id']}/approve", json={"reason": "Better here."})
    assert (
        second_administrator("POST", f"/api/promotions/{promotion['id']}/approve", json={"reason": "Better here."})[
            "state"
        ]
        == "approved"
    )

    (blue_image_id,) = upload(technologist, patients[2], picture("blue", 7000))
    (prediction,) = technologist("GET", f"/api/images/{blue_image_id}")["predictions"]
    assert (prediction["classifier"], prediction["digest"], prediction["likeliest"]) == ("ours", digest, "blue")
    (earlier_prediction,) = technologist("GET", f"/api/images/{green_image_id}")["predictions"]
    assert earlier_prediction["digest"] == digest_before

    state = administrator("POST", f"/api/pathways/{COLORS}/rollback")
    assert (state["in_use"]["digest"], state["can_roll_back"]) == (digest_before, False)
    (red_image_id,) = upload(technologist, patients[3], picture("red", 8000))
    assert technologist("GET", f"/api/images/{red_image_id}")["predictions"][0]["digest"] == digest_before
