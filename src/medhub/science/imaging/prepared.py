# SPDX-License-Identifier: Apache-2.0
"""An image on its way into the store: what the receiver knows of it, and what it became."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True)
class Context:
    """What the receiver knows of an arrival, and what is written in place of what was received.

    Attributes
    ----------
    uid_key
        Secret of the project for keyed UIDs, at least 16 bytes.
    patient_code
        Generated code of the patient.
    received_at
        When the file was received; the only date that is written.
    sex
        "F", "M", "O" or ``None``.
    birth_year
        Year of birth, from which an age in years is written.
    photograph_modality
        "XC" for a photograph, "GM" for one through a microscope.
    study_instance_uid, series_instance_uid
        Study and series that a photograph joins; made from patient and day when not given. DICOM keeps its own
        grouping under keyed UIDs.
    number
        Instance number of a photograph.
    """

    uid_key: bytes
    patient_code: str
    received_at: datetime
    sex: str | None = None
    birth_year: int | None = None
    photograph_modality: Literal["XC", "GM"] = "GM"
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    number: int = 1

    def to_wire(self) -> dict[str, Any]:
        """Write the context as plain values, for a process apart."""
        return {**asdict(self), "received_at": self.received_at.isoformat()}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Context:
        """Read what ``to_wire`` wrote."""
        return cls(**{**values, "received_at": datetime.fromisoformat(values["received_at"])})


@dataclass(frozen=True)
class Prepared:
    """An image ready to be stored: a DICOM file (PS3.10) with nothing identifying in it.

    Attributes
    ----------
    dicom
        The whole file; its preamble is zero.
    sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid, transfer_syntax_uid
        As the file has them.
    modality
        As the file has it.
    kind
        "photograph" or "dicom".
    rows, columns, frames, samples, bits
        Size of the image; ``bits`` are the stored bits of a sample.
    lossless
        Whether the received pixels are kept exactly (a JPEG stream byte for byte).
    thumbnail
        WebP, 256 pixels at its longest side.
    notes
        What was changed of the picture, one sentence each.
    """

    dicom: bytes
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    kind: Literal["photograph", "dicom"]
    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    lossless: bool
    thumbnail: bytes
    notes: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Write the image as plain values, for the way out of a process apart."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "notes": list(self.notes)}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> Prepared:
        """Read what ``to_wire`` wrote, believing nothing: the writer handled hostile bytes.

        Parameters
        ----------
        values
            Plain values by name.

        Returns
        -------
        Prepared
            The image.

        Raises
        ------
        ValueError
            When a value is missing, unknown, or of another type than declared.
        """
        kinds: dict[str, type] = {"dicom": bytes, "thumbnail": bytes, "lossless": bool, "notes": list}
        kinds |= dict.fromkeys(("rows", "columns", "frames", "samples", "bits"), int)
        names = {f.name for f in fields(cls)}
        if set(values) != names or any(type(values[name]) is not kinds.get(name, str) for name in names):
            raise ValueError("this is not a prepared image")
        return cls(**{**values, "notes": tuple(str(note) for note in values["notes"])})
