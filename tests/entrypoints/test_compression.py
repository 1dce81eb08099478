# SPDX-License-Identifier: Apache-2.0
"""Texts are compressed for clients that accept it; pictures, secrets and requests of other sites are not."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from medhub.entrypoints.compression import Compression, accepts_gzip
from medhub.foundation.http_caching import cacheable_response

TEXT = "a text of many words " * 500


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = FastAPI()
    file = tmp_path / "app.js"
    file.write_text(TEXT)

    @app.get("/file")
    def send_file() -> FileResponse:
        return FileResponse(file, media_type="text/javascript")

    @app.get("/cached")
    def send_cached(request: Request) -> Response:
        return cacheable_response(request, "tag", TEXT.encode(), "application/json")

    @app.get("/stream")
    def send_stream() -> StreamingResponse:
        def parts() -> Iterator[str]:
            yield from (TEXT, TEXT)

        return StreamingResponse(parts(), media_type="text/csv")

    @app.get("/api/auth/session")
    @app.get("/api/users")
    @app.get("/typed")
    def send_typed(media_type: str = "application/json", cookie: bool = False) -> Response:
        response = Response(TEXT, media_type=media_type)
        if cookie:
            response.set_cookie("session", "secret")
        return response

    @app.get("/short")
    def send_short() -> Response:
        return Response("short", media_type="text/plain")

    app.add_middleware(Compression)
    return TestClient(app, headers={"Accept-Encoding": "gzip"})


@pytest.mark.parametrize("path", ["/file", "/cached", "/stream", "/typed", "/typed?media_type=image/svg%2Bxml"])
def test_texts_are_compressed_and_say_that_they_vary(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in response.headers["vary"]
    assert response.text in (TEXT, TEXT * 2)
    with client.stream("GET", path) as raw:
        sent = b"".join(raw.iter_raw())
    assert len(sent) < len(TEXT) / 5
    assert gzip.decompress(sent).decode() == response.text
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    assert plain.text == response.text


@pytest.mark.parametrize(
    "path",
    [
        *("/short", "/api/auth/session", "/api/users", "/typed?cookie=true"),
        *(f"/typed?media_type={kind}" for kind in ("image/webp", "application/dicom", "application/pdf")),
        *(f"/typed?media_type={kind}" for kind in ("application/zip", "text/event-stream", "multipart/related")),
    ],
)
def test_pictures_files_and_secrets_are_not_compressed(client: TestClient, path: str) -> None:
    assert "content-encoding" not in client.get(path).headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_another_site_causes_is_not_compressed(client: TestClient, site: str) -> None:
    assert "content-encoding" not in client.get("/cached", headers={"Sec-Fetch-Site": site}).headers
    assert "content-encoding" in client.get("/cached", headers={"Sec-Fetch-Site": "same-origin"}).headers


def test_the_etag_of_a_compressed_response_is_weak_and_still_revalidates(client: TestClient) -> None:
    etag = client.get("/cached").headers["etag"]
    assert etag == 'W/"tag"'
    assert client.get("/cached", headers={"Accept-Encoding": "identity"}).headers["etag"] == '"tag"'
    assert client.get("/cached", headers={"If-None-Match": etag}).status_code == 304


def test_a_part_of_a_file_is_sent_as_it_is(client: TestClient) -> None:
    part = client.get("/file", headers={"Range": "bytes=0-1999"})
    assert part.status_code == 206
    assert "content-encoding" not in part.headers
    assert len(part.content) == 2000
    head = client.head("/file")
    assert "content-encoding" not in head.headers


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        *(("gzip", True), ("gzip, br", True), ("br;q=1.0, GZIP;q=0.5", True), ("*", True), ("", False)),
        *(("identity", False), ("gzip;q=0", False), ("*, gzip;q=0", False), ("gzip;q=x", False), ("xgzip", False)),
    ],
)
def test_the_client_decides(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
