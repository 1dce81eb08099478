# SPDX-License-Identifier: Apache-2.0
"""The record of the facts that a report carries as an attachment, and its digest among the keywords."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import Any

from pypdf import PdfReader

from medhub.reports.facts import RECORD_NAME, canonical_json

FACTS_PREFIX = "medhub-facts:"


def facts_keyword(digest: str) -> str:
    """Return the keyword by which a report names the digest of its facts."""
    return FACTS_PREFIX + digest


def read_record(pdf: bytes) -> tuple[dict[str, Any] | None, bool | None]:
    """Return the record attached to an intact report, and whether it has the digest named in the keywords."""
    try:
        reader = PdfReader(io.BytesIO(pdf))
        attachment = reader.attachments[RECORD_NAME][0]
        record = json.loads(attachment)
        keywords = "" if reader.metadata is None else str(reader.metadata.get("/Keywords", ""))
        stated = re.search(FACTS_PREFIX + r"([0-9a-f]{64})", keywords)
        matches = (
            stated is not None
            and hashlib.sha256(attachment).hexdigest() == stated[1]
            and canonical_json(record) == attachment
        )
    except Exception:
        # A file from elsewhere may break a parser in any way; the signature is judged before.
        return None, None
    return (record, matches) if isinstance(record, dict) else (None, None)
