# SPDX-License-Identifier: Apache-2.0
"""Other de-identification programs for DICOM, used as documented; those of the extra ``bench`` are run."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydicom import Dataset, dcmread

Clean = Callable[[Dataset], Dataset]


@contextlib.contextmanager
def _without_this_folder() -> Iterator[None]:
    """Import an installed package, not the benchmark in this folder with the same name."""
    before = sys.path[:]
    sys.path[:] = [folder for folder in before if Path(folder).resolve() != Path(__file__).parent.resolve()]
    try:
        yield
    finally:
        sys.path[:] = before


def _dicognito() -> Clean:
    anonymizer = import_module("dicognito.anonymizer").Anonymizer(seed="bench")

    def clean(dataset: Dataset) -> Dataset:
        anonymizer.anonymize(dataset)
        return dataset

    return clean


def _deid(**options: bool) -> Callable[[], Clean]:
    def make() -> Clean:
        os.environ["MESSAGELEVEL"] = "QUIET"
        with _without_this_folder():
            replace = import_module("deid.dicom").replace_identifiers

        def clean(dataset: Dataset) -> Dataset:
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / "1.dcm"
                dataset.save_as(path, enforce_file_format=True)
                done: Dataset = replace(dicom_files=[str(path)], **options)[0]
                return done

        return clean

    return make


def _dicom_anonymizer(table: str) -> Callable[[], Clean]:
    def make() -> Clean:
        module = import_module("dicomanonymizer.simpledicomanonymizer")

        def clean(dataset: Dataset) -> Dataset:
            module.anonymize_dataset(dataset, base_rules_gen=getattr(module, table))
            return dataset

        return clean

    return make


# What each row says, the distribution, and how it is made ready.
OTHERS: tuple[tuple[str, str, Callable[[], Clean]], ...] = (
    ("dicognito", "dicognito", _dicognito),
    ("deid, its own recipe", "deid", _deid()),
    ("deid, sequences and private removed", "deid", _deid(strip_sequences=True, remove_private=True)),
    ("dicom-anonymizer", "dicom-anonymizer", _dicom_anonymizer("initialize_actions")),
    ("dicom-anonymizer, table of 2024b", "dicom-anonymizer", _dicom_anonymizer("initialize_actions_2024b")),
)


def installed_version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or ``None``."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def clean_with(clean: Clean, data: bytes) -> bytes:
    """De-identify a file with another program, and write the result."""
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            done = clean(dcmread(io.BytesIO(data)))
            out = io.BytesIO()
            # As it is: not each of them leaves what a file must have.
            done.save_as(out, enforce_file_format=False)
    finally:
        logging.disable(logging.NOTSET)
    return out.getvalue()
