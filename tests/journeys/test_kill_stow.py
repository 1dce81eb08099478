# SPDX-License-Identifier: Apache-2.0
"""The server is killed while 1,000 objects come in by STOW-RS: what was acknowledged is there, each once."""

from __future__ import annotations

import queue
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from medhub.accounts import service as accounts
from medhub.accounts.permissions import Role
from medhub.audit.service import verify_chain
from medhub.entrypoints.bootstrap import build
from medhub.foundation.settings import Settings
from medhub.records.models import Image
from tests.factories.accounts import PASSWORD
from tests.factories.servers import small_ct, written
from tests.journeys.test_kill import EMAIL, PATIENCE_S, Server, wait_for

OBJECTS, OBJECTS_PER_REQUEST = 1_000, 50
KIND = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=objects'}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of an installation whose technologist can sign in."""
    folder = tmp_path / "data"
    app = build(Settings(data=folder))
    try:
        with app.database.writing() as session:
            project = accounts.add_project(session, "Radiology")
            accounts.add_user(
                session,
                email=EMAIL,
                name="Tan Wei Ling",
                password=PASSWORD,
                role=Role.TECHNOLOGIST,
                project_id=project.id,
            )
    finally:
        app.close()
    return folder


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    started = Server(data)
    yield started
    started.stop()


def message(numbers: range) -> bytes:
    objects = (written(small_ct(n, study="1.2.3", series=f"1.2.3.{n % 4}", patient="4711")) for n in numbers)
    return b"".join(b"--objects\r\n\r\n" + content + b"\r\n" for content in objects) + b"--objects--\r\n"


def test_what_was_acknowledged_by_stow_is_there_once_after_a_kill(server: Server, data: Path) -> None:
    bodies = [
        message(range(start, start + OBJECTS_PER_REQUEST)) for start in range(1, OBJECTS + 1, OBJECTS_PER_REQUEST)
    ]
    waiting: queue.Queue[int] = queue.Queue()
    for number in range(len(bodies)):
        waiting.put(number)
    up, acknowledged, strange = threading.Event(), dict[str, str](), list[str]()
    server.start()
    form = {"username": EMAIL, "password": PASSWORD}
    token = httpx.post(f"{server.url}/api/auth/token", data=form, timeout=60).json()["access_token"]
    headers = {**KIND, "Authorization": f"Bearer {token}"}

    def send() -> None:
        while len(acknowledged) < OBJECTS and not strange:
            up.wait(PATIENCE_S)
            try:
                number = waiting.get(timeout=0.2)
            except queue.Empty:
                continue
            try:
                address = f"{server.url}/dicom-web/studies"
                answer = httpx.post(address, content=bodies[number], headers=headers, timeout=60)
            except httpx.HTTPError:  # nobody knows what was stored: all of it is sent again
                waiting.put(number)
                continue
            if answer.status_code != 200:
                strange.append(answer.text[:300])
                return
            for item in answer.json()["00081199"]["Value"]:
                acknowledged[item["00081155"]["Value"][0]] = item["00081190"]["Value"][0].rpartition("/")[2]

    threads = [threading.Thread(target=send, daemon=True) for _ in range(2)]
    up.set()
    for thread in threads:
        thread.start()
    moment = random.Random(1).randrange(2 * OBJECTS_PER_REQUEST, OBJECTS // 2)  # noqa: S311 - a moment, not a secret
    wait_for(lambda: len(acknowledged) >= moment or bool(strange), f"acknowledgement {moment}")
    up.clear()
    server.kill()
    known = dict(acknowledged)
    server.start()
    up.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    server.stop()
    assert strange == []
    assert len(acknowledged) == OBJECTS
    assert {uid: acknowledged[uid] for uid in known} == known
    app = build(Settings(data=data))
    try:
        with app.database.reading() as session:
            images = list(session.scalars(select(Image)))
            assert verify_chain(session).broken_at is None
        assert Counter(image.sop_instance_uid for image in images) == Counter(acknowledged.values())
        assert all(app.blobs.has(image.blob) for image in images)
    finally:
        app.close()
