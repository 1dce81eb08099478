# SPDX-License-Identifier: Apache-2.0
"""The log: events and internal ids, never text of a patient or of a file.

The text of an exception and the variables of a traceback may contain such text (an invalid value, a part of a file).
The log therefore contains only the types of exceptions and their locations in the code.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import TracebackType

import structlog

get_logger = structlog.get_logger

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(*, as_json: bool = False) -> None:
    """Write the log of this process to standard error, as text or as JSON lines."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_format_locations),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log to the same stream, from level WARNING.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextFreeFormatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _format_locations(exc_info: ExcInfo) -> str:
    """The types of an exception and of its causes, each with its locations in the code."""
    lines = []
    error = exc_info[1]
    while error is not None:
        lines.append(type(error).__name__)
        lines += [f"  {p.filename}:{p.lineno} in {p.name}" for p in traceback.extract_tb(error.__traceback__)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(lines)


class _TextFreeFormatter(logging.Formatter):
    """Formats exceptions without their text."""

    def formatException(self, ei: ExcInfo) -> str:
        """The types and locations of the exceptions."""
        return _format_locations(ei)
