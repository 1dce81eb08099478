# SPDX-License-Identifier: Apache-2.0
"""Cleaned files, and leaks of many kinds to plant in them."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Callable

from pydicom import DataElement, Dataset, Sequence

from medhub.science.deid.engine import deidentify
from medhub.science.deid.profile import find_profile
from medhub.science.deid.subject import subject_of
from tests.factories.seeded import CT

KEY = b"a key for tests only"
GIVEN = ("Aisha", "Johannes", "Mei", "Carlos", "Olga", "Ravi", "Fatima", "Liam")
FAMILY = ("Rahman", "Brandstetter", "Tanaka", "Villanueva", "Kowalska", "Subramaniam", "Haddad", "Connor")


def cleaned(profile: str = "basic") -> Dataset:
    """A cleaned file with everything that such a file usually holds."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Doe^Jane", "4711", "20240110"
    dataset.Manufacturer, dataset.SoftwareVersions = "Instrument, Inc.", "2.6.3.6"
    dataset.SeriesDescription = "Chest 5mm B70f 1.25"
    dataset.SliceLocation, dataset.KVP = "-77.2040634155", "120"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "85756007", "SCT", "Body tissue structure"
    dataset.AnatomicRegionSequence = Sequence([code])
    wanted = find_profile(profile)
    return deidentify(dataset, wanted, subject_of(KEY, "4711", "", wanted.dates)).dataset


def _nested(dataset: Dataset, value: str) -> None:
    for _ in range(3):
        outer, item = Dataset(), Dataset()
        item.add(DataElement(0x00081030, "LO", value[:64]))
        outer.ReferencedInstanceSequence = Sequence([item])
        item.ReferencedInstanceSequence = dataset.get("ReferencedInstanceSequence", Sequence([Dataset()]))
        dataset.ReferencedInstanceSequence = Sequence([item])


def _text(dataset: Dataset, value: str) -> None:
    dataset.ImageComments = value


def _bytes(dataset: Dataset, value: bytes) -> None:
    dataset.add(DataElement(0x00189445, "OB", value))


Plant = Callable[[Dataset, random.Random, str, str], None]


def _digits(chance: random.Random, *lengths: int) -> list[str]:
    """Numbers of so many digits, none beginning with 0."""
    return [str(chance.randint(10 ** (length - 1), 10**length - 1)) for length in lengths]


def _day(chance: random.Random) -> tuple[str, str, str]:
    return f"20{chance.randint(10, 24)}", f"{chance.randint(1, 12):02d}", f"{chance.randint(1, 28):02d}"


KINDS: dict[str, Plant] = {
    "name attribute": lambda d, r, g, f: setattr(d, "OperatorsName", f"{f}^{g}"),
    "name with title": lambda d, r, g, f: _text(d, f"reviewed with Dr. {f} again"),
    "name with caret": lambda d, r, g, f: _text(d, f"scan of {f}^{g} repeated"),
    "name with comma": lambda d, r, g, f: _text(d, f"{f}, {g}"),
    "known name in a sentence": lambda d, r, g, f: _text(d, f"as {g.lower()} moved, repeated"),
    "known name, nested": lambda d, r, g, f: _nested(d, f"chest {f.upper()} lung"),
    "date in text": lambda d, r, g, f: _text(d, "compared with {2}/{1}/{0}".format(*_day(r))),
    "date in words": lambda d, r, g, f: _text(d, "surgery {2} March {0}".format(*_day(r))),
    "date attribute": lambda d, r, g, f: setattr(d, "AcquisitionDate", "".join(_day(r))),
    "e-mail": lambda d, r, g, f: _text(d, f"send to {g}.{f}@clinic-{r.randint(1, 99)}.example.org".lower()),
    "telephone": lambda d, r, g, f: _text(d, "call " + "-".join(_digits(r, 3, 3, 4))),
    "address": lambda d, r, g, f: _text(d, f"{r.randint(1, 999)} {r.choice(('Maple', 'Oak', 'Hill'))} Street"),
    "long number": lambda d, r, g, f: _text(d, f"ref {r.randint(10**7, 10**9)}"),
    "labeled number": lambda d, r, g, f: _text(d, f"MRN: {r.choice('ABC')}{r.randint(100, 999)}"),
    "social security number": lambda d, r, g, f: _text(d, "-".join(_digits(r, 3, 2, 4))),
    "address of a machine": lambda d, r, g, f: _text(d, f"from 10.{'.'.join(_digits(r, 2, 2, 2))}"),
    "UID": lambda d, r, g, f: setattr(d, "FrameOfReferenceUID", f"1.3.12.2.{'.'.join(_digits(r, 4, 4))}"),
    "private element": lambda d, r, g, f: d.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", f"{g}"),
    "UTF-16 in bytes": lambda d, r, g, f: _bytes(d, f"Author {g} {f}  ".encode("utf-16-le")),
    "base64 in bytes": lambda d, r, g, f: _bytes(d, base64.b64encode(f"patient {f} {g} scanned".encode()) + b"  "),
    "compressed in a document": lambda d, r, g, f: _bytes(
        d, b"%PDF-1.4\nstream\n" + zlib.compress(f"({g} {f}) Tj".encode()) + b"\nendstream\n"
    ),
}
