# SPDX-License-Identifier: Apache-2.0
"""Objects with identifiers in the attributes where clinics put them, and an answer key for each."""

from __future__ import annotations

import random
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset, Sequence, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian

from tests.factories.leaks import FAMILY, GIVEN
from tests.factories.seeded import CT, encode_file
from tests.science.imaging.datasets import file_of

CLINICAL = ("Chest", "Abdomen", "Brain", "Knee", "Lung nodule", "Contrast", "Axial", "T1", "T2 FLAIR")


@dataclass(frozen=True)
class Carrier:
    """A real file that identifiers are planted in."""

    data: bytes
    syntax: UID
    pixels: bool


def make_identified_object(
    number: int, chance: random.Random, carrier: Carrier | None = None
) -> tuple[bytes, dict[str, Any]]:
    """Make an object with identifiers, and its entry of the answer key."""
    dataset = dcmread(BytesIO(carrier.data)) if carrier is not None else Dataset()
    who = number // 10
    person = random.Random(f"person {who}")  # noqa: S311  # nothing here is secret
    given, family = person.choice(GIVEN), person.choice(FAMILY)
    identity = f"H{person.randint(10**6, 10**7)}"
    doctor = chance.choice(FAMILY) + "ova"
    day = f"20{chance.randint(10, 24)}{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}"
    words = " ".join(chance.sample(CLINICAL, 2))
    if carrier is None:
        dataset.SOPClassUID, dataset.Modality = CT, "CT"
    dataset.SOPInstanceUID = f"1.2.826.1.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.826.2.{who}", f"1.2.826.3.{number // 5}"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID = f"{family}^{given}", identity
    dataset.IssuerOfPatientID = ""
    born = f"19{person.randint(30, 99)}{person.randint(1, 12):02d}{person.randint(1, 28):02d}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = born, person.choice("MF"), "067Y"
    dataset.StudyDate = dataset.SeriesDate = day
    dataset.StudyTime = "101500"
    dataset.ReferringPhysicianName, dataset.OperatorsName = f"{doctor}^Ida", f"{doctor}^Tom"
    dataset.InstitutionName, dataset.StationName = "Kampung Awah Hospital", f"CT{number}AWAH"
    dataset.AccessionNumber = f"A{chance.randint(10**6, 10**7)}"
    dataset.SeriesDescription = f"{words} {family}"
    dataset.StudyDescription = f"{words} for Dr. {doctor}"
    telephone = str(chance.randint(10**9, 10**10))
    nurse = chance.choice(FAMILY) + "skaja"  # named nowhere else
    dataset.ImageComments = f"{words}, {given} called +1{telephone} by nurse {nurse}"
    dataset.KVP, dataset.SliceThickness = "120", "1.25"
    item = Dataset()
    item.RequestedProcedureDescription = f"{words} {family}"
    item.RequestedProcedureID = f"R{chance.randint(10**6, 10**7)}"
    dataset.ReferencedInstanceSequence = Sequence([Dataset()])
    dataset.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = f"1.2.826.1.{number // 2}"
    dataset.ReferencedInstanceSequence[0].RequestAttributesSequence = Sequence([item])
    dataset.private_block(0x0029, "ACME 1", create=True).add_new(0x10, "LO", f"{given} {family}")
    if carrier is None:
        dataset.Rows = dataset.Columns = 16
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = np.random.default_rng(number).integers(0, 4095, 256, np.uint16).tobytes()

    def check(category: str, path: str = "", value: str = "") -> dict[str, str]:
        return {"category": category, "path": path, "value": value}

    nested = "(0008,114A)[1](0040,0275)[1]"
    checks = [
        *(check("text_removed", path, value) for path, value in (
            ("(0010,0010)", f"{family} {given}"), ("(0010,0020)", identity), ("(0010,0030)", born),
            ("(0008,0090)", doctor), ("(0008,1070)", doctor), ("(0008,0080)", "Kampung Awah"),
            ("(0008,1010)", dataset.StationName), ("(0008,0050)", dataset.AccessionNumber),
            ("(0008,103E)", family), ("(0008,1030)", doctor), ("(0020,4000)", given),
            ("(0020,4000)", f"1{telephone}"), ("(0020,4000)", nurse),
            (f"{nested}(0032,1060)", family), (f"{nested}(0040,1001)", item.RequestedProcedureID),
            ("(0029,1010)", f"{given} {family}"),
        )),
        *(check("text_retained", path, words) for path in ("(0008,103E)", "(0008,1030)", "(0020,4000)")),
        *(check("tag_retained", path, str(value)) for path, value in (
            ("(0010,0040)", dataset.PatientSex), ("(0010,1010)", "067Y"), ("(0018,0060)", "120"),
            ("(0018,0050)", "1.25"), ("(0008,0030)", "101500"), ("(0008,0008)", dataset.ImageType),
            *((("(0028,0010)", dataset.Rows),) if "Rows" in dataset else ()),
        )),
        check("date_shifted", "(0008,0020)", day),
        check("date_shifted", "(0008,0021)", day),
        *(check("uid_changed", path, value) for path, value in (
            ("(0008,0018)", dataset.SOPInstanceUID), ("(0020,000D)", dataset.StudyInstanceUID))),
        check("uid_consistent", "(0008,0018)", dataset.SOPInstanceUID),
        check("uid_consistent", "(0020,000D)", dataset.StudyInstanceUID),
        check("uid_consistent", "(0020,000E)", dataset.SeriesInstanceUID),
        check("uid_consistent", "(0008,114A)[1](0008,1155)", f"1.2.826.1.{number // 2}"),
        check("patient_consistent", "(0010,0020)"),
        *([check("pixels_retained")] if "PixelData" in dataset else []),
    ]  # fmt: skip
    data = encode_file(dataset) if carrier is None else file_of(dataset, _syntax(carrier))
    return data, {"input": f"{number}.dcm", "patient": str(who), "checks": checks}


def _syntax(carrier: Carrier) -> UID:
    """Deflated files are written without compression."""
    return carrier.syntax if carrier.syntax.is_encapsulated and carrier.pixels else ExplicitVRLittleEndian
