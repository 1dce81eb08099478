# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import struct
import zipfile
from collections import Counter

import pytest

from medhub.foundation.safe_zip import ArchiveRefused
from medhub.training.labeled_zip import LabeledZipLimits, read_archive
from tests.factories.colors import packed

LIMITS = LabeledZipLimits(max_files=50, max_file_bytes=100_000, max_unpacked_bytes=300_000, max_labels=5)


def read(data: bytes, limits: LabeledZipLimits = LIMITS) -> list[tuple[str, str | None, bytes]]:
    return [(file.label, file.group, file.data) for file in read_archive(data, limits)]


def test_a_folder_is_a_label() -> None:
    data = packed({"red/1.png": b"a", "set/green/deep/2.png": b"b", "__MACOSX/red/._1.png": b"x", ".DS_Store": b"x"})
    assert read(data) == [("red", None, b"a"), ("deep", None, b"b")]


def test_a_list_gives_labels_and_groups() -> None:
    listed = "path,label,group\r\nimages/1.png,red,A\r\n./images/2.png,green,\r\n"
    data = packed({"set/labels.csv": listed.encode(), "set/images/1.png": b"a", "set/images/2.png": b"b"})
    assert read(data) == [("red", "A", b"a"), ("green", None, b"b")]


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("path,label\n../../etc/passwd,red\n", "not in the ZIP"),
        ("path,label\n1.png,red\n1.png,green\n", "second time"),
        ("path,label\n2.png,red\n", "not in the ZIP"),
        ("file,class\n1.png,red\n", "lacks the columns path and label.*file,class"),
        ("path,label\n1.png,\x07\n", "cannot be printed"),
        ("path,label\n", "names no image"),
        ("path,label\n2.txt,red\n", "1 images of the ZIP are not in labels.csv"),
        ("path,label,group,split\n1.png,red,A,exam\n", "train, val or test"),
        ("path,label,label\n1.png,red,blue\n", "column label twice"),
    ],
)
def test_a_list_that_is_wrong_is_told(listed: str, words: str) -> None:
    with pytest.raises(ArchiveRefused, match=words):
        read(packed({"labels.csv": listed.encode(), "1.png": b"a", "2.txt": b"b"}))


