# SPDX-License-Identifier: Apache-2.0
"""The server is killed in the middle of an upload, twice, at moments drawn by chance; nothing may be lost or doubled.

``MEDHUB_TEST_KILL_IMAGES=200 MEDHUB_TEST_KILL_SEED=7`` runs it longer, and at other moments.
"""

from __future__ import annotations

import hashlib
import os
import queue
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.audit.service import verify_chain
from medhub.classification.models import Prediction
from medhub.entrypoints.bootstrap import build
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Job
from medhub.foundation.settings import Settings
from medhub.ingest.models import Arrival, Receipt
from medhub.records import patient_blobs
from medhub.records import service as records
from medhub.records.models import Image, PatientBlob, Study
from medhub.review.models import Case
from tests.conftest import ROOT
from tests.factories.accounts import PASSWORD
from tests.factories.images import photograph

IMAGES = int(os.environ.get("MEDHUB_TEST_KILL_IMAGES", "60"))
SEED = int(os.environ.get("MEDHUB_TEST_KILL_SEED", "1"))
KILLS = 2
UPLOADERS = 4
PATIENCE_S = 240.0
EMAIL = "technologist@lab.example"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill as Linux does")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about")
        time.sleep(0.05)


class Server:
    """``medhub serve`` in a process of its own, which can be killed and started again."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / "server.log"
        self._command = [
            sys.executable, "-c", "from medhub.entrypoints.cli import main; main()",
            "serve", "--data", str(data), "--port", str(self.port),
        ]  # fmt: skip
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEDHUB_")},
            "MEDHUB_JOB_LEASE_S": "2",
            "MEDHUB_DECODER_WORKERS": "1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stderr=log, stdout=log)
        wait_for(self._answers, "an answer of the server")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/api/health", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(60) == -signal.SIGKILL

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    started = Server(data)
    yield started
    started.stop()


@pytest.fixture
def patient_id(data: Path) -> str:
    """A patient of a new installation, whose technologist can sign in."""
    app = build(Settings(data=data))
    try:
        with app.database.writing() as session:
            project = accounts.add_project(session, "Haematology")
            user = accounts.add_user(
                session,
                email=EMAIL,
                name="Tan Wei Ling",
                password=PASSWORD,
                role=Role.TECHNOLOGIST,
                project_id=project.id,
            )
        from tests.factories.accounts import signed_in

        technologist = signed_in(app, user.email)
        with app.database.writing() as session:
            return records.add_patient(session, app.keys, technologist, project_id=project.id).id
    finally:
        app.close()


class Upload:
    """Four people's worth of uploading: each file in a request of its own, again until it is acknowledged."""

    def __init__(self, server: Server, patient_id: str, files: list[bytes]) -> None:
        self._server = server
        self._patient_id = patient_id
        self._files = files
        self._waiting: queue.Queue[int] = queue.Queue()
        for number in range(len(files)):
            self._waiting.put(number)
        self._up = threading.Event()
        self._token = ""
        self.acknowledged: dict[int, dict[str, Any]] = {}
        self.outcomes: list[tuple[int, str]] = []
        self.strange: list[str] = []

    def sign_in(self) -> None:
        answer = httpx.post(
            f"{self._server.url}/api/auth/token", data={"username": EMAIL, "password": PASSWORD}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        self._token = answer.json()["access_token"]

    def run(self) -> None:
        while len(self.acknowledged) < len(self._files):
            self._up.wait(PATIENCE_S)
            try:
                number = self._waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                answer = httpx.post(
                    f"{self._server.url}/api/images",
                    headers={"Authorization": f"Bearer {self._token}"},
                    data={"patient_id": self._patient_id, "pathway": "smear-review"},
                    files=[("files", (f"{number}.jpg", self._files[number]))],
                    timeout=60,
                )
                (item,) = answer.json()["items"]
            except httpx.HTTPError:  # the server died: nobody knows whether the file was stored
                self._waiting.put(number)
                continue
            except (KeyError, ValueError):
                self.strange.append(f"{answer.status_code} {answer.text[:300]}")
                self._waiting.put(number)
                continue
            self.outcomes.append((number, item["outcome"]))
            self.acknowledged[number] = item

    def pause(self) -> None:
        self._up.clear()

    def resume(self) -> None:
        self._up.set()


def test_nothing_is_lost_or_doubled_when_the_server_is_killed_in_the_middle_of_an_upload(
    server: Server, data: Path, patient_id: str
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a moment, not a secret
    files = [photograph(1000 * SEED + number) for number in range(IMAGES)]
    assert len(set(files)) == IMAGES
    upload = Upload(server, patient_id, files)
    moments = sorted(chance.sample(range(1, IMAGES - UPLOADERS), KILLS))
    server.start()
    upload.sign_in()
    upload.resume()
    threads = [threading.Thread(target=upload.run, daemon=True) for _ in range(UPLOADERS)]
    for thread in threads:
        thread.start()
    for moment in moments:
        wait_for(lambda m=moment: len(upload.acknowledged) >= m, f"acknowledgement {moment}")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.05))
        upload.pause()
        server.kill()
        server.start()
        upload.resume()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert upload.strange == []
    assert sorted(upload.acknowledged) == list(range(IMAGES))
    wait_for(lambda: unfinished(server) == 0, "the end of all jobs")
    server.stop()
    app = build(Settings(data=data))
    try:
        examine(app, upload, files)
    finally:
        app.close()


