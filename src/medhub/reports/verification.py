# SPDX-License-Identifier: Apache-2.0
"""Verifying a report, offline: by its PDF signature, or by the seal of reports that were issued before."""

from __future__ import annotations

from medhub.reports.keyword_seal import check_keyword_seal, has_keyword_seal
from medhub.reports.pdf_signature import check_signature
from medhub.reports.verification_result import TrustedKeys, Verification


def verify_report(pdf: bytes, trusted: TrustedKeys) -> Verification:
    """Tell whether a report is as it was issued and, given a key to trust, whether that key signed it."""
    if not pdf.startswith(b"%PDF-"):
        return Verification(
            intact=False,
            authentic=False if trusted else None,
            digest=None,
            key_id=None,
            reason="This is not a PDF file.",
        )
    # A seal covers the whole file: one with a signature added to it was changed.
    return check_keyword_seal(pdf, trusted) if has_keyword_seal(pdf) else check_signature(pdf, trusted)
