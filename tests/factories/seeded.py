# SPDX-License-Identifier: Apache-2.0
"""Datasets in which each value is known and unique, so that it can be searched."""

from __future__ import annotations

import random
from datetime import date, timedelta
from io import BytesIO
from typing import Any

from pydicom import DataElement, Dataset, FileMetaDataset, Sequence
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from medhub.science.deid.confidentiality_table import rules

CT = "1.2.840.10008.5.1.4.1.1.2"
# A sequence that the table does not name, and so stays with what is in it.
OUTER = 0x0008114A  # Referenced Instance Sequence


class Seeds:
    """Generates unique values.

    Attributes
    ----------
    text
        What was written as text: where (tag, depth) to value.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311  # nothing here is secret
        self._number = 0
        self.text: dict[tuple[int, int], str] = {}
        self.binary: dict[tuple[int, int], bytes] = {}

    def value(self, tag: int, vr: str, depth: int) -> Any:
        """Generate a value of a value representation."""
        self._number += 1
        number = self._number
        where = (tag, depth)
        if vr == "SQ":
            item = Dataset()
            item.add(DataElement(0x00080104, "LO", self.value(tag, "LO", depth)))  # Code Meaning
            return Sequence([item])
        if vr in ("OB", "OW", "OF", "OD", "OL", "OV", "UN"):
            data = self._chance.randbytes(16)
            self.binary[where] = data
            return data
        if vr in ("US", "SS", "UL", "SL"):
            return 20000 + number % 10000
        if vr in ("FD", "FL"):
            return float(number) + 0.5
        if vr == "AT":
            return 0x00080005
        text = {
            "DA": lambda: f"{date(1700, 1, 1) + timedelta(days=number):%Y%m%d}",
            "TM": lambda: f"{number // 3600 % 24:02d}{number // 60 % 60:02d}{number % 60:02d}.{number:06d}",
            "DT": lambda: f"{date(1600, 1, 1) + timedelta(days=number):%Y%m%d}{number % 24:02d}3000.{number:06d}",
            "AS": lambda: f"{number % 899 + 100:03d}D",
            "DS": lambda: f"{number}.{number:05d}",
            "IS": lambda: f"{number + 7_000_000}",
            "UI": lambda: f"1.2.3.{number}.{self._chance.getrandbits(40)}",
            "UR": lambda: f"https://{self._word()}.example/{number}",
            "CS": lambda: f"{self._word()[:10].upper()}{number}",
            "PN": lambda: f"{self._word().title()}^{self._word().title()}",
            "AE": lambda: f"{self._word()[:8]}{number}",
            "SH": lambda: f"{self._word()[:9]}{number}",
        }.get(vr, lambda: f"{self._word()} {self._word()}{number}")()
        self.text[where] = text
        return text

    def _word(self) -> str:
        return "".join(self._chance.choice("bcdfghjklmnpqrstvwxz") for _ in range(10))


def make_seeded_dataset(seeds: Seeds, depth: int) -> Dataset:
    """Make a dataset with all attributes of the table, each with a unique value, nested in ``depth`` sequences."""
    dataset = Dataset()
    for tag in sorted(rules()):
        if tag >> 16 in (0x0000, 0x0002, 0x0004, 0xFFFC) or (tag >> 16) % 2:
            continue  # commands, file meta information, directories, and padding have places of their own
        vr = dictionary_VR(tag)
        dataset.add(DataElement(tag, vr.split(" or ")[0], seeds.value(tag, vr.split(" or ")[0], depth)))
    for _ in range(depth):
        outer = Dataset()
        outer.add(DataElement(OUTER, "SQ", Sequence([dataset])))
        dataset = outer
    return dataset


def encode_file(dataset: Dataset) -> bytes:
    """Encode a dataset as a DICOM file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(CT)
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    dataset.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def nested_dataset(dataset: Dataset, depth: int) -> Dataset:
    """Return the item within ``depth`` sequences."""
    for _ in range(depth):
        dataset = dataset[OUTER].value[0]
    return dataset


def attribute_keyword(tag: int) -> str:
    """Return the keyword of an attribute, for messages."""
    return keyword_for_tag(tag) or f"{tag:08x}"
