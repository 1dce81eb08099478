# SPDX-License-Identifier: Apache-2.0
"""Methods, the Allow header, pages of other origins, unknown paths, and the addresses that answers name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.datastructures import URL

from medhub.entrypoints import web_assets
from medhub.entrypoints.forwarded_address import forwarded_address
from medhub.entrypoints.web import create_app
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.foundation.settings import Settings
from tests.conftest import ROOT
from tests.factories.accounts import client_of, make_people
from tests.factories.app_contexts import open_app
from tests.factories.servers import serving, small_ct, token_of, written

Apps = Callable[..., AppContext]
VIEWER_ORIGIN = "https://viewer.example.org"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory, isolation: Isolation) -> Iterator[Apps]:
    """Installations with some settings, each opened once."""
    opened: dict[str, tuple[object, AppContext]] = {}

    def open_with(**settings: object) -> AppContext:
        key = repr(settings)
        if key not in opened:
            context = open_app(tmp_path_factory.mktemp("methods") / "data", isolation, None, **settings)
            app = context.__enter__()
            make_people(app)
            opened[key] = (context, app)
        return opened[key][1]

    yield open_with
    for context, _ in opened.values():
        context.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    (folder / "index.html").write_text("<!doctype html><title>Medhub</title>")
    return folder


@pytest.fixture(scope="module")
def viewer(apps: Apps, web: Path) -> TestClient:
    app = apps()
    return client_of(create_app(app, run_jobs=False, web=web), app, "viewer@lab.example")


def store_ct(app: AppContext, client: TestClient, study: str = "1.2.70") -> str:
    """Store a CT; gives the address of its study."""
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n"
    body += written(small_ct(1, study=study, series=f"{study}.1", patient="7000")) + b"\r\n--x--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    sender = client_of(client.app, app, "technologist@lab.example")  # type: ignore[arg-type]
    answer = sender.post("/dicom-web/studies", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.json()["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    return str(answer.json()["00081190"]["Value"][0])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/dicom-web/studies", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/dicom-web/studies/1.2", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("POST", "/dicom-web/studies/1.2/series/3", "DELETE, GET, HEAD, OPTIONS"),
        ("DELETE", "/dicom-web/studies/1.2/metadata", "GET, HEAD, OPTIONS"),
        ("PUT", "/dicom-web/projects/p/studies", "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/api/patients", "GET, HEAD, OPTIONS, POST"),
        ("GET", "/api/auth/token", "OPTIONS, POST"),
    ],
)
def test_a_refused_method_names_all_methods_of_the_path(
    viewer: TestClient, method: str, path: str, allowed: str
) -> None:
    refused = viewer.request(method, path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, allowed)
    asked = viewer.options(path)
    assert (asked.status_code, asked.headers["Allow"], asked.content) == (204, allowed, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/dicom-web/nothing", "/api/nothing", "/dicom-web/studies/1.2/nothing"])
def test_a_path_without_a_route_is_not_found_by_any_method(viewer: TestClient, method: str, path: str) -> None:
    assert viewer.request(method, path).status_code == 404


def test_head_has_the_status_and_headers_of_get_and_no_content(apps: Apps, viewer: TestClient) -> None:
    address = store_ct(apps(), viewer).removeprefix("http://testserver")
    for path in ("/dicom-web/studies", address, f"{address}/metadata", f"{address}/thumbnail", "/api/patients", "/"):
        head, get = (
            viewer.request(method, path, headers={"Accept-Encoding": "identity"}) for method in ("HEAD", "GET")
        )
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.status_code == 200, path
        for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
            assert (
                head.headers.get(name, "").partition("boundary")[0]
                == get.headers.get(name, "").partition("boundary")[0]
            ), (path, name)
        # The length of compressed content is not known before it is made, so it may be left out (RFC 9110, 9.3.2).
        head, get = viewer.head(path), viewer.get(path)
        assert head.headers.get("Content-Encoding") == get.headers.get("Content-Encoding"), path
        assert head.headers.get("ETag") == get.headers.get("ETag"), path
        length = head.headers.get("Content-Length")
        assert length is None if "Content-Encoding" in get.headers else length == get.headers["Content-Length"], path
    assert viewer.head("/dicom-web/studies/9.9.9").status_code == 404
    nobody = TestClient(viewer.app)
    assert nobody.head("/dicom-web/studies").status_code == 401
    assert viewer.head("/api/auth/token").status_code == 405


def test_head_over_a_connection_that_is_used_again(apps: Apps, web: Path) -> None:
    app = apps()
    with serving(create_app(app, run_jobs=False, web=web)) as url, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token_of(app, 'viewer@lab.example')}"
        for _ in range(2):
            assert session.head(f"{url}/dicom-web/studies").content == b""
            assert session.head(f"{url}/api/health").status_code == 200
            assert session.get(f"{url}/api/health").json()["status"] == "ok"


def preflight(client: TestClient, path: str, origin: str, method: str = "GET") -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }
    return client.options(path, headers=headers)  # type: ignore[return-value]


def test_pages_of_other_origins_are_refused_by_default(viewer: TestClient) -> None:
    for answer in (
        preflight(viewer, "/dicom-web/studies", VIEWER_ORIGIN),
        viewer.get("/dicom-web/studies", headers={"Origin": VIEWER_ORIGIN}),
    ):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_pages_of_configured_origins_may_use_dicomweb_and_nothing_else(apps: Apps, web: Path) -> None:
    app = apps(dicomweb_origins=f"{VIEWER_ORIGIN}/, http://localhost:3000")
    web_app = create_app(app, run_jobs=False, web=web)
    client = client_of(web_app, app, "viewer@lab.example")
    for origin in (VIEWER_ORIGIN, "http://localhost:3000"):
        for method in ("GET", "POST", "DELETE"):
            allowed = preflight(client, "/dicom-web/studies", origin, method)
            assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, origin)
            assert method in allowed.headers["Access-Control-Allow-Methods"]
            assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
        for path in ("/dicom-web/studies", "/dicom-web/studies/1.2.3.4.5", "/dicom-web/nothing"):
            answer = client.get(path, headers={"Origin": origin})
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Warning" in answer.headers["Access-Control-Expose-Headers"]
            assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Origin" not in client.get("/api/patients", headers={"Origin": origin}).headers
    for origin in ("https://evil.example.org", f"{VIEWER_ORIGIN}.evil.org", "null"):
        assert "Access-Control-Allow-Origin" not in preflight(client, "/dicom-web/studies", origin).headers
        answer = client.get("/dicom-web/studies", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origins", ["*", "viewer.example.org", "https://a.org/path", "https://a.org b.org", "null"])
def test_what_is_no_origin_is_refused_as_a_setting(origins: str) -> None:
    with pytest.raises(ValidationError, match="dicomweb_origins"):
        Settings(dicomweb_origins=origins)


@pytest.mark.parametrize(
    "path",
    ["/wadouri", "/dicomweb/studies", "/dcm4chee-arc/aets/X/rs/studies", "/orthanc/dicom-web/studies", "/fhir/Patient"],
)
@pytest.mark.parametrize("accept", ["*/*", "application/dicom", "application/dicom+json", ""])
def test_an_unknown_path_is_not_answered_with_the_web_app(viewer: TestClient, path: str, accept: str) -> None:
    query = "?requestType=WADO&studyUID=1&seriesUID=2&objectUID=3&contentType=application/dicom"
    for client in (viewer, TestClient(viewer.app)):
        answer = client.get(path + query, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert viewer.get(path, headers=HTML).status_code == 200


def test_the_pages_of_the_web_app_are_known() -> None:
    router = (ROOT / "web" / "src" / "routes" / "router.tsx").read_text(encoding="utf-8")
    named = [part.partition("'")[0] for part in router.replace("path: '", "page('").split("page('")[1:]]
    assert {path.split("/")[1] for path in named if path.startswith("/")} == web_assets.PAGES


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"Host": "my-domain"}, "http://my-domain"),
        ({"Host": "my-domain:8080"}, "http://my-domain:8080"),
        ({"Host": "[::1]"}, "http://[::1]"),
        # Nobody has said that a proxy is to be believed.
        ({"Host": "my-domain", "Forwarded": "host=elsewhere;proto=https"}, "http://my-domain"),
        ({"Host": "my-domain", "X-Forwarded-Host": "elsewhere"}, "http://my-domain"),
    ],
)
def test_addresses_name_the_host_that_the_client_named(
    apps: Apps, viewer: TestClient, headers: dict[str, str], address: str
) -> None:
    store_ct(apps(), viewer)
    (first, *_) = viewer.get("/dicom-web/studies?limit=1", headers=headers).json()
    assert first["00081190"]["Value"][0].startswith(f"{address}/dicom-web/studies/")
    assert first["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


FORWARDED = [
    ({"Forwarded": "host=hub.org;proto=https"}, "https://hub.org"),
    ({"Forwarded": 'for=192.0.2.1;proto=HTTPS;host="hub.org:8443"'}, "https://hub.org:8443"),
    ({"Forwarded": 'For="[2001:db8::1]:4711"; Host="[2001:db8::2]"; Proto=https'}, "https://[2001:db8::2]"),
    ({"Forwarded": 'host="a,b";proto=http, for="x;y"; host=hub.org;proto=https'}, "https://hub.org"),
    ({"Forwarded": "for=192.0.2.1"}, "http://inner:8000"),
    ({"Forwarded": "host=hub.org/evil;proto=javascript"}, "http://inner:8000"),
    ({"Forwarded": 'host="unclosed;proto=https'}, "https://inner:8000"),
    ({"X-Forwarded-Host": "hub.org", "X-Forwarded-Proto": "https"}, "https://hub.org"),
    ({"X-Forwarded-Host": "claimed.org, hub.org", "X-Forwarded-Proto": "http, https"}, "https://hub.org"),
    ({"X-Forwarded-Host": "hub.org", "X-Forwarded-Port": "8080"}, "http://hub.org:8080"),
    ({"X-Forwarded-Host": "hub.org:9", "X-Forwarded-Port": "8080"}, "http://hub.org:9"),
    ({"X-Forwarded-Host": "hub.org", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}, "https://hub.org"),
    ({"X-Forwarded-Host": "hub.org", "X-Forwarded-Prefix": "/medhub/"}, "http://hub.org/medhub"),
    ({"X-Forwarded-Host": "hub.org", "X-Forwarded-Prefix": "//evil"}, "http://hub.org"),
    ({"X-Forwarded-Host": "hub.org\"'<>"}, "http://inner:8000"),
    ({}, "http://inner:8000"),
]


@pytest.mark.parametrize(("headers", "address"), FORWARDED)
def test_the_address_of_a_proxy_is_read_from_its_headers(headers: dict[str, str], address: str) -> None:
    lowered = {name.lower(): value for name, value in headers.items()}
    assert forwarded_address(lowered, URL("http://inner:8000/")) == address


@pytest.mark.parametrize(
    ("host", "headers", "address"),
    [
        ("my-domain", {}, "http://my-domain"),
        ("192.0.2.7", {}, "http://192.0.2.7"),
        # A client that leaves out the port, as dicomweb-client does.
        ("127.0.0.1", {}, "http://127.0.0.1:PORT"),
        ("localhost", {}, "http://localhost:PORT"),
        ("127.0.0.1:PORT", {}, "http://127.0.0.1:PORT"),
        # A proxy on this computer that listens on the default port.
        ("localhost", {"X-Forwarded-For": "192.0.2.1"}, "http://localhost"),
        ("localhost", {"Forwarded": "for=192.0.2.1"}, "http://localhost"),
    ],
)
def test_a_host_header_without_a_port_means_the_default_port(
    apps: Apps, viewer: TestClient, web: Path, host: str, headers: dict[str, str], address: str
) -> None:
    app = apps()
    store_ct(app, viewer)
    with serving(create_app(app, run_jobs=False, web=web)) as url:
        port = url.rpartition(":")[2]
        sent = {"Authorization": f"Bearer {token_of(app, 'viewer@lab.example')}", "Host": host.replace("PORT", port)}
        (first, *_) = requests.get(f"{url}/dicom-web/studies?limit=1", headers=sent | headers, timeout=30).json()
        assert first["00081190"]["Value"][0].startswith(address.replace("PORT", port) + "/dicom-web/studies/")


def test_a_trusted_proxy_decides_which_addresses_answers_name(apps: Apps, web: Path) -> None:
    app = apps(trusted_proxy=True)
    client = client_of(create_app(app, run_jobs=False, web=web), app, "viewer@lab.example")
    store_ct(app, client, "1.2.71")
    for headers, address in FORWARDED[:2]:
        (first, *_) = client.get("/dicom-web/studies?limit=1", headers=headers).json()
        assert first["00081190"]["Value"][0].startswith(f"{address}/dicom-web/studies/")
