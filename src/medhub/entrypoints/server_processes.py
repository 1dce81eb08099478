# SPDX-License-Identifier: Apache-2.0
"""Web processes that share one listening socket: the first process and its extra processes.

The first process also runs jobs and housekeeping. The processes share the database and a counter of permission
changes, so that a sign-in that ends in one process ends in all of them at once.
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
from medhub.entrypoints.client_address import proxied
from medhub.entrypoints.connection_limits import limited_protocol, raise_descriptor_limit
from medhub.errors import Unavailable
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings

_STOP_TIMEOUT_S = 15.0
_LISTENER_STOP_TIMEOUT_S = 40.0  # it first finishes the objects that it is receiving
_RESTART_DELAY_S = 2.0


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises
    ------
    Unavailable
        The port is in use, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Listening on {host}:{port} failed: {error.strerror or type(error).__name__}. Another program may use "
            "the port; choose another --port."
        ) from error
    listener.listen(2048)
    return listener


def serve_requests(web_app: FastAPI, listener: socket.socket, settings: Settings) -> None:
    """Serve requests until the process receives a signal to stop."""
    _freeze_garbage_collector()
    raise_descriptor_limit()
    uvicorn.Server(server_config(web_app, settings)).run(sockets=[listener])


def server_config(web_app: FastAPI, settings: Settings) -> uvicorn.Config:
    """The configuration of uvicorn."""
    return uvicorn.Config(
        proxied(web_app, settings),
        log_config=None,  # our log is used, which contains no texts of exceptions
        log_level="warning",
        access_log=False,  # URLs may contain search texts
        server_header=False,
        proxy_headers=False,  # it would take the first address, which the client chooses
        timeout_graceful_shutdown=10,
        http=limited_protocol(settings),  # type: ignore[arg-type]  # a factory does as well
        ws="none",
    )


def shared_generation() -> tuple[Generation, int | None]:
    """A counter of permission changes in shared memory, and its file descriptor."""
    if not hasattr(os, "memfd_create"):
        return Generation(), None
    descriptor = os.memfd_create("medhub", 0)
    os.ftruncate(descriptor, Generation.BYTES)
    return Generation(mmap.mmap(descriptor, Generation.BYTES)), descriptor


@contextmanager
def extra_processes(count: int, listener: socket.socket, generation: int | None, settings: Settings) -> Iterator[None]:
    """Run extra processes that serve requests on the socket; they end with the block and with this process.

    Raises
    ------
    Unavailable
        This system does not support shared memory descriptors.
    """
    if count and generation is None:
        raise Unavailable("Several processes need Linux. Use --processes 1.")
    descriptors = (listener.fileno(), *([generation] if generation is not None else []))
    processes = [
        subprocess.Popen(  # noqa: S603  # this same interpreter, with numbers as arguments
            [sys.executable, "-m", "medhub.entrypoints.web_worker", str(os.getpid()), *map(str, descriptors)],
            pass_fds=descriptors,
            env=os.environ | {"MEDHUB_DATA": str(settings.data)},
        )
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def dicom_listener(settings: Settings) -> Iterator[None]:
    """Run the DICOM listener in a separate process if a port is configured; it is restarted if it dies."""
    if settings.dicom_port is None:
        yield
        return
    stopping = threading.Event()
    processes: list[subprocess.Popen[bytes]] = []

    def keep_running() -> None:
        # The kernel ends the process together with the thread that started it, which runs until the end of this block.
        while not stopping.is_set():
            process = subprocess.Popen(  # noqa: S603  # this same interpreter, with a number as argument
                [sys.executable, "-m", "medhub.entrypoints.dimse.listener_process", str(os.getpid())],
                env=os.environ | {"MEDHUB_DATA": str(settings.data)},
            )
            processes[:] = [process]
            if stopping.is_set():
                process.terminate()
            code = process.wait()
            if not stopping.wait(_RESTART_DELAY_S):
                get_logger().error("dimse.ended", code=code)

    thread = threading.Thread(target=keep_running, name="dicom-listener", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        for process in processes:
            process.terminate()
        thread.join(_LISTENER_STOP_TIMEOUT_S)
        for process in processes:
            if process.poll() is None:
                process.kill()


def _freeze_garbage_collector() -> None:
    """Exclude the objects of the start-up, which are never freed, from garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
