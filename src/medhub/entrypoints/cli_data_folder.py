# SPDX-License-Identifier: Apache-2.0
"""The option ``--data`` of the commands, and the installation in that folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from medhub.entrypoints.bootstrap import build
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the database, blobs and keys; default: MEDHUB_DATA.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def load_settings(data: Path | None, **options: Any) -> Settings:
    """The settings, with a data folder and other options where they are given."""
    values = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        values["data"] = data.absolute()
    return Settings(**values)


@contextmanager
def open_app(data: Path | None) -> Iterator[AppContext]:
    """Open the installation in a data folder."""
    app = build(load_settings(data))
    try:
        yield app
    finally:
        app.close()
