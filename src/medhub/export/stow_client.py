# SPDX-License-Identifier: Apache-2.0
"""Sending the DICOM files of a packed export to another archive by STOW-RS (PS3.18, 10.5)."""

from __future__ import annotations

import json
import secrets
import ssl
import zipfile
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import httpx

from medhub.errors import Invalid, Unavailable
from medhub.export.formats.dicom import DICOM_FOLDER
from medhub.nodes import dicom_client

_FILES_PER_REQUEST = 50
_TIMEOUT_S = 600.0
_MAX_RESPONSE_BYTES = 16 * 1024**2
_FAILED_SOP_SEQUENCE, _REFERENCED_SOP_INSTANCE_UID = "00081198", "00081155"


class ArchiveSilent(Unavailable):
    """The other archive does not answer, or its answer is not that of a STOW-RS service."""

    code = "archive-silent"


def store_to_archive(
    path: Path, url: str, token: str | None, on_progress: Callable[[int], None] = lambda _done: None
) -> list[str]:
    """Send the files of a packed export, some in each request; return the names of the files that were rejected.

    A file is read from the ZIP when it is sent, so that one file at a time is in memory. Raises ``ArchiveSilent`` if
    the archive does not answer as STOW-RS requires.
    """
    if not url.startswith(("http://", "https://")):
        raise Invalid("The address of the archive must begin with https:// or http://.", field="stow")
    headers = {"Accept": "application/dicom+json", **({"Authorization": f"Bearer {token}"} if token else {})}
    rejected: list[str] = []
    done = 0
    # The certificates that the system trusts, among which a hospital adds its own, instead of a bundled list.
    context = ssl.create_default_context()
    with (
        zipfile.ZipFile(path) as archive,
        httpx.Client(headers=headers, timeout=_TIMEOUT_S, verify=context) as client,
    ):
        files = [entry for entry in archive.infolist() if entry.filename.startswith(f"{DICOM_FOLDER}/")]
        for start in range(0, len(files), _FILES_PER_REQUEST):
            batch = files[start : start + _FILES_PER_REQUEST]
            rejected += _send_batch(client, f"{url.rstrip('/')}/studies", archive, batch)
            done += len(batch)
            on_progress(done)
    return rejected


def _send_batch(
    client: httpx.Client, url: str, archive: zipfile.ZipFile, files: Sequence[zipfile.ZipInfo]
) -> list[str]:
    boundary = secrets.token_hex(16)
    part_header = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    end = f"--{boundary}--\r\n".encode()
    length = sum(len(part_header) + file.file_size + len(b"\r\n") for file in files) + len(end)
    uids: dict[str, str] = {}

    def stream_body() -> Iterator[bytes]:
        for file in files:
            data = archive.read(file)
            uids[file.filename] = str(dicom_client.uid_of(data))
            yield part_header
            yield data
            yield b"\r\n"
        yield end

    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(length),
    }
    try:
        with client.stream("POST", url, content=stream_body(), headers=headers) as response:
            # 409: no file was stored, and the body says why.
            if not response.is_success and response.status_code != HTTPStatus.CONFLICT:
                raise ArchiveSilent(f"The archive answers with {response.status_code}. Check address and token.")
            content = _read_body(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ArchiveSilent("The archive does not answer. Check its address, and that it runs.") from error
    try:
        items = json.loads(content or b"{}").get(_FAILED_SOP_SEQUENCE, {}).get("Value", [])
        rejected_uids = {item[_REFERENCED_SOP_INSTANCE_UID]["Value"][0] for item in items}
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise ArchiveSilent("The archive does not answer as STOW-RS requires.") from error
    return [name for name, uid in uids.items() if uid in rejected_uids]


def _read_body(response: httpx.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _MAX_RESPONSE_BYTES:
            raise ArchiveSilent("The archive does not answer as STOW-RS requires.")
    return bytes(content)
