# SPDX-License-Identifier: Apache-2.0
"""Runs a program in a network namespace without interfaces, and writes the names that it asks a resolver for as JSON.

``unshare --map-root-user --net --mount python isolated_network.py PROGRAM [ARGUMENT...]``
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading

_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41


def _set_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP_RUNNING))


def _asked_name(question: bytes) -> str:
    labels, position = [], 12
    while position < len(question) and question[position]:
        length = question[position]
        labels.append(question[position + 1 : position + 1 + length].decode("ascii", "replace"))
        position += 1 + length
    return ".".join(labels)


def _answer_questions(resolver: socket.socket, names: list[str]) -> None:
    """Answer every question with NXDOMAIN (RFC 1035, 4.1.1)."""
    while True:
        question, client = resolver.recvfrom(4096)
        names.append(_asked_name(question))
        resolver.sendto(question[:2] + b"\x81\x83" + question[4:6] + b"\x00" * 6 + question[12:], client)


def main() -> int:
    _set_loopback_up()
    names: list[str] = []
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as configuration:
        configuration.write("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n")
        configuration.flush()
        subprocess.run(["mount", "--bind", configuration.name, "/etc/resolv.conf"], check=True)
        resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        resolver.bind(("127.0.0.1", 53))
        threading.Thread(target=_answer_questions, args=(resolver, names), daemon=True).start()
        code = subprocess.run(sys.argv[1:], stdout=sys.stderr, check=False).returncode
    sys.stdout.write(json.dumps(names))
    return code


if __name__ == "__main__":
    sys.exit(main())
