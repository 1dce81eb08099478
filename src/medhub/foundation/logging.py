# SPDX-License-Identifier: Apache-2.0
"""The log: an event and internal ids, never text that came from a patient or from a file.

The text of an exception may quote either (a value that did not fit, a part of a file), and so may the variables of a
traceback. Of a failure only its kind and its places in the code are written, whoever logs it.
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
    """Send the events of this process to standard error, as lines for people or as JSON for machines."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_places),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # What libraries log goes the same way, from warnings on.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithoutWords("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _places(exc_info: ExcInfo) -> str:
    """The kinds of a failure and of what led to it, each with its places in the code."""
    lines = []
    error = exc_info[1]
    while error is not None:
        lines.append(type(error).__name__)
        lines += [f"  {p.filename}:{p.lineno} in {p.name}" for p in traceback.extract_tb(error.__traceback__)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(lines)


class _WithoutWords(logging.Formatter):
    """Writes a failure without its text."""

    def formatException(self, ei: ExcInfo) -> str:
        """Its kinds and places."""
        return _places(ei)
