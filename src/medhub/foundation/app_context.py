# SPDX-License-Identifier: Apache-2.0
"""The parts of one running installation, built once by an entrypoint and handed to who needs them."""

from __future__ import annotations

from dataclasses import dataclass

from medhub.foundation.blobs import BlobStore
from medhub.foundation.database import Database
from medhub.foundation.isolation import Isolation
from medhub.foundation.keys import Keys
from medhub.foundation.settings import Settings


@dataclass(frozen=True)
class AppContext:
    """Settings, database, blobs, keys, and the processes that decode what was received and look for writing in it."""

    settings: Settings
    database: Database
    blobs: BlobStore
    keys: Keys
    isolation: Isolation
    # Looking for writing takes seconds: it has processes of its own, so that nobody waits for them who looks at images.
    reading: Isolation | None = None

    def close(self) -> None:
        """End the processes apart and close the database."""
        self.isolation.close()
        if self.reading is not None:
            self.reading.close()
        self.database.close()
