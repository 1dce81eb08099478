# SPDX-License-Identifier: Apache-2.0
"""Construction of the app context from the settings."""

from __future__ import annotations

from contextlib import suppress

from medhub.audit.sealed_head import ChainSeal
from medhub.audit.service import Recorder, protect_chain
from medhub.entrypoints.flow import ERASURE_REPORTERS, FLOW, MOVE_CHECKS, SIGNING_CHECKS
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.byte_budget import ByteBudget
from medhub.foundation.database import Database
from medhub.foundation.isolation import Isolation
from medhub.foundation.keys import load_keys
from medhub.foundation.migration import upgrade
from medhub.foundation.settings import Settings
from medhub.records.identity_search import enqueue_reindexing
from medhub.records.isolated_calls import PRELOADED_MODULES
from medhub.records.pathway import all_pathways
from medhub.training import tasks as training


def build(settings: Settings, *, migrate: bool = True) -> AppContext:
    """Open the data folder, create it if necessary, migrate its database, and return the app context."""
    all_pathways(settings)  # report an invalid file at the start, not at the first upload
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(PermissionError):  # of another owner
        settings.data.chmod(settings.data.stat().st_mode & 0o700)
    keys = load_keys(settings)
    database = open_database(settings)
    if migrate:
        upgrade(database)
        protect_chain(database)
    app = AppContext(
        settings=settings,
        database=database,
        blobs=BlobStore(settings.blobs_folder),
        keys=keys,
        isolation=Isolation(
            workers=settings.decoder_workers,
            memory_bytes=settings.decoder_memory_bytes,
            timeout_s=settings.decoder_timeout_s,
            preload=PRELOADED_MODULES,
        ),
        reading=Isolation(
            workers=settings.reading_workers,
            memory_bytes=settings.decoder_memory_bytes,
            timeout_s=settings.decoder_timeout_s,
            preload=PRELOADED_MODULES,
            patience_s=1_800.0,
        ),
        received=ByteBudget(settings.budget_bytes),
    )
    if migrate:
        with database.writing() as session:
            enqueue_reindexing(session)
        training.remove_old_folders(app)
        training.delete_orphaned_pictures(app)
    return app


def open_database(settings: Settings) -> Database:
    """Open the database; its sessions carry the flow, the erasure reporters, the move checks and the audit recorder."""
    info: dict[str, object] = {
        "flow": FLOW,
        "erasure_reporters": ERASURE_REPORTERS,
        "move_checks": MOVE_CHECKS,
        "signing_checks": SIGNING_CHECKS,
    }
    database = Database(settings.sqlalchemy_url, info=info)
    head = settings.data / "audit" / "head"
    database.set_session_info("audit_seal", ChainSeal(lambda: load_keys(settings).derive("audit-chain"), head))
    database.set_session_info("recorder", Recorder(lambda: database))
    return database
