# SPDX-License-Identifier: Apache-2.0
"""An image on its way into the store: what the receiver knows of it, and what it became."""

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
    profile: Profile = field(default_factory=default_profile)
    known: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    shown: bool = True

    @property
    def subject(self) -> Pseudonym:
        """The patient as de-identified objects have it; its UIDs hold for this patient alone."""
        days = days_of(self.uid_key, (self.patient_code,), self.profile.dates)
        return Pseudonym(self.uid_key, self.patient_code, days, scope=(self.patient_code,))


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
    manifest: tuple[ManifestLine, ...] = ()
    unseen: bool = True
    identity: Mapping[str, str] = field(default_factory=dict)
    shown_as: ShownAs = "image"
    attributes: Mapping[str, Attributes] = field(default_factory=lambda: {"study": {}, "series": {}, "image": {}})

    def __post_init__(self) -> None:
        """Check what the types do not say; ``ValueError`` where it cannot be an image of ``prepare_arrival``."""
        if len(self.manifest) > MAX_LINES:
            raise ValueError("the manifest is longer than any that is written")
        check_attributes(self.attributes)
