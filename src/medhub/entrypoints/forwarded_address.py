# SPDX-License-Identifier: Apache-2.0
"""The address under which a client reached a reverse proxy: Forwarded (RFC 7239) or X-Forwarded headers.

Each proxy appends to these headers, so that only the last element comes from the proxy that is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.datastructures import URL

_HOST = re.compile(r"(?:[A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){0,8}/?")
_PAIR = re.compile(r'([A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s";,]*)')
_QUOTED_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,|[^",]+|"')
_DEFAULT_PORTS = {"http": "80", "https": "443"}


_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}|::1|localhost")


def direct_address(requested: URL, server: tuple[str, int | None] | None, headers: Mapping[str, str]) -> URL:
    """The address of a request without regard to proxies.

    A Host header without a port means the default port of the scheme (RFC 9110, 7.2). The exception are clients that
    leave the port out (dicomweb-client does) and name the very address of this server: no proxy is between.

    Parameters
    ----------
    requested
        The address by the Host header.
    server
        Address and port of this end of the connection.
    headers
        Of the request.
    """
    own, port = server or ("", None)
    host = (requested.hostname or "").lower()
    is_own = host == own or bool(_LOOPBACK.fullmatch(host) and _LOOPBACK.fullmatch(own))
    is_direct = not any(name == "forwarded" or name.startswith("x-forwarded") for name in headers)
    if is_own and is_direct and requested.port is None and requested.scheme == "http" and port not in {None, 80}:
        return requested.replace(port=port)
    return requested


def forwarded_address(headers: Mapping[str, str], direct: URL) -> str:
    """The scheme, host and path prefix of the proxy, without a slash at the end.

    Parameters
    ----------
    headers
        Of a request that a trusted proxy has sent.
    direct
        The address without regard to the proxy; its parts are used where the proxy does not name other ones.
    """
    forwarded = _last_element(headers.get("forwarded", ""))
    scheme = (forwarded.get("proto") or _last(headers.get("x-forwarded-proto", ""))).lower()
    if scheme not in _DEFAULT_PORTS:
        scheme = direct.scheme
    host = forwarded.get("host") or _last(headers.get("x-forwarded-host", ""))
    if not _HOST.fullmatch(host):
        host = direct.netloc
    port = _last(headers.get("x-forwarded-port", ""))
    if re.fullmatch(r"[0-9]{1,5}", port) and not re.search(r":[0-9]+$", host):
        host = f"{host}:{port}"
    host = host.removesuffix(f":{_DEFAULT_PORTS[scheme]}")
    prefix = _last(headers.get("x-forwarded-prefix", ""))
    path = prefix if _PREFIX.fullmatch(prefix) else ""
    return f"{scheme}://{host}{path.rstrip('/')}{direct.path.rstrip('/')}"


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def _last_element(value: str) -> dict[str, str]:
    """The parameters of the last element of a Forwarded header."""
    element = ""
    for part in _QUOTED_OR_COMMA.findall(value[:4096]):
        element = "" if part == "," else element + part
    pairs = {name.lower(): text for name, text in _PAIR.findall(element)}
    return {name: re.sub(r"\\(.)", r"\1", text.strip('"')) for name, text in pairs.items()}