def unfinished(server: Server) -> int:
    lines = httpx.get(f"{server.url}/metrics", timeout=60).text.splitlines()
    (line,) = [line for line in lines if line.startswith("medhub_jobs_unfinished ")]
    return int(float(line.split()[1]))


def examine(app: AppContext, upload: Upload, files: list[bytes]) -> None:
    with app.database.reading() as session:
        images = list(session.scalars(select(Image)))
        predictions = Counter(session.scalars(select(Prediction.image_id)))
        receipts = {receipt.received_hash: receipt.image_id for receipt in session.scalars(select(Receipt))}
        arrivals = Counter(session.scalars(select(Arrival.outcome)))
        (study,) = session.scalars(select(Study))
        (case,) = session.scalars(select(Case))
        entries = list(session.scalars(select(AuditEntry)))
        jobs = Counter(session.scalars(select(Job.state)))
        named_digests = set(session.scalars(select(PatientBlob.digest)))
        chain = verify_chain(session)

    # Every acknowledged file is stored exactly once, as the image of the response.
    outcomes = Counter(outcome for _, outcome in upload.outcomes)
    assert outcomes["quarantined"] == arrivals["quarantined"] == 0
    assert len(images) == len(receipts) == arrivals["accepted"] == IMAGES
    for number, data in enumerate(files):
        received = study.project_id.encode() + hashlib.sha256(data).digest()
        assert receipts[app.keys.fingerprint("arrivals", received)] == upload.acknowledged[number]["image_id"]
    assert len({item["image_id"] for item in upload.acknowledged.values()}) == IMAGES
    assert sorted(image.number for image in images) == list(range(1, IMAGES + 1))
    for image in images:
        for digest in (image.blob, image.thumbnail):
            assert hashlib.sha256(app.blobs.get(str(digest))).hexdigest() == digest

    # Every image has exactly one prediction, or is shown as unreadable.
    assert {image.study_id for image in images} == {case.study_id}
    assert {image.state for image in images} <= {"read", "unreadable"}
    for image in images:
        assert predictions[image.id] == (image.state == "read")
    if (ROOT / "models" / "blood-cells" / "model.onnx").is_file():
        assert {image.state for image in images} == {"read"}
        assert set(jobs) == {"done"}

    # The only other blobs are those without a row of a killed process, and they can be deleted.
    assert named_digests <= set(app.blobs.digests())
    patient_blobs.delete_orphaned_blobs(app, older_than_s=-1)
    assert set(app.blobs.digests()) == named_digests

    # The audit log has one entry for each image, and its chain is intact.
    assert chain.broken_at is None
    accepted = [
        entry for entry in entries if entry.action == "image.receive" and entry.detail["outcome_of_file"] == "accepted"
    ]
    assert sorted(str(entry.detail["image_id"]) for entry in accepted) == sorted(image.id for image in images)
    prediction_entries = Counter(entry.object_id for entry in entries if entry.action == "prediction.make")
    assert prediction_entries == {image.id: 1 for image in images if image.state == "read"}
