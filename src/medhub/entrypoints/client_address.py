# SPDX-License-Identifier: Apache-2.0
"""The address of the client behind reverse proxies.

Each proxy appends the address from which it received the request to X-Forwarded-For. Only elements that trusted proxies
have appended count; the first elements may come from the client.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from medhub.foundation.settings import Settings


def proxied(web_app: ASGIApp, settings: Settings) -> ASGIApp:
    """The application with the client's address and scheme from the headers of trusted proxies."""
    if not settings.trusted_proxy:
        return web_app
    if settings.trusted_proxies:
        # From the last element to the first, up to an address that is no trusted proxy.
        return ProxyHeadersMiddleware(web_app, settings.trusted_proxies)  # type: ignore[arg-type,return-value]
    return LastForwarded(web_app)


class LastForwarded:
    """Takes the client's address from the last element, which the only proxy has appended."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Replace address and scheme of the connection to the proxy."""
        if scope["type"] == "http":
            scheme = _last_value(scope, b"x-forwarded-proto").lower()
            address = _last_value(scope, b"x-forwarded-for")
            changed = {"scheme": scheme} if scheme in {"http", "https"} else {}
            scope = {**scope, **changed, **({"client": (address, 0)} if address else {})}
        await self.app(scope, receive, send)


def _last_value(scope: Scope, name: bytes) -> str:
    values = [value for header, value in scope["headers"] if header == name]
    return values[-1].decode("latin-1").rpartition(",")[2].strip() if values else ""
