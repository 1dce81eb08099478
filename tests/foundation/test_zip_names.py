# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from medhub.foundation.safe_zip import ZipLimits, open_zip
from medhub.foundation.zip_names import read_names


def _archive(names: list[bytes], extra: list[bytes] | None = None) -> bytes:
    """A ZIP whose entries have these names, without the flag for UTF-8."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, name in enumerate(names):
            info = zipfile.ZipInfo(name.decode("latin-1").replace("\\", "?") if name.isascii() else "x" * len(name))
            info.extra = extra[number] if extra else b""
            archive.writestr(info, b"a%d" % number)
    data = buffer.getvalue()
    for name in names:
        if not name.isascii():
            data = data.replace(b"x" * len(name), name, 1)
    directory = data.index(b"PK\x01\x02")
    head, tail = data[:directory], data[directory:]
    for name in names:
        if not name.isascii():
            tail = tail.replace(b"x" * len(name), name, 1)
    return head + tail


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["中性粒细胞/图一.png", "嗜碱性粒细胞/样本（一）.png"]),
        ("gbk", ["细胞/a.png", "b/1.png"]),
        ("big5", ["嗜中性球/圖一.png", "紅血球/圖功.png"]),
        ("cp932", ["好中球/写真1.png", "リンパ球/表.png"]),
        ("cp949", ["호중구/사진1.png", "림프구/사진22.png"]),
        ("cp1251", ["нейтрофил/фото.png"]),
        ("cp866", ["лимфоцит/фото.png"]),
        ("cp437", ["Größe/é.png"]),
        ("cp1252", ["Éosinophile/é.png"]),
        ("utf-8", ["Éosinophile/细胞.png", "plain/1.png"]),
    ],
)
def test_names_are_read_in_the_encoding_of_the_system_that_packed_them(encoding: str, names: list[str]) -> None:
    data = _archive([name.encode(encoding) for name in names])
    with open_zip(io.BytesIO(data), ZipLimits()) as (archive, members):
        assert ["/".join(path) for _, path in members] == names
        assert [archive.read(info) for info, _ in members] == [b"a%d" % number for number in range(len(names))]


def test_a_unicode_path_counts_before_the_encoding_unless_it_is_outdated() -> None:
    raw = "é.png".encode("cp437")
    text = "ɛ́ 细胞.png".encode()
    fields = [
        struct.pack("<HHBI", 0x7075, 5 + len(text), 1, zlib.crc32(value)) + text for value in (raw, b"another name")
    ]
    infos = zipfile.ZipFile(io.BytesIO(_archive([raw], fields[:1]))).infolist()
    assert read_names(infos) == [text.decode()]
    infos = zipfile.ZipFile(io.BytesIO(_archive([raw], fields[1:]))).infolist()
    assert read_names(infos) == ["é.png"]


@pytest.mark.parametrize("extra", [b"up", b"up\xff\xff", struct.pack("<HHB", 0x7075, 1, 1)])
def test_a_damaged_extra_field_leaves_the_name(extra: bytes) -> None:
    info = zipfile.ZipInfo("é.png")
    info.extra = extra
    assert read_names([info]) == ["é.png"]
