# SPDX-License-Identifier: Apache-2.0
"""Hostile nodes, and a listener that is killed in the middle of receiving.

``MEDHUB_TEST_KILL_OBJECTS=5000 MEDHUB_TEST_KILL_SEED=7`` sets the number of objects and the moments of the kills.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from sqlalchemy import func, select

from medhub.audit.service import verify_chain
from medhub.foundation.isolation import Isolation
from medhub.ingest.journal import count_unreadable
from medhub.ingest.models import Arrival, Receipt
from medhub.records.models import Image
from tests.entrypoints.test_dimse import add_nodes, count, node, outcomes, to
from tests.factories.cts import ct
from tests.factories.dicom_nodes import Listener, dcmtk, program, wait_for

OBJECTS = int(os.environ.get("MEDHUB_TEST_KILL_OBJECTS", "1000"))
SEED = int(os.environ.get("MEDHUB_TEST_KILL_SEED", "1"))

CT_CLASS = str(CTImageStorage).encode()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    data = tmp_path_factory.mktemp("faults") / "data"
    add_nodes(data, node("BOTH"))
    started = Listener(data, dicom_idle_s="5", upload_max_bytes="300000").start()
    yield started
    started.stop()


@pytest.fixture
def connection(listener: Listener) -> Iterator[socket.socket]:
    """An association with contexts 1 (CT) and 3 (finding studies), over whose connection a test sends what it likes."""
    with socket.create_connection(("127.0.0.1", listener.port), timeout=30) as opened:
        opened.sendall(association_request(CT_CLASS, b"1.2.840.10008.5.1.4.1.2.2.1"))
        assert received(opened)[0] == 2  # accepted
        yield opened


def association_request(*classes: bytes) -> bytes:
    """An A-ASSOCIATE-RQ PDU (PS3.8 section 9.3.2) of the node BOTH."""

    def item(kind: int, data: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(data)) + data

    contexts = b"".join(
        item(0x20, bytes([2 * number + 1, 0, 0, 0]) + item(0x30, sop_class) + item(0x40, b"1.2.840.10008.1.2.1"))
        for number, sop_class in enumerate(classes)
    )
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
    titles = b"MEDHUB".ljust(16) + b"BOTH".ljust(16) + bytes(32)
    body = struct.pack(">HH", 1, 0) + titles + item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BBI", 1, 0, len(body)) + body


def received(connection: socket.socket) -> tuple[int, bytes]:
    """The type and content of the next PDU; type 0 where the connection has ended."""
    with suppress(ConnectionError):
        head = connection.recv(6, socket.MSG_WAITALL)
        if len(head) == 6:
            kind, _, length = struct.unpack(">BBI", head)
            return kind, connection.recv(length, socket.MSG_WAITALL)
    return 0, b""


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def command(field: int = 1, instance: bytes = b"1.2.3.4", sop_class: bytes = CT_CLASS, data_set: int = 1) -> bytes:
    """The command set of a request, as a hostile node may write it."""
    short = struct.Struct("<H").pack
    body = element(2, sop_class) + element(0x100, short(field)) + element(0x110, short(7)) + element(0x700, short(0))
    body += element(0x800, short(data_set)) + element(0x1000, instance)
    return element(0, struct.pack("<I", len(body))) + body


def pdv(control: int, data: bytes, context: int = 1) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, control) + data


def pdu(*values: bytes, kind: int = 4) -> bytes:
    body = b"".join(values)
    return struct.pack(">BBI", kind, 0, len(body)) + body


def data_set_of(file: bytes) -> bytes:
    """The part of a file that is sent over the network: its data set without preamble and file meta information."""
    return file[144 + struct.unpack_from("<I", file, 140)[0] :]


def sent(connection: socket.socket, *parts: bytes) -> int | None:
    """Send raw bytes; returns the status of the response, or ``None`` if the association is aborted."""
    with suppress(ConnectionError):
        connection.sendall(b"".join(parts))
    kind, body = received(connection)
    if kind == 4:
        status = re.search(rb"\0\0\0\x09\x02\0\0\0(..)", body, re.DOTALL)
        assert status is not None
        return int.from_bytes(status[1], "little")
    assert kind in (0, 7)
    return None


UIDS = {
    "path": b"../../../etc/cron.d/x",
    "absolute": b"/etc/passwd\0",
    "nul": b"1.2\x003.4.5",
    "empty": b"",
    "letters": b"1.2.three\0",
    "long": b"1." + b"2" * 70,
}


@pytest.mark.parametrize("uid", UIDS.values(), ids=UIDS)
def test_an_instance_that_is_named_by_no_uid_is_refused_by_its_status(connection: socket.socket, uid: bytes) -> None:
    assert sent(connection, pdu(pdv(3, command(instance=uid))), pdu(pdv(2, data_set_of(ct())))) == 0x0117
    # The association continues.
    assert sent(connection, pdu(pdv(3, command(sop_class=uid)), pdv(2, data_set_of(ct())))) == 0x0122


BROKEN = {
    "command-64-kB": pdu(pdv(3, command(instance=b"1" * 65_534))),
    "command-cut-off": pdu(pdv(3, command()[:-3])),
    "command-of-another-group": pdu(pdv(3, struct.pack("<HHI", 8, 0x18, 4) + b"1.2\0")),
    "command-that-nobody-knows": pdu(pdv(3, command(field=0x0777, data_set=0x0101))),
    "command-without-numbers": pdu(pdv(3, element(0x100, b""))),
    "command-without-end": pdu(pdv(1, b"\0" * 20_000)),
    "data-without-command": pdu(pdv(2, b"data")),
    "data-of-another-context": pdu(pdv(3, command()), pdv(2, b"data", context=3)),
    "context-that-was-not-negotiated": pdu(pdv(3, command(), context=99), pdv(2, b"data", context=99)),
    "store-without-data": pdu(pdv(3, command(data_set=0x0101))),
    "two-commands": pdu(pdv(3, command()), pdv(3, command())),
    "identifier-of-2-MB": pdu(pdv(3, command(field=0x20), context=3)) + pdu(pdv(2, b"\0" * 2_000_000, context=3)),
    "value-longer-than-its-PDU": struct.pack(">BBI", 4, 0, 20) + struct.pack(">IBB", 4_000_000_000, 1, 3) + b"x" * 14,
    "value-shorter-than-itself": pdu(struct.pack(">IBB", 1, 1, 3) + b"1234"),
    "PDU-that-nobody-knows": pdu(b"1234", kind=99),
    "association-of-4-GB": struct.pack(">BBI", 1, 0, 0xFFFFFFFF) + b"x" * 64,
    "empty-PDU": struct.pack(">BBI", 4, 0, 0) + b"\0" * 10,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_protocol_ends_its_association_alone(
    connection: socket.socket, listener: Listener, broken: bytes
) -> None:
    assert sent(connection, broken) is None
    assert dcmtk("echoscu", *to(listener)).returncode == 0


def test_a_length_that_lies_makes_nothing_large(connection: socket.socket, listener: Listener) -> None:
    assert listener.process is not None
    status = Path(f"/proc/{listener.process.pid}/status")

    def resident() -> int:
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status.read_text())[0])

    before = resident()
    # 4 GB are announced and 1 MB is sent; the idle timeout ends the association.
    announced = struct.pack(">BBI", 4, 0, 0xFFFFFFF0) + struct.pack(">IBB", 0xFFFFFFEC, 1, 2)
    assert sent(connection, pdu(pdv(3, command())), announced, b"x" * 1_000_000) is None
    assert resident() - before < 100_000


def test_an_object_that_is_too_large_is_refused_by_its_status(
    connection: socket.socket, listener: Listener, isolation: Isolation
) -> None:
    large = pdu(pdv(3, command())) + b"".join(pdu(pdv(0, b"x" * 100_000)) for _ in range(5))
    with listener.app(isolation) as app:
        before = len(outcomes(app))
        assert sent(connection, large, pdu(pdv(2, b"end"))) == 0xA700
        assert sent(connection, pdu(pdv(3, command()), pdv(2, data_set_of(ct(PatientID="large"))))) == 0x0000
        wait_for(lambda: len(outcomes(app)) == before + 1, "the object that follows")


def renamed(instance: str, uid: str) -> bytes:
    """An object in which the Study and SOP Instance UID are replaced by an invalid value."""
    data = ct(PatientID=f"evil {instance}", SOPInstanceUID=instance, StudyInstanceUID="9.8.7.6.5")
    for known in (instance, "9.8.7.6.5"):
        value = known.encode() + b"\0" * (len(known) % 2)
        longer = uid.encode() + b"\0" * (len(uid) % 2)
        data = data.replace(
            b"UI" + struct.pack("<H", len(value)) + value, b"UI" + struct.pack("<H", len(longer)) + longer
        )
    return data


def test_hostile_tags_become_no_path(connection: socket.socket, listener: Listener, isolation: Isolation) -> None:
    hostile = {
        "up": renamed("1.2.3.6", "../../evil"),
        "absolute": renamed("1.2.3.5", "/evil"),
        "long": renamed("1.2.3.9", "1." + "2" * 59_998),
        "nul": renamed("1.2.3.7", "1.2\x003.evil"),
        "no-dicom": b"\0" * 144 + b"evil" * 100,
    }
    with listener.app(isolation) as app:
        before = len(outcomes(app))
        for data in hostile.values():
            assert sent(connection, pdu(pdv(3, command()), pdv(2, data_set_of(data)))) == 0
        wait_for(lambda: len(outcomes(app)) == before + len(hostile), "the hostile objects")
        with app.database.reading() as session:
            for image in session.scalars(select(Image)):
                assert image.sop_instance_uid.startswith("2.25.")
    names = [str(path.relative_to(listener.data)) for path in listener.data.rglob("*")]
    assert [name for name in names if "evil" in name or ".." in name] == []
    assert b"evil" not in listener.log.read_bytes()


# Killed.


def objects_in(folder: Path) -> list[Path]:
    """Small CT objects of several patients, each with pixels of its own."""
    folder.mkdir()
    dataset = dcmread(BytesIO(ct()))
    for number in range(OBJECTS):
        patient = number // 250
        dataset.PatientID, dataset.StudyInstanceUID = f"K-{patient}", f"1.2.77.{patient + 1}"
        dataset.SeriesInstanceUID, dataset.InstanceNumber = f"1.2.77.{patient + 1}.0", number + 1
        dataset.SOPInstanceUID = f"1.2.77.{patient + 1}.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PixelData = number.to_bytes(4, "little") * 128
        dataset.save_as(folder / f"{number:05d}.dcm")
    return sorted(folder.iterdir())


class Sender:
    """storescu with a list of files; its log names those that were acknowledged."""

    def __init__(self, listener: Listener, title: str, files: list[Path], log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [program("storescu"), "-v", "-nh", *to(listener, title), *map(str, files)],
                env={**os.environ, "TCP_NODELAY": "1"}, stdout=out, stderr=out,
            )  # fmt: skip

    def acknowledged(self) -> set[str]:
        """Names of the files for which storescu received the status success."""
        names, name = set(), ""
        for line in self.log.read_text(errors="replace").splitlines():
            if "Sending file:" in line:
                name = Path(line.split("Sending file:")[1].strip()).name
            elif "Received Store Response (Success)" in line:
                names.add(name)
        return names


def test_what_was_acknowledged_is_there_once_when_all_is_killed(tmp_path: Path, isolation: Isolation) -> None:
    random_source = random.Random(SEED)  # noqa: S311 - moments, not secrets
    data = tmp_path / "data"
    add_nodes(data, node("BOTH"), node("SECOND"))
    listener = Listener(data).start()
    files = objects_in(tmp_path / "objects")
    senders = [
        Sender(listener, title, files[half::2], tmp_path / f"{title}.log")
        for half, title in enumerate(("BOTH", "SECOND"))
    ]

    def acknowledged() -> set[str]:
        return senders[0].acknowledged() | senders[1].acknowledged()

    try:
        # First the intake process is killed, which no sender notices; then the listener with all its processes.
        kills: list[tuple[float, Callable[[], None]]] = [
            (0.2, lambda: os.kill(listener.intake_process(), signal.SIGKILL)),
            (0.6, listener.kill),
        ]
        for share, kill in kills:
            least_acknowledged = share * OBJECTS + random_source.uniform(0, 0.1 * OBJECTS)
            wait_for(lambda: len(acknowledged()) >= least_acknowledged, "acknowledgements")  # noqa: B023
            kill()
        for sender in senders:
            sender.process.wait(60)
        acknowledged_names = acknowledged()
        assert len(acknowledged_names) < OBJECTS
        listener.start()
        with listener.app(isolation) as app:
            # Before anything is sent again: each acknowledged object is ingested from the journal exactly once.
            wait_for(lambda: not list(data.glob("intake/*/*.journal")), "an empty journal")
            assert len(acknowledged_names) <= count(app) <= len(acknowledged_names) + len(senders)
            assert set(outcomes(app)) == {"accepted"}
            unacknowledged = [path for path in files if path.name not in acknowledged_names]
            assert dcmtk("dcmsend", *to(listener), *unacknowledged).returncode == 0
            wait_for(lambda: count(app) == OBJECTS, "all objects")
            wait_for(lambda: not list(data.glob("intake/*/*.journal")), "an empty journal")
            with app.database.reading() as session:
                outcome_counts = Counter(session.scalars(select(Arrival.outcome)))
                receipts = session.scalar(select(func.count()).select_from(Receipt))
                uids = set(session.scalars(select(Image.sop_instance_uid)))
                assert verify_chain(session).broken_at is None
            assert (len(uids), receipts, outcome_counts["accepted"]) == (OBJECTS, OBJECTS, OBJECTS)
            # At most one object of each sender was in the journal without an acknowledgement, and is sent twice.
            assert set(outcome_counts) <= {"accepted", "duplicate"}
            assert outcome_counts["duplicate"] <= len(senders)
            assert count_unreadable(app.settings.intake_folder) == 0
    finally:
        listener.stop()
