# SPDX-License-Identifier: Apache-2.0
"""Processes apart: they serve, and nothing that happens in one of them harms its owner."""

from __future__ import annotations

import ctypes
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from medhub.errors import Invalid, MedhubError, Unavailable
from medhub.foundation.isolation import DecoderFailed, Isolation
from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from tests.foundation.hostile_worker import Reading, read


@pytest.fixture(scope="module")
def isolation() -> Iterator[Isolation]:
    with Isolation(workers=1, memory_bytes=1024**3, timeout_s=20) as pool:
        yield pool


def test_a_function_runs_in_another_process_that_stays(isolation: Isolation) -> None:
    first = isolation.run(os.getpid)
    assert first != os.getpid()
    assert isolation.run(os.getpid) == first
    assert isolation.process_ids == [first]


def test_bytes_of_many_megabytes_go_there_and_back(isolation: Isolation) -> None:
    data = os.urandom(24 * 1024**2)
    assert isolation.run(zlib.crc32, data) == zlib.crc32(data)
    assert isolation.run(operator.getitem, [data, b""], 0) == data


def test_plain_values_keep_their_types(isolation: Isolation) -> None:
    values = {"a": [1, 2.5, None, True, "ü"], "b": {"c": b"\x00\xff", "d": [b"", b"x"]}}
    assert isolation.run(operator.getitem, [values], 0) == values


@pytest.mark.parametrize("value", [{1: 2}, {"$bytes": 0}, {1, 2}, object()])
def test_other_values_do_not_travel(isolation: Isolation, value: object) -> None:
    with pytest.raises(TypeError):
        isolation.run(operator.getitem, [value], 0)


def test_a_function_that_cannot_be_named_is_refused(isolation: Isolation) -> None:
    with pytest.raises((ValueError, AttributeError)):
        isolation.run(lambda: 1)


def test_errors_of_the_tree_come_back_as_themselves(isolation: Isolation) -> None:
    with pytest.raises(Unacceptable) as caught:
        isolation.run(
            prepare_arrival,
            b"",
            context=CleaningContext(b"k" * 32, "P", datetime(2026, 1, 1, tzinfo=UTC)),
            limits=DecodingLimits(),
        )
    assert caught.value.reason == "empty"
    assert "0 bytes" in caught.value.message
    assert isinstance(caught.value, Invalid)


def test_other_errors_tell_their_kind_and_place_but_not_their_text(isolation: Isolation) -> None:
    with pytest.raises(DecoderFailed) as caught:
        isolation.run(json.loads, "Doe^Jane")
    assert caught.value.facts["how"] == "error"
    assert caught.value.facts["kind"] == "JSONDecodeError"
    assert "Doe" not in repr(caught.value.facts) + caught.value.message


HOSTILE: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "sleeps": (time.sleep, (1e6,), "timeout"),
    "computes for ever": (pow, (3, 10**9), "timeout"),
    "segfaults": (ctypes.string_at, (1,), "crash"),
    "aborts": (os.abort, (), "crash"),
    "exits": (os._exit, (0,), "crash"),
    "raises SystemExit": (sys.exit, (), "error"),
    "kills itself": (os.kill, (0, signal.SIGKILL), "crash"),
    "takes 10 GB": (operator.mul, (b"x", 10 * 1024**3), "memory"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_work_fails_alone_and_the_pool_goes_on(name: str) -> None:
    function, arguments, how = HOSTILE[name]
    with Isolation(workers=1, memory_bytes=1024**3, timeout_s=1.0) as pool:
        before = pool.run(os.getpid)
        with pytest.raises(DecoderFailed) as caught:
            pool.run(function, *arguments)
        assert caught.value.facts["how"] == how
        after = pool.run(os.getpid)
        assert after != before
        assert not Path(f"/proc/{before}").exists()


def test_a_process_writes_no_file_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDHUB_MASTER_KEY", "canary")
    with Isolation(workers=1) as pool:
        assert pool.run(os.getenv, "MEDHUB_MASTER_KEY") is None
        with pytest.raises(DecoderFailed) as caught:
            pool.run(shutil.copyfile, __file__, str(tmp_path / "copy"))
        assert caught.value.facts["kind"] == "OSError"
        assert not (tmp_path / "copy").exists() or not (tmp_path / "copy").stat().st_size


def test_many_threads_share_few_processes() -> None:
    seen: set[int] = set()
    failures: list[BaseException] = []
    with Isolation(workers=2, timeout_s=20) as pool:

        def work() -> None:
            try:
                for number in range(20):
                    assert pool.run(operator.add, number, 1) == number + 1
                    seen.add(pool.run(os.getpid))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pool.process_ids) <= 2
    assert not failures
    assert 1 <= len(seen) <= 2


def test_threads_that_end_do_not_take_a_process_with_them() -> None:
    process_ids: list[int] = []
    with Isolation(workers=1) as pool:
        thread = threading.Thread(target=lambda: process_ids.append(pool.run(os.getpid)))
        thread.start()
        thread.join()
        time.sleep(0.05)
        assert pool.run(os.getpid) == process_ids[0]


def test_a_call_that_finds_no_free_process_is_told_so() -> None:
    with Isolation(workers=1, timeout_s=20, patience_s=0.05) as pool:
        pool.run(os.getpid)
        thread = threading.Thread(target=lambda: pool.run(time.sleep, 1.0))
        thread.start()
        time.sleep(0.3)
        with pytest.raises(Unavailable, match="Too many"):
            pool.run(os.getpid)
        thread.join()


