# SPDX-License-Identifier: Apache-2.0
"""Images as they come in life, and as they come from somebody who means harm: each gets an answer, nothing is lost."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags
from PIL import Image as Picture
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.ingest.models import Arrival
from medhub.records.models import Image
from tests.factories.accounts import People
from tests.factories.cases import make_patient, upload
from tests.factories.images import photograph


def saved(mode: str, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with Picture.open(io.BytesIO(photograph(5, size=80))) as picture:
        picture.convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def deep() -> bytes:
    buffer = io.BytesIO()
    ramp = np.linspace(0, 65535, 80 * 60, dtype=np.uint16).reshape(60, 80)
    Picture.fromarray(ramp).save(buffer, "PNG")
    return buffer.getvalue()


def rotated() -> bytes:
    exif = Picture.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    Picture.new("RGB", (80, 40), (200, 30, 30)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def animated(form: str) -> bytes:
    frames = [Picture.new("RGB", (40, 40), (shade, 0, 0)) for shade in (0, 120, 250)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def tiff_that_declares(width: int, height: int) -> bytes:
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, height), (279, 4, 100)]
    body = b"".join(
        struct.pack("<HHI", tag, kind, 1) + (struct.pack("<I", value) if kind == 4 else struct.pack("<HH", value, 0))
        for tag, kind, value in entries
    )
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + bytes(4 + 100)


ACCEPTED = {
    "CMYK": saved("CMYK", "JPEG"),
    "grey": saved("L", "JPEG"),
    "palette": saved("P", "PNG"),
    "one bit": saved("1", "PNG"),
    "transparent": saved("RGBA", "PNG"),
    "sixteen bits": deep(),
    "progressive": saved("RGB", "JPEG", progressive=True),
    "packed TIFF": saved("RGB", "TIFF", compression="tiff_lzw"),
    "rotated": rotated(),
    "a PNG called .jpg": saved("RGB", "PNG"),
}
REFUSED = {
    "empty": (b"", "empty"),
    "a text": (b"These are not the cells that you look for.", "not-an-image"),
    "half": (photograph(6)[: len(photograph(6)) // 2], "truncated"),
    "a moving GIF": (animated("GIF"), None),
    "a moving PNG": (animated("PNG"), "animated"),
    "a moving WebP": (animated("WEBP"), "animated"),
    "a huge PNG": (png_that_declares(60_000, 60_000), "too-many-pixels"),
    "a huge TIFF": (tiff_that_declares(100_000, 100_000), "too-many-pixels"),
    "a PNG of no height": (png_that_declares(10, 0), None),
    "a ZIP": (b"PK\x03\x04" + bytes(200), None),
}


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_every_odd_image_gets_an_answer_of_its_own_and_nothing_is_lost(app: AppContext, people: People) -> None:
    technologist, patient_id = people.actor(app, Role.TECHNOLOGIST), make_patient(app, people)
    upload(app, technologist, patient_id, photograph(1))  # what is loaded once is not counted
    before = memory()
    taken = dict(zip(ACCEPTED, upload(app, technologist, patient_id, *ACCEPTED.values()), strict=True))
    files = [data for data, _ in REFUSED.values()]
    refused = dict(zip(REFUSED, upload(app, technologist, patient_id, *files), strict=True))
    assert {name: answer.reason for name, answer in taken.items() if answer.outcome != "accepted"} == {}
    assert {name for name, answer in refused.items() if answer.outcome != "quarantined"} == set()
    assert all(answer.reason and answer.reason.endswith(".") for answer in refused.values())
    with app.database.reading() as session:
        codes = [
            arrival.code
            for arrival in session.scalars(select(Arrival).where(Arrival.outcome == "quarantined").order_by(Arrival.id))
        ]
        images = {image.id: image for image in session.scalars(select(Image))}
    assert [code for code, (_, wanted) in zip(codes, REFUSED.values(), strict=True) if wanted not in {None, code}] == []
    assert len(images) == len(ACCEPTED) + 1
    turned = images[str(taken["rotated"].image_id)]
    assert (turned.width, turned.height) in {(40, 80), (80, 40)}
    assert memory() - before < 200 * 1024, "the server's own memory does not hold what was declared"


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_never_break_the_way_in(app: AppContext, people: People, seed: int) -> None:
    generator = np.random.default_rng(seed)
    technologist, patient_id = people.actor(app, Role.TECHNOLOGIST), make_patient(app, people)
    files = []
    for image_format in ("JPEG", "PNG", "TIFF", "WEBP"):
        data = bytearray(photograph(seed, size=48, form=image_format))
        for offset in generator.integers(0, len(data), 12):
            data[offset] = generator.integers(0, 256)
        files.append(bytes(data))
    outcomes = upload(app, technologist, patient_id, *files)
    assert {outcome.outcome for outcome in outcomes} <= {"accepted", "quarantined"}
    with app.database.reading() as session:
        assert len(session.scalars(select(Arrival)).all()) == len(files)
