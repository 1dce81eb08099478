# SPDX-License-Identifier: Apache-2.0
"""Web processes that answer on one socket: the one that was started, and as many more as are asked for.

The first runs jobs and housekeeping; the others only answer requests. All of them read the one database, so
nothing need be shared but a counter that says when rights have changed: a sign-in that was ended at one process ends at
all of them at once.
"""

from __future__ import annotations

import gc
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from medhub.accounts.authentication import Generation
from medhub.errors import Unavailable
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings

_END_S = 15.0
_LISTENER_END_S = 40.0  # what it is taking in is finished first
_AGAIN_S = 2.0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises
    ------
    Unavailable
        Another program listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Unavailable(
            f"Nothing can listen on {host}:{port}: {error.strerror or type(error).__name__}. Another program may be "
            "there; take another --port."
        ) from error
    listening.listen(2048)
    return listening


def answer(web_app: FastAPI, listening: socket.socket, settings: Settings) -> None:
    """Answer requests until the process is asked to end."""
    _spare_the_collector()
    config = uvicorn.Config(
        web_app,
        log_config=None,  # its messages go through ours, which writes no text of an exception
        log_level="warning",
        access_log=False,  # addresses may hold what was searched for
        server_header=False,
        proxy_headers=settings.trusted_proxy,
        forwarded_allow_ips="*" if settings.trusted_proxy else None,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=64 * 1024,
    )
    uvicorn.Server(config).run(sockets=[listening])


def shared_generation() -> tuple[Generation, int | None]:
    """A counter of changed rights for all processes, and the descriptor by which they find it."""
    if not hasattr(os, "memfd_create"):
        return Generation(), None
    descriptor = os.memfd_create("medhub", 0)
    os.ftruncate(descriptor, Generation.BYTES)
    return Generation(mmap.mmap(descriptor, Generation.BYTES)), descriptor


@contextmanager
def others(count: int, listening: socket.socket, generation: int | None, settings: Settings) -> Iterator[None]:
    """So many more processes that answer on the socket, ended with the block and with this process.

    Raises
    ------
    Unavailable
        This system cannot share what they need.
    """
    if count and generation is None:
        raise Unavailable("Several processes need Linux. Start it with --processes 1.")
    passed = (listening.fileno(), *([generation] if generation is not None else []))
    running = [
        subprocess.Popen(  # noqa: S603  # this same interpreter, with numbers as arguments
            [sys.executable, "-m", "medhub.entrypoints.web_worker", str(os.getpid()), *map(str, passed)],
            pass_fds=passed,
            env=os.environ | {"MEDHUB_DATA": str(settings.data)},
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def dicom_listener(settings: Settings) -> Iterator[None]:
    """The DICOM listener in a process of its own, where a port is set for it; started again should it die."""
    if settings.dicom_port is None:
        yield
        return
    ended = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        # The kernel ends the process with the thread that started it, which lives as long as this block.
        while not ended.is_set():
            process = subprocess.Popen(  # noqa: S603  # this same interpreter, with a number as argument
                [sys.executable, "-m", "medhub.entrypoints.dimse.listener_process", str(os.getpid())],
                env=os.environ | {"MEDHUB_DATA": str(settings.data)},
            )
            running[:] = [process]
            if ended.is_set():
                process.terminate()
            code = process.wait()
            if not ended.wait(_AGAIN_S):
                get_logger().error("dimse.ended", code=code)

    keeping = threading.Thread(target=keep, name="dicom-listener", daemon=True)
    keeping.start()
    try:
        yield
    finally:
        ended.set()
        for process in running:
            process.terminate()
        keeping.join(_LISTENER_END_S)
        for process in running:
            if process.poll() is None:
                process.kill()


def _spare_the_collector() -> None:
    """What the start has loaded stays to the end: the garbage collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
