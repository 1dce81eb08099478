# SPDX-License-Identifier: Apache-2.0
"""A received image before it is stored: the context of its cleaning, and the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from medhub.science.deid.manifest import MAX_LINES, ManifestLine
from medhub.science.deid.profile import Profile, default_profile
from medhub.science.deid.pseudonym import Pseudonym, days_of
from medhub.science.imaging.dicom.object_kinds import ShownAs
from medhub.science.imaging.dicom.search_attributes import Attributes, check_attributes


@dataclass(frozen=True)
class CleaningContext:
    """What is known about an arrival, and the values that replace those of the received file.

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
        The de-identification profile.
    known
        Names and numbers of the patient, which are searched in texts and pixels and never written.
    attributes
        Keywords of further search attributes.
    shown
        Whether the thumbnail is made at once; for series from a device it is made later.
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
    profile: Profile = field(default_factory=default_profile)
    known: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    shown: bool = True

    @property
    def subject(self) -> Pseudonym:
        """The pseudonym of the patient; its UIDs are valid for this patient only."""
        days = days_of(self.uid_key, (self.patient_code,), self.profile.dates)
        return Pseudonym(self.uid_key, self.patient_code, days, scope=(self.patient_code,))


@dataclass(frozen=True)
class CleanedImage:
    """An image ready to be stored: a DICOM file (PS3.10) with nothing identifying in it.

    Attributes
    ----------
    dicom
        The complete file; its preamble is zero.
    sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid, transfer_syntax_uid
        As in the file.
    modality
        As in the file.
    kind
        "photograph" or "dicom".
    rows, columns, frames, samples, bits
        Size of the image; ``bits`` are the stored bits of a sample.
    lossless
        Whether the received pixels are stored exactly (a JPEG stream byte for byte).
    thumbnail
        WebP, 256 pixels at its longest side; empty where it is made later, or nothing can be shown.
    notes
        Changes of the picture, one sentence each.
    manifest
        The action on each attribute; never a value.
    unseen
        Whether its pixels may hold text, which must be searched before the image is stored.
    searched
        Whether its pixels were searched for areas that may hold text, and have none.
    identity
        The identity in the file: "name", "hospital_number", "birth_date", where the file has them.
    shown_as
        How it is shown: an image or a segmentation has frames, the others have none.
    attributes
        Search attributes of "study", "series" and "image", each keyword to values.
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
    manifest: tuple[ManifestLine, ...] = ()
    unseen: bool = True
    searched: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    shown_as: ShownAs = "image"
    attributes: Mapping[str, Attributes] = field(default_factory=lambda: {"study": {}, "series": {}, "image": {}})

    def __post_init__(self) -> None:
        """Check what the types do not say; ``ValueError`` where it cannot be an image of ``prepare_arrival``."""
        if len(self.manifest) > MAX_LINES:
            raise ValueError("the manifest is longer than any that is written")
        check_attributes(self.attributes)
