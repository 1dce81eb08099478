# SPDX-License-Identifier: Apache-2.0
"""The app context: settings, database, blobs, keys and isolated processes, built once by an entrypoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from medhub.foundation.blobs import BlobStore
from medhub.foundation.byte_budget import ByteBudget
from medhub.foundation.database import Database
from medhub.foundation.isolation import Isolation
from medhub.foundation.keys import Keys
from medhub.foundation.settings import Settings


@dataclass(frozen=True)
class AppContext:
    """The settings and resources of a running installation."""

    settings: Settings
    database: Database
    blobs: BlobStore
    keys: Keys
    isolation: Isolation
    # Text detection takes seconds; its own processes keep it from delaying the display of images.
    reading: Isolation | None = None
    received: ByteBudget = field(default_factory=ByteBudget)

    def close(self) -> None:
        """End the isolated processes and close the database."""
        self.isolation.close()
        if self.reading is not None:
            self.reading.close()
        self.database.close()
