# SPDX-License-Identifier: Apache-2.0
"""Of the addresses in X-Forwarded-For, the one that a trusted proxy appended counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from medhub.accounts.access import origin_of
from medhub.entrypoints.client_address import proxied
from medhub.foundation.settings import Settings


def _origin(data: Path, headers: list[tuple[str, str]], peer: str = "10.0.0.1", **settings: object) -> str:
    echo = FastAPI()

    @echo.get("/")
    def read_origin(request: Request) -> str:
        return f"{origin_of(request)} {request.url.scheme}"

    app = proxied(echo, Settings.model_validate({"data": data, **settings}))
    return str(TestClient(app, client=(peer, 1)).get("/", headers=headers).json())


CLAIMED = [("X-Forwarded-For", "6.6.6.6, 192.0.2.7"), ("X-Forwarded-Proto", "https")]


def test_without_a_proxy_the_header_does_not_count(tmp_path: Path) -> None:
    assert _origin(tmp_path, CLAIMED) == "10.0.0.1 http"


def test_the_address_that_the_proxy_appended_counts(tmp_path: Path) -> None:
    assert _origin(tmp_path, CLAIMED, trusted_proxy=True) == "192.0.2.7 https"


def test_in_repeated_headers_the_last_address_counts(tmp_path: Path) -> None:
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.7")]
    assert _origin(tmp_path, headers, trusted_proxy=True) == "192.0.2.7 http"


@pytest.mark.parametrize(
    ("forwarded", "origin"),
    [("6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7"), ("6.6.6.6, 192.0.2.7", "192.0.2.7"), ("192.0.2.7", "192.0.2.7")],
)
def test_addresses_of_several_proxies_are_skipped(tmp_path: Path, forwarded: str, origin: str) -> None:
    headers = [("X-Forwarded-For", forwarded)]
    proxies = "10.0.0.0/24, 127.0.0.1"
    assert _origin(tmp_path, headers, trusted_proxy=True, trusted_proxies=proxies) == f"{origin} http"


def test_a_peer_that_is_no_trusted_proxy_cannot_choose_its_address(tmp_path: Path) -> None:
    peer = "203.0.113.9"
    assert _origin(tmp_path, CLAIMED, peer, trusted_proxy=True, trusted_proxies="10.0.0.0/24") == f"{peer} http"
