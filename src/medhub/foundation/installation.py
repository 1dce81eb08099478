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
class Installation:
    """Settings, database, blobs, keys and the processes that decode what was received."""

    settings: Settings
    database: Database
    blobs: BlobStore
    keys: Keys
    isolation: Isolation

    def close(self) -> None:
        """End the decoding processes and close the database."""
        self.isolation.close()
        self.database.close()
