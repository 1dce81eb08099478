# SPDX-License-Identifier: Apache-2.0
"""Connections that send nothing, or too slowly, do not keep known DICOM nodes out."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.entrypoints.test_dimse import add_nodes, node, to
from tests.entrypoints.test_dimse_faults import CT_CLASS, association_request, received
from tests.factories.dicom_nodes import Listener, dcmtk

UNADMITTED = 8


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    data = tmp_path_factory.mktemp("slow") / "data"
    add_nodes(data, node("BOTH"))
    started = Listener(
        data, dicom_associate_s="1", dicom_unadmitted_per_address=str(UNADMITTED), dicom_associations="2"
    ).start()
    yield started
    started.stop()


def connect(listener: Listener, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", listener.port), timeout=30)
    connection.sendall(sent)
    return connection


def is_ended(connection: socket.socket) -> bool:
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


REQUEST = association_request(CT_CLASS)
BEGINNINGS = {
    "nothing": b"",
    "six bytes": REQUEST[:6],
    "ten bytes": REQUEST[:10],
    "half a request": REQUEST[: len(REQUEST) // 2],
    "a long request": struct.pack(">BBI", 1, 0, 1_000_000) + REQUEST[6:],
    "an unknown node": REQUEST.replace(b"BOTH".ljust(16), b"NOBODY".ljust(16)),
}


@pytest.mark.parametrize("sent", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_connection_without_an_association_is_ended(listener: Listener, sent: bytes) -> None:
    with connect(listener, sent) as connection:
        assert is_ended(connection)


def test_an_association_request_that_drips_is_ended(listener: Listener) -> None:
    with connect(listener) as connection:
        connection.settimeout(0.1)
        for number in range(len(REQUEST) - 1):
            try:
                connection.sendall(REQUEST[number : number + 1])
                assert not connection.recv(100)
                return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("the request was read to its end")


@pytest.mark.parametrize("sent", BEGINNINGS.values(), ids=BEGINNINGS)
def test_waiting_connections_do_not_keep_a_known_node_out(listener: Listener, sent: bytes) -> None:
    with ExitStack() as waiting:
        for _ in range(10 * UNADMITTED):
            waiting.enter_context(connect(listener, sent))
        echo = dcmtk("echoscu", *to(listener))
        assert echo.returncode == 0, echo.stderr


def admitted(listener: Listener) -> socket.socket:
    """An association that is accepted, once the places of the tests before are free."""
    for _ in range(100):
        connection = connect(listener, REQUEST)
        if received(connection)[0] == 2:
            return connection
        connection.close()
        time.sleep(0.05)
    pytest.fail("no association was accepted")


def test_associations_beyond_the_limit_are_rejected_and_end_their_places(listener: Listener) -> None:
    with admitted(listener) as first, admitted(listener):
        with connect(listener, REQUEST) as third:
            kind, reason = received(third)
        assert (kind, reason[1:4]) == (3, bytes([2, 3, 2]))
        first.sendall(struct.pack(">BBI", 5, 0, 4) + bytes(4))
        assert received(first)[0] == 6
        assert is_ended(first)
    for _ in range(50):
        with connect(listener, REQUEST) as again:
            if received(again)[0] == 2:
                return
    pytest.fail("the places were not freed")
