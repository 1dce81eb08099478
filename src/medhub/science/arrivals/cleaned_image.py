# SPDX-License-Identifier: Apache-2.0
"""An image on its way into the store: what the receiver knows of it, and what it became."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from medhub.science.deid.identity_cache import cached_by_identity
from medhub.science.deid.manifest import MOST_LINES, Line
from medhub.science.deid.profile import Profile, standing_profile
from medhub.science.deid.pseudonym import Pseudonym, days_of
from medhub.science.imaging.dicom.object_kinds import SHOWN_AS, ShownAs
from medhub.science.imaging.dicom.search_attributes import Attributes, checked


@dataclass(frozen=True)
class CleaningContext:
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
    profile
        What is kept of what was received.
    known
        Names and numbers of the patient, which are looked for in texts and pixels, and written nowhere.
    attributes
        Keywords of attributes that are searched beside the usual ones.
    shown
        Whether the thumbnail is made at once; of many that come in from a device it is made later.
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
    profile: Profile = field(default_factory=standing_profile)
    known: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    shown: bool = True

    @property
    def subject(self) -> Pseudonym:
        """The patient as de-identified objects have it; its UIDs hold for this patient alone."""
        days = days_of(self.uid_key, (self.patient_code,), self.profile.dates)
        return Pseudonym(self.uid_key, self.patient_code, days, scope=(self.patient_code,))

    def to_wire(self) -> dict[str, Any]:
        """Write the context as plain values, for a process apart."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            **values,
            "received_at": self.received_at.isoformat(),
            "profile": self.profile.model_dump_json(),
            "known": list(self.known),
            "attributes": list(self.attributes),
        }

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> CleaningContext:
        """Read what ``to_wire`` wrote."""
        read = {**values, "received_at": datetime.fromisoformat(values["received_at"])}
        if "profile" in values:
            read["profile"] = _profile(values["profile"])
        several = {name: tuple(values.get(name, ())) for name in ("known", "attributes")}
        return cls(**{**read, **several})


@lru_cache(maxsize=16)
def _profile(text: str) -> Profile:
    return Profile.model_validate_json(text)


@cached_by_identity
def _manifest_bytes(manifest: tuple[Line, ...]) -> bytes:
    return json.dumps([list(vars(line).values()) for line in manifest]).encode()


@lru_cache(maxsize=64)
def _lines(text: bytes) -> tuple[Line, ...]:
    """Read a manifest, believing nothing; the objects of a series have the same."""
    values = json.loads(text)
    if type(values) is not list:
        raise ValueError("this is not a manifest")
    lines = []
    for line in values[:MOST_LINES]:
        if type(line) is not list or [type(one) for one in line] != [str] * 5 + [int]:
            raise ValueError("this is not a manifest")
        lines.append(Line(*line))
    return tuple(lines)


@dataclass(frozen=True)
class CleanedImage:
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
        WebP, 256 pixels at its longest side; empty where it is made later, or nothing can be shown.
    notes
        What was changed of the picture, one sentence each.
    manifest
        What was done to which attribute; never a value.
    unseen
        Whether writing may be in its pixels, which must be looked for before anything is written.
    identity
        What the file itself says of the person: "name", "hospital_number", "birth_date", where it says so.
    shown_as
        What a person is shown of it: an image or a segmentation has frames, all others have none.
    attributes
        By what it is searched: "study", "series" and "image", each keyword to values.
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
    manifest: tuple[Line, ...] = ()
    unseen: bool = True
    identity: Mapping[str, str] = field(default_factory=dict)
    shown_as: ShownAs = "image"
    attributes: Mapping[str, Attributes] = field(default_factory=lambda: {"study": {}, "series": {}, "image": {}})

    def to_wire(self) -> dict[str, Any]:
        """Write the image as plain values, for the way out of a process apart."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {"identity": dict(self.identity), "attributes": dict(self.attributes)}
        return {**values, **plain, "notes": list(self.notes), "manifest": _manifest_bytes(self.manifest)}

    @classmethod
    def from_wire(cls, values: Mapping[str, Any]) -> CleanedImage:
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
        kinds: dict[str, type] = {
            "dicom": bytes,
            "thumbnail": bytes,
            "notes": list,
            "manifest": bytes,
            "identity": dict,
        }
        kinds |= {"lossless": bool, "unseen": bool, "attributes": dict}
        kinds |= dict.fromkeys(("rows", "columns", "frames", "samples", "bits"), int)
        names = {f.name for f in fields(cls)}
        if set(values) != names or any(type(values[name]) is not kinds.get(name, str) for name in names):
            raise ValueError("this is not a prepared image")
        if values["shown_as"] not in SHOWN_AS:
            raise ValueError("this is not a prepared image")
        identity = {str(name): str(one) for name, one in values["identity"].items()}
        notes = tuple(str(note) for note in values["notes"])
        read = {
            "manifest": _lines(values["manifest"]),
            "identity": identity,
            "attributes": checked(values["attributes"]),
        }
        return cls(**{**values, **read, "notes": notes})
