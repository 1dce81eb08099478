# SPDX-License-Identifier: Apache-2.0
"""The log: an event and internal ids, never text that came from a patient or from a file."""

from __future__ import annotations

import logging
import sys

import structlog

get_logger = structlog.get_logger


def configure(*, as_json: bool = False) -> None:
    """Send the events of this process to standard error, as lines for people or as JSON for machines."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Local variables in a traceback could identify a patient: only places in the code are written.
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
