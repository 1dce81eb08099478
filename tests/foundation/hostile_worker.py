# SPDX-License-Identifier: Apache-2.0
"""A worker that has been taken over: preloaded into an isolated process, it sends whatever a test asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from medhub.foundation import isolation_worker
from medhub.foundation.message_codec import unpack


@dataclass(frozen=True)
class Reading:
    """A result with fields of several types."""

    name: str
    count: int
    data: bytes
    unit: Literal["mm", "cm"] = "mm"
    tags: tuple[str, ...] = ()


def read(answer: str, segments: list[bytes]) -> Reading:
    """Declare the result; in a process with ``take_over`` the answer is sent instead, as it is."""
    raise AssertionError((answer, segments))


_build_honest_answer = isolation_worker._build_answer


def take_over() -> None:
    """Replace the answers to ``read`` in this process by the bytes that the caller has chosen."""
    isolation_worker._build_answer = _build_hostile_answer
    isolation_worker.frame = _build_frame


def _build_hostile_answer(content: dict[str, Any], segments: list[bytes]) -> tuple[dict[str, Any], list[bytes], bool]:
    if not content["function"].endswith(":read"):
        return _build_honest_answer(content, segments)
    arguments = content["arguments"]
    return {"raw": arguments["answer"]}, [unpack({"$bytes": n}, segments) for n in arguments["segments"]], False


def _build_frame(content: dict[str, Any], segments: list[bytes]) -> list[bytes]:
    if "raw" not in content:
        return _honest_frame(content, segments)
    text = content["raw"].encode()
    return [isolation_worker.HEAD.pack(isolation_worker.MAGIC, len(text)) + text, *segments]


_honest_frame = isolation_worker.frame