@pytest.mark.parametrize(
    "listed",
    [
        "Path,Label,Group\n1.png,red,A\n2.png,+,B\n",
        " LABEL ; GROUP ; PATH \r\nred;A;1.png\r\n+;B;2.png\r\n;;\r\n",
        "sep=;\npath;label;group\n1.png;red;A\n2.png;+;B\n",
        "sep=\r\npath,label,group\r\n1.png,red,A\r\n2.png,+,B\r\n",
        "path\tlabel\tgroup\tnote\n1.png\tred\tA\tx, y\n2.png\t+\tB\t\n",
        "path|label|group\n.\\1.png|red|A\n./2.PNG|+|B\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_is_read_however_a_spreadsheet_wrote_it(listed: str, encoding: str) -> None:
    data = packed({"Labels.csv": listed.encode(encoding), "1.png": b"a", "2.png": b"b"})
    assert read(data) == [("red", "A", b"a"), ("+", "B", b"b")]


def test_parts_in_the_list_are_respected() -> None:
    listed = "path,label,group,split\n1.png,red,A,Train\n2.png,red,B,test\n"
    data = packed({"labels.csv": listed.encode(), "1.png": b"a", "2.png": b"b"})
    assert [file.part for file in read_archive(data, LIMITS)] == ["train", "test"]
    for wrong, words in (((",test", ","), "1 of 2 images"), (("B,test", "A,test"), "one group in two parts")):
        with pytest.raises(ArchiveRefused, match=words):
            read(packed({"labels.csv": listed.replace(*wrong).encode(), "1.png": b"a", "2.png": b"b"}))


def test_labels_that_differ_by_form_or_case_are_one() -> None:
    names = ["Cafe\u0301/1.png", "Caf\u00e9/2.png", "caf\u00e9/3.png", "K/4.png", "k/5.png"]
    labels = [label for label, _, _ in read(packed(dict.fromkeys(names, b"a")))]
    assert labels == ["Caf\u00e9"] * 3 + ["K", "k"]


def test_documents_beside_the_images_are_counted_and_not_read() -> None:
    documents: Counter[str] = Counter()
    files = {"README.txt": b"x", "LICENSE": b"x", "red/1.png": b"a", "red/notes.md": b"x", "metadata.csv": b"x"}
    assert [file.data for file in read_archive(packed(files), LIMITS, documents)] == [b"a"]
    assert documents == {".txt": 1, "license": 1, ".md": 1, ".csv": 1}


@pytest.mark.parametrize("name", ["../1.png", "red/../../1.png", "/etc/1.png", "C:/red/1.png", "..\\red\\1.png"])
def test_a_name_that_leaves_the_archive_is_refused(name: str) -> None:
    with pytest.raises(ArchiveRefused, match="outside"):
        read(packed({"red/0.png": b"a", name: b"b"}))


def test_a_symbolic_link_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("red/1.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveRefused, match="symbolic link"):
        read(buffer.getvalue())


def test_an_archive_in_the_archive_is_refused() -> None:
    with pytest.raises(ArchiveRefused, match="archive inside"):
        read(packed({"red/1.png": b"a", "red/more.ZIP": packed({"red/2.png": b"b"})}))


def test_what_grows_too_much_is_refused_before_it_is_unpacked() -> None:
    limits = LabeledZipLimits(max_file_bytes=50 * 1024**2)
    with pytest.raises(ArchiveRefused, match="grows too much"):
        read(packed({"red/1.bmp": bytes(20 * 1024**2)}, zipfile.ZIP_DEFLATED), limits)


def test_too_much_is_refused() -> None:
    with pytest.raises(ArchiveRefused, match="60 files; at most 50"):
        read(packed({f"red/{n}.png": b"a" for n in range(60)}))
    with pytest.raises(ArchiveRefused, match="larger than 0 MB"):
        read(packed({"red/1.png": bytes(100_001)}))
    with pytest.raises(ArchiveRefused, match="The unpacked ZIP is larger"):
        read(packed({f"red/{n}.png": bytes(90_000) for n in range(4)}))
    with pytest.raises(ArchiveRefused, match="6 labels"):
        read(packed({f"{n}/1.png": b"a" for n in range(6)}))


def test_a_file_that_is_longer_than_it_says_is_refused() -> None:
    data = bytearray(packed({"red/1.png": b"a" * 5000}, zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 10)
    with pytest.raises(ArchiveRefused):
        read(bytes(data))


def test_files_that_overlap_are_refused() -> None:
    """As in the archives of Fifield (2019): many entries of the directory name the same packed bytes."""
    data = packed({"red/1.png": bytes(range(256)) * 100})
    start = data.index(b"PK\x01\x02")
    entry, last = data[start : data.index(b"PK\x05\x06")], data[data.index(b"PK\x05\x06") :]
    entries = [entry.replace(b"red/1.png", f"red/{n}.png".encode()) for n in range(1, 9)]
    end = bytearray(last)
    struct.pack_into("<HHI", end, 8, len(entries), len(entries), sum(map(len, entries)))
    with pytest.raises(ArchiveRefused, match="overlap"):
        read(data[:start] + b"".join(entries) + bytes(end))


def test_a_directory_that_claims_too_much_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(packed({"red/1.png": b"a"}))
    struct.pack_into("<HHI", data, data.index(b"PK\x05\x06") + 8, 60_000, 60_000, 100)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefused, match="lists 60,000 files"):
        read(bytes(data))


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveRefused):
        read(data)


def test_a_damaged_archive_is_refused_wherever_the_damage_is() -> None:
    complete = packed({f"red/{n}.png": bytes(range(200)) for n in range(3)}, zipfile.ZIP_DEFLATED)
    for at in range(0, len(complete), 7):
        data = bytearray(complete)
        data[at] ^= 0xFF
        try:
            read(bytes(data))
        except ArchiveRefused:
            continue


def test_an_encrypted_archive_is_refused() -> None:
    data = bytearray(packed({"red/1.png": b"a"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ArchiveRefused, match="encrypted"):
        read(bytes(data))


def test_an_image_in_no_folder_needs_a_list() -> None:
    with pytest.raises(ArchiveRefused, match=r"labels\.csv"):
        read(packed({"1.png": b"a"}))


def _end_as_zip64(data: bytes, count: int | None = None, size: int | None = None) -> bytes:
    """The archive with its numbers in a ZIP64 end record alone, as streaming programs write it."""
    end = data.index(b"PK\x05\x06")
    files, stored, start = struct.unpack_from("<HII", data, end + 10)
    count, size = count or files, size or stored
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + last


def test_a_small_archive_in_zip64_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("red/1.png", "w", force_zip64=True) as file:
        file.write(b"a")
    assert read(_end_as_zip64(buffer.getvalue())) == [("red", None, b"a")]


@pytest.mark.parametrize(("count", "size", "words"), [(10**9, None, "1,000,000,000 files"), (None, 10**12, "too long")])
def test_a_directory_in_zip64_that_claims_too_much_is_refused_before_it_is_read(
    count: int | None, size: int | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _end_as_zip64(packed({"red/1.png": b"a"}), count, size)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefused, match=words):
        read(data)
