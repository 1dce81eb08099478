# SPDX-License-Identifier: Apache-2.0
"""Prints the OpenAPI document: ``python -m medhub.entrypoints.openapi > web/openapi.json``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from medhub.entrypoints.bootstrap import build
from medhub.entrypoints.web import create_app
from medhub.foundation.settings import Settings


def document() -> str:
    """The OpenAPI document as it is committed for the web app's client."""
    with tempfile.TemporaryDirectory() as folder:
        app = build(Settings(data=Path(folder)), migrate=False)
        try:
            return json.dumps(create_app(app).openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        finally:
            app.close()


if __name__ == "__main__":
    sys.stdout.write(document())
