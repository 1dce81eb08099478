# SPDX-License-Identifier: Apache-2.0
"""Lists and health are answered while uploads and pictures wait for isolated processes, on a real server."""

from __future__ import annotations

import dataclasses
import http.client
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.foundation.work_pools import wait_for
from medhub.records.models import Image
from tests.entrypoints.test_hostile_requests import BOUNDARY, body, fields, part
from tests.factories.accounts import People
from tests.factories.cases import make_patient
from tests.factories.images import photograph
from tests.factories.servers import serving, token_of

UPLOADS = 12  # more than any kind of work has threads


class SlowIsolation:
    """An isolation whose only process is busy until ``free`` is called."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._slot = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)
        self.calls = 0

    def free(self) -> None:
        """Let all calls run."""
        self._slot.release(10_000)

    def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Wait, then call the function in an isolated process."""
        self.waiting.release()
        assert wait_for(self._slot, 60)
        self.calls += 1
        return self._isolation.run(function, *arguments, **named)

    def run_within(self, _timeout_s: float, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Do ``run``."""
        return self.run(function, *arguments, **named)


@pytest.fixture
def slow(isolation: Isolation) -> Iterator[SlowIsolation]:
    slow_isolation = SlowIsolation(isolation)
    yield slow_isolation
    slow_isolation.free()


@pytest.fixture
def web_app(app: AppContext, people: People, slow: SlowIsolation, tmp_path: Path) -> FastAPI:
    return create_app(dataclasses.replace(app, isolation=slow), run_jobs=False, web=tmp_path)  # type: ignore[arg-type]


def upload(address: str, token: str, patient_id: str, seed: int) -> httpx.Response:
    content = body(fields(patient_id), part("files", photograph(seed), f"{seed}.jpg"))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return httpx.post(f"{address}/api/images", content=content, headers=headers, timeout=120)


def test_lists_and_health_do_not_wait_for_uploads(
    web_app: FastAPI, app: AppContext, people: People, slow: SlowIsolation
) -> None:
    patient_id, token = make_patient(app, people), token_of(app, "technologist@lab.example")
    headers = {"Authorization": f"Bearer {token}"}
    with serving(web_app) as address, ThreadPoolExecutor(UPLOADS) as senders:
        uploads = [senders.submit(upload, address, token, patient_id, seed) for seed in range(UPLOADS)]
        assert slow.waiting.acquire(timeout=30)
        for path in ("/api/patients", "/api/images", "/api/arrivals", "/api/health", "/api/ready", "/metrics"):
            assert httpx.get(address + path, headers=headers, timeout=30).status_code in {200, 503}, path
        assert not any(future.done() for future in uploads)
        slow.free()
        outcomes = [future.result().json()["items"][0]["outcome"] for future in uploads]
    assert outcomes == ["accepted"] * UPLOADS


@pytest.mark.parametrize("path", ["rendered?size=64", "rendered?size=128", "content", "original"])
def test_lists_do_not_wait_for_pictures(
    web_app: FastAPI, app: AppContext, people: People, slow: SlowIsolation, path: str
) -> None:
    patient_id, token = make_patient(app, people), token_of(app, "technologist@lab.example")
    headers = {"Authorization": f"Bearer {token}"}
    with serving(web_app) as address, ThreadPoolExecutor(UPLOADS) as readers:
        slow.free()
        image_id = upload(address, token, patient_id, 1).json()["items"][0]["image_id"]
        while slow._slot.acquire(blocking=False):  # busy again
            pass
        while slow.waiting.acquire(blocking=False):
            pass
        url = f"{address}/api/images/{image_id}/{path}"
        pictures = [readers.submit(httpx.get, url, headers=headers, timeout=120) for _ in range(UPLOADS)]
        if path != "original":  # a photograph whose bytes are stored needs no process
            assert slow.waiting.acquire(timeout=30)
        assert httpx.get(f"{address}/api/images", headers=headers, timeout=30).status_code == 200
        slow.free()
        assert {future.result().status_code for future in pictures} == {200}


def test_an_upload_whose_client_has_gone_is_given_up(
    web_app: FastAPI, app: AppContext, people: People, slow: SlowIsolation
) -> None:
    patient_id, token = make_patient(app, people), token_of(app, "technologist@lab.example")
    content = body(fields(patient_id), part("files", photograph(1), "1.jpg"))
    with serving(web_app) as address:
        for _ in range(UPLOADS):
            connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc)
            connection.request(
                "POST",
                "/api/images",
                content,
                {"Authorization": f"Bearer {token}", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
            )
            assert slow.waiting.acquire(timeout=30)  # each next one gets a thread because the one before gave it back
            connection.close()
        last = ThreadPoolExecutor(1).submit(upload, address, token, patient_id, 2)
        assert slow.waiting.acquire(timeout=30)
        slow.free()
        assert last.result().json()["items"][0]["outcome"] == "accepted"
    with app.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Image)) == 1
