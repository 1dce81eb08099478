# SPDX-License-Identifier: Apache-2.0
"""The STOW-RS client, against servers that answer in every way."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medhub.errors import Invalid
from medhub.export import stow_client
from medhub.export.stow_client import ArchiveSilent, store_to_archive
from tests.factories.cts import ct

UIDS = [f"1.2.3.{number}" for number in range(5)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed export of five CT images."""
    path = tmp_path_factory.mktemp("stow") / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, uid in enumerate(UIDS):
            archive.writestr(f"DICOM/IMG_{number}", ct(SOPInstanceUID=uid))
        archive.writestr("metadata.csv", "not sent")
    return path


class _Server(BaseHTTPRequestHandler):
    status = 200
    answer = b""
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.answer)))
        if self.status in {301, 302, 307}:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server with an answer; returns its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Server.bodies = []

    def start(status: int = 200, answer: bytes = b"") -> str:
        _Server.status, _Server.answer = status, answer
        return f"http://127.0.0.1:{server.server_address[1]}/dicom-web"

    yield start
    server.shutdown()
    server.server_close()


def failed(*uids: str) -> bytes:
    items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]
    return json.dumps({"00081198": {"vr": "SQ", "Value": items}}).encode()


def test_files_are_sent_in_batches_with_the_progress(
    packed: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_client, "_FILES_PER_REQUEST", 2)
    progress: list[int] = []
    assert store_to_archive(packed, serve(), None, progress.append) == []
    assert progress == [2, 4, 5]
    assert [body.count(b"Content-Type: application/dicom") for body in _Server.bodies] == [2, 2, 1]
    assert b"not sent" not in b"".join(_Server.bodies)
    with zipfile.ZipFile(packed) as archive:
        assert archive.read("DICOM/IMG_4") in _Server.bodies[2]


@pytest.mark.parametrize("status", [200, 202, 409])
def test_rejected_files_are_named(packed: Path, serve: Serve, status: int) -> None:
    rejected = store_to_archive(packed, serve(status, failed(UIDS[1], UIDS[3])), "secret")
    assert rejected == ["DICOM/IMG_1", "DICOM/IMG_3"]


@pytest.mark.parametrize("status", [302, 307, 401, 403, 404, 500, 503])
def test_any_other_status_is_an_error_with_the_status(packed: Path, serve: Serve, status: int) -> None:
    with pytest.raises(ArchiveSilent, match=f"answers with {status}"):
        store_to_archive(packed, serve(status, failed()), "secret")
    assert len(_Server.bodies) == 1  # a redirect is not followed: the token stays with the named archive


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[1]", b'{"00081198": 3}', b'{"00081198": {"Value": [{}]}}', b"\xff\xfe"]
)
def test_an_answer_of_another_kind_is_an_error(packed: Path, serve: Serve, answer: bytes) -> None:
    with pytest.raises(ArchiveSilent, match="as STOW-RS requires"):
        store_to_archive(packed, serve(200, answer), None)


def test_an_answer_without_end_is_cut(packed: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow_client, "_MAX_RESPONSE_BYTES", 1000)
    with pytest.raises(ArchiveSilent, match="as STOW-RS requires"):
        store_to_archive(packed, serve(200, b" " * 100_000 + failed()), None)


def test_addresses_that_nobody_answers_at_are_an_error(packed: Path) -> None:
    for url in ("http://127.0.0.1:9/dicom-web", "https://127.0.0.1:9/dicom-web", "http://[broken"):
        with pytest.raises(ArchiveSilent, match="does not answer"):
            store_to_archive(packed, url, None)
    for url in ("ftp://127.0.0.1/", "file:///etc/passwd", "archive.example"):
        with pytest.raises(Invalid, match="must begin with"):
            store_to_archive(packed, url, None)


def test_tls_is_verified(packed: Path, serve: Serve) -> None:
    """A server that speaks no TLS, as one with a wrong certificate, is not sent anything."""
    with pytest.raises(ArchiveSilent, match="does not answer"):
        store_to_archive(packed, serve().replace("http://", "https://"), "secret")
    assert _Server.bodies == []
