# SPDX-License-Identifier: Apache-2.0
"""The upper layer of Medhub beside that of pynetdicom: ``PYTHONPATH=. python bench/dimse_layer.py`` (needs ``dcmtk``).

Both receive the same CT images from ``storescu`` in one association and discard them. Printed are objects a second and
the processor time of the receiving process for each object, which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dimse import objects
from pynetdicom import AE, StoragePresentationContexts, evt
from tests.factories.dicom_nodes import program

from medhub.entrypoints.dimse.associations import AssociatedNode, AssociationServer
from medhub.entrypoints.dimse.command_sets import Command
from medhub.entrypoints.dimse.listener import silence_pynetdicom
from medhub.entrypoints.dimse.upper_layer import ReadDeadlines
from medhub.foundation.byte_budget import ByteBudget
from medhub.nodes.service import DicomNodeInfo


class DiscardingServices:
    """Handlers that accept every node and store nothing."""

    ae_title, most_object_bytes, most_associations, most_unadmitted = "MEDHUB", 10**9, 64, 64
    read_deadlines = ReadDeadlines(30.0, 60.0, 0)
    lease = ByteBudget(10**9).lease

    def recheck(self, peer: AssociatedNode) -> AssociatedNode | None:
        """Every node stays admitted."""
        return peer

    def find_node(self, calling: str, called: str, origin: str) -> DicomNodeInfo:
        """Any node."""
        return DicomNodeInfo("", calling, called, "", 0, False, True, False)

    def store(self, peer: AssociatedNode, syntax: str, command: Command, data: bytearray, *, too_large: bool) -> int:
        """Success."""
        return 0

    def find(self, association: Any, request: Any, context: Any) -> None:
        """Not used."""

    move = get = find

    def create_step(self, association: Any, event: Any) -> tuple[Any, None]:
        """Not used."""
        return 0, None

    change_step = request_commitment = create_step


def serve_medhub() -> tuple[int, Callable[[], None]]:
    """Start the server of Medhub; returns its port, and the function that stops it."""
    ae = AE("MEDHUB")
    ae.maximum_pdu_size = 0
    server = AssociationServer(ae, ("127.0.0.1", 0), DiscardingServices(), None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1]), server.shutdown


def serve_pynetdicom() -> tuple[int, Callable[[], None]]:
    """Start a server of pynetdicom that reads the encoded data set and discards it."""
    ae = AE("MEDHUB")
    ae.maximum_pdu_size = 0
    ae.supported_contexts = StoragePresentationContexts

    def store(event: Any) -> int:
        event.request.DataSet.getvalue()
        return 0

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    return int(server.server_address[1]), server.shutdown


def main() -> None:
    """Print the figures of both sides, in alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    silence_pynetdicom()
    with tempfile.TemporaryDirectory(prefix="medhub-bench-") as name:
        files = objects(Path(name) / "files", options.count, 0)
        for _ in range(options.rounds):
            for side, serve in (("Medhub", serve_medhub), ("pynetdicom", serve_pynetdicom)):
                port, stop = serve()
                cpu, started = time.process_time(), time.perf_counter()
                command = [program("storescu"), "-aec", "MEDHUB", "127.0.0.1", str(port), *map(str, files)]
                subprocess.run(command, check=True, env={**os.environ, "TCP_NODELAY": "1"})
                seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
                stop()
                rate, cost = options.count / seconds, cpu / options.count * 1000
                print(f"{side:<10}  {rate:6.0f} objects/s  {cost:5.2f} ms of processor time an object", flush=True)


if __name__ == "__main__":
    main()
