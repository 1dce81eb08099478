# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medhub.foundation.blobs import BlobNotFound, BlobStore
from tests.factories.threads import together

DIGEST = hashlib.sha256(b"cells").hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files(blobs: BlobStore) -> list[Path]:
    return sorted(path for path in blobs.folder.rglob("*") if path.is_file())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4096))
def test_bytes_come_back_under_the_digest_of_their_content(blobs: BlobStore, data: bytes) -> None:
    digest = blobs.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.get(digest) == data
    assert blobs.has(digest)
    assert blobs.path(digest).read_bytes() == data


def test_the_same_bytes_are_kept_once(blobs: BlobStore) -> None:
    assert blobs.put(b"cells") == blobs.put(b"cells") == DIGEST
    assert len(files(blobs)) == 1


def test_the_same_bytes_from_many_threads_are_kept_once(blobs: BlobStore) -> None:
    assert set(together(*[lambda: blobs.put(b"cells")] * 8)) == {DIGEST}
    assert [path.name for path in files(blobs)] == [DIGEST]


def test_bytes_and_every_new_folder_are_on_the_disk_before_put_returns(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        acts.append(f"sync {os.readlink(f'/proc/self/fd/{handle}')}")
        sync(handle)

    def replaced(old: str, new: Path) -> None:
        acts.append(f"rename {new}")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    blobs.put(b"cells")
    leaf = blobs.folder / DIGEST[:2] / DIGEST[2:4]
    assert acts[0].startswith(f"sync {blobs.folder / 'incoming'}/")
    rename = acts.index(f"rename {leaf / DIGEST}")
    assert rename > 0
    assert acts.index(f"sync {leaf}") > rename
    assert {f"sync {leaf.parent}", f"sync {blobs.folder}"} <= set(acts)


def test_a_write_that_fails_leaves_nothing(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        blobs.put(b"cells")
    assert files(blobs) == []
    assert not blobs.has(DIGEST)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "../../etc/passwd",
        "/etc/passwd",
        "incoming",
        DIGEST.upper(),
        DIGEST[:-1],
        DIGEST + "0",
        DIGEST + "\n",
        f"../{DIGEST[3:]}",
        "\x00" * 64,
    ],
)
def test_what_is_no_digest_never_becomes_a_path(blobs: BlobStore, name: str) -> None:
    blobs.put(b"cells")
    for act in (blobs.get, blobs.path, blobs.has, blobs.delete):
        with pytest.raises(BlobNotFound):
            act(name)
    assert len(files(blobs)) == 1


def test_missing_bytes_are_told_as_missing(blobs: BlobStore) -> None:
    for act in (blobs.get, blobs.path):
        with pytest.raises(BlobNotFound, match="backup"):
            act(DIGEST)
    assert not blobs.has(DIGEST)


def test_deleting_twice_does_no_harm(blobs: BlobStore) -> None:
    blobs.put(b"cells")
    blobs.delete(DIGEST)
    blobs.delete(DIGEST)
    assert files(blobs) == []


def test_only_the_owner_may_look(blobs: BlobStore) -> None:
    path = blobs.path(blobs.put(b"cells"))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    assert (blobs.folder / "incoming").stat().st_mode & 0o077 == 0


def test_the_check_fails_where_nothing_can_be_written(blobs: BlobStore) -> None:
    blobs.check()
    assert files(blobs) == []
    (blobs.folder / "incoming").rmdir()
    with pytest.raises(OSError, match="incoming"):
        blobs.check()


def test_sweeping_takes_only_what_was_left_half_written_long_ago(blobs: BlobStore) -> None:
    digest = blobs.put(b"cells")
    old, new = blobs.folder / "incoming" / "old", blobs.folder / "incoming" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    os.utime(blobs.path(digest), (long_ago, long_ago))
    assert blobs.sweep() == 1
    assert not old.exists()
    assert new.exists()
    assert blobs.get(digest) == b"cells"