def test_closing_ends_all_and_refuses_more() -> None:
    pool = Isolation(workers=1, timeout_s=20)
    process = pool.run(os.getpid)
    errors: list[MedhubError] = []

    def work() -> None:
        try:
            pool.run(time.sleep, 20.0)
        except MedhubError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    pool.close()
    thread.join()
    assert type(errors[0]) is Unavailable
    assert not Path(f"/proc/{process}").exists()
    with pytest.raises(Unavailable):
        pool.run(os.getpid)


def test_a_process_is_replaced_after_its_share_of_calls() -> None:
    with Isolation(workers=1, max_calls=2) as pool:
        assert len({pool.run(os.getpid) for _ in range(4)}) == 2


PARENT = """
import os, sys, threading, time
from medhub.foundation.isolation import Isolation
pool = Isolation(workers=2, timeout_s=600)
print(pool.run(os.getpid), flush=True)
threading.Thread(target=lambda: pool.run(pow, 3, 10**9), daemon=True).start()
time.sleep(0.2)
print(pool.run(os.getpid), flush=True)
time.sleep(600)
"""


def test_no_process_outlives_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        children = [int(parent.stdout.readline()) for _ in range(2)]
    assert children[0] != children[1]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 20
    while any(_runs(child) for child in children) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(_runs(child) for child in children)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def hostile() -> Iterator[Isolation]:
    with Isolation(workers=1, memory_bytes=1024**3, timeout_s=5, preload=["tests.foundation.taken_over"]) as pool:
        yield pool


GOOD: dict[str, Any] = {"name": "a", "count": 1, "data": 0, "unit": "cm", "tags": ["x"]}


def _answer(value: object, lengths: object = (1,)) -> str:
    return json.dumps({"value": value, "segments": lengths, "leaving": False})


def test_a_declared_result_comes_back_as_its_type(hostile: Isolation) -> None:
    assert hostile.run(read, _answer(GOOD), [b"7"]) == Reading("a", 1, b"7", "cm", ("x",))


NONSENSE = {
    "no JSON": "}",
    "no object": "[]",
    "no segments": '{"value": 1}',
    "segments that are no list": _answer(GOOD, 7),
    "segments of negative length": _answer(GOOD, [-1]),
    "segments of unknown length": _answer(GOOD, ["1"]),
    "segments of true length": _answer(GOOD, [True]),
    "more segments than a batch has": _answer(GOOD, [0] * 257),
    "more bytes than the process can hold": _answer(GOOD, [2**40]),
    "neither a value nor a failure": '{"segments": [1]}',
    "no record": _answer([1, 2]),
    "null": _answer(None),
    "a field too few": _answer({name: GOOD[name] for name in GOOD if name != "count"}),
    "a field too many": _answer({**GOOD, "__class__": "os.system"}),
    "a number as text": _answer({**GOOD, "count": "1"}),
    "a truth value as a number": _answer({**GOOD, "count": True}),
    "a fraction as a number": _answer({**GOOD, "count": 1.5}),
    "infinity": '{"segments": [1], "value": Infinity}',
    "a text that is none": _answer({**GOOD, "name": ["a"]}),
    "a segment that is not there": _answer({**GOOD, "data": 1}),
    "a segment before the first": _answer({**GOOD, "data": -1}),
    "bytes as text": _answer({**GOOD, "data": "7"}),
    "another literal": _answer({**GOOD, "unit": "km"}),
    "a literal that cannot be hashed": _answer({**GOOD, "unit": ["mm"]}),
    "an item of another type": _answer({**GOOD, "tags": ["x", 1]}),
    "an object for a list": _answer({**GOOD, "tags": {"x": 1}}),
    "endless nesting": '{"segments": [1], "value": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "a failure that is no object": '{"segments": [1], "failure": 7}',
    "a failure of unknown sort": '{"segments": [1], "failure": {"how": ["crash"]}}',
    "a failure of no kind": '{"segments": [1], "failure": {"kinds": 7, "facts": {}, "message": ""}}',
    "a failure of foreign kinds": '{"segments": [1], "failure": {"kinds": ["os:system"], "facts": {}, "message": ""}}',
    "a failure without facts": '{"segments": [1], "failure": {"kinds": ["medhub.errors:Invalid"], "message": ""}}',
    "a failure without a message": '{"segments": [1], "failure": {"kinds": ["medhub.errors:Invalid"], "facts": {}}}',
}


@pytest.mark.parametrize("name", NONSENSE)
def test_an_answer_that_makes_no_sense_is_refused_and_its_process_ended(hostile: Isolation, name: str) -> None:
    before = hostile.run(os.getpid)
    with pytest.raises(DecoderFailed) as caught:
        hostile.run(read, NONSENSE[name], [b"7"])
    assert caught.value.facts["how"] == "answer"
    assert hostile.run(os.getpid) != before


def test_the_facts_of_a_failure_are_plain_and_short(hostile: Isolation) -> None:
    facts = {"reason": "damaged", "nested": {"a": 1}, "message": "another"}
    failure = {"kinds": ["medhub.errors:Invalid"], "message": "x" * 9_999, "facts": facts}
    with pytest.raises(Invalid) as caught:
        hostile.run(read, json.dumps({"segments": [1], "failure": failure}), [b"7"])
    assert caught.value.facts == {"reason": "damaged"}
    assert len(caught.value.message) == 1_000


def test_an_answer_of_too_much_text_is_refused(hostile: Isolation) -> None:
    with pytest.raises(DecoderFailed) as caught:
        hostile.run(read, _answer({**GOOD, "name": "x" * 5 * 1024**2}), [b"7"])
    assert caught.value.facts["how"] == "answer"
