# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import logging as standard
from collections.abc import Iterator

import pytest
import structlog

from medhub.foundation import logging


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = standard.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)


def fail() -> None:
    patient = "Siti binti Abdullah"
    try:
        raise KeyError(patient)
    except KeyError as error:
        raise ValueError(f"the name is {patient}") from error


def test_an_event_is_a_line_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(as_json=True)
    logging.get_logger().info("image.received", image_id="0193")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["image_id"], line["level"]) == ("image.received", "0193", "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_failure_is_told_by_kind_and_place_without_its_words(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    logging.configure(as_json=as_json)
    try:
        fail()
    except ValueError:
        logging.get_logger().exception("job.failed")
    written = capsys.readouterr().err
    assert "ValueError" in written
    assert "fail" in written
    assert "Siti" not in written


def test_what_other_libraries_log_of_a_failure_has_no_words_either(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure()
    try:
        fail()
    except ValueError:
        standard.getLogger("uvicorn.error").exception("Exception in ASGI application")
    written = capsys.readouterr().err
    assert "Exception in ASGI application" in written
    assert "ValueError" in written
    assert "test_logging.py" in written
    assert "Siti" not in written


def test_what_other_libraries_tell_in_passing_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure()
    standard.getLogger("some.library").info("reading /home/siti/cells.jpg")
    assert capsys.readouterr().err == ""


def test_nothing_is_written_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure()
    logging.get_logger().error("broken")
    assert capsys.readouterr().out == ""
