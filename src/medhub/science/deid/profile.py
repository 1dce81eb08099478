# SPDX-License-Identifier: Apache-2.0
"""A profile: one TOML file that says what is kept, and why, when images are de-identified."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydicom.datadict import tag_for_keyword

from medhub.errors import Invalid, NotFound
from medhub.science.deid.confidentiality_table import rule_of

Option = Literal[
    "uids",
    "device",
    "institution",
    "characteristics",
    "full-dates",
    "modified-dates",
    "descriptors",
    "structured-content",
    "graphics",
    "safe-private",
]
# CID 7050 of PS3.16: what (0012,0064) says of each option, and of the Basic Profile itself.
BASIC_CODE = ("113100", "Basic Application Confidentiality Profile")
PIXELS_CODE = ("113101", "Clean Pixel Data Option")
FACES_CODE = ("113102", "Clean Recognizable Visual Features Option")
CODES: dict[str, tuple[str, str]] = {
    "graphics": ("113103", "Clean Graphics Option"),
    "structured-content": ("113104", "Clean Structured Content Option"),
    "descriptors": ("113105", "Clean Descriptors Option"),
    "full-dates": ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    "modified-dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    "characteristics": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "uids": ("113110", "Retain UIDs Option"),
    "safe-private": ("113111", "Retain Safe Private Option"),
    "institution": ("113112", "Retain Institution Identity Option"),
}
# Who somebody is: no profile keeps these, whatever it says of single attributes.
IDENTIFYING_KEYWORDS = frozenset(
    [
        "PatientName",
        "PatientID",
        "OtherPatientIDs",
        "OtherPatientIDsSequence",
        "OtherPatientNames",
        "PatientBirthName",
        "PatientMotherBirthName",
        "PatientAddress",
        "PatientTelephoneNumbers",
        "PatientTelecomInformation",
        "MilitaryRank",
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "MedicalRecordLocator",
        "RegionOfResidence",
        "ResponsiblePerson",
        "PatientInsurancePlanCodeSequence",
        "EncryptedAttributesSequence",
        "OriginalAttributesSequence",
    ]
)


class _ProfileModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Dates(_ProfileModel):
    """How dates are shifted where a profile keeps them modified.

    Attributes
    ----------
    most_days
        The greatest shift; each person's own is drawn by a key, and never 0.
    weekdays
        Shift by whole weeks only, so that a Monday stays one.
    """

    most_days: Annotated[int, Field(ge=14, le=36_500)] = 3650
    weekdays: bool = True


class Pixels(_ProfileModel):
    """What is done to writing in pixels.

    Attributes
    ----------
    clean
        Find it, and make black what is not harmless; else objects that may hold writing wait for a person.
    only_ultrasound
        Make all black that lies outside of the regions of ultrasound, where a file names them (0018,6011).
    also_reconstructed
        Look through the images that scanners reconstruct from what they measure (CT, MR, PET) as well, into which
        they write nothing.
    faces
        What becomes of what may show a face, or from which one can be rebuilt: "pass", or "hold" it for a person.
    """

    clean: bool = True
    also_reconstructed: bool = True
    faces: Literal["pass", "hold"] = "pass"
    only_ultrasound: bool = False


class Special(_ProfileModel):
    """What is done to one attribute, whatever the table says."""

    attribute: str
    action: Literal["keep", "remove", "empty", "replace", "clean"]
    reason: Annotated[str, Field(min_length=3)]

    @model_validator(mode="after")
    def _names_an_attribute(self) -> Special:
        if tag_for_keyword(self.attribute) is None:
            raise ValueError(f"{self.attribute} is no keyword of PS3.6")
        if self.action in ("keep", "clean") and self.attribute in IDENTIFYING_KEYWORDS:
            raise ValueError(f"{self.attribute} says who somebody is; no profile keeps it")
        return self


class Profile(_ProfileModel):
    """A whole profile.

    Attributes
    ----------
    options
        Options of PS3.15, Annex E, beside the Basic Profile.
    pixels
        What is done to writing in pixels.
    special
        Single attributes that are treated otherwise.
    unlisted
        What becomes of attributes of the standard that its table does not name: "keep", as the standard says, or
        "clean", so that text, codes and bytes of them stay only as far as they are terms of the field.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    title: Annotated[str, Field(min_length=3)]
    version: Annotated[int, Field(ge=1)]
    options: tuple[Option, ...] = ()
    dates: Dates = Dates()
    pixels: Pixels = Pixels()
    special: tuple[Special, ...] = ()
    unlisted: Literal["keep", "clean"] = "keep"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Profile:
        if len(set(self.options)) < len(self.options):
            raise ValueError("an option is named twice")
        if {"full-dates", "modified-dates"} <= set(self.options):
            raise ValueError("dates are kept either full or modified, not both")
        names = [special.attribute for special in self.special]
        if len(set(names)) < len(names):
            raise ValueError("an attribute is named twice")
        return self

    def special_of(self, tag: int) -> Special | None:
        """What the profile says of one attribute, if anything."""
        return next((special for special in self.special if tag_for_keyword(special.attribute) == tag), None)

    def overrides_basic(self) -> bool:
        """Whether it keeps what the Basic Profile would not, so that its code may not be claimed."""
        return any(
            special.action == "keep" and rule_of(int(tag_for_keyword(special.attribute) or 0)) is not None
            for special in self.special
        )


# What a project is given that has chosen none.
DEFAULT_PROFILE = "clinical-photo"
PROFILES = Path(__file__).with_name("profiles")


def named_profiles() -> dict[str, str]:
    """List the profiles that ship: names, and what each is for."""
    return {path.stem: load_profile(path).title for path in sorted(PROFILES.glob("*.toml"))}


@cache
def default_profile() -> Profile:
    """Read the profile that holds where none was chosen."""
    return find_profile(DEFAULT_PROFILE)


def find_profile(name: str | Path) -> Profile:
    """Read a profile by its path, or by the name of one that ships.

    Raises
    ------
    NotFound
        There is no such file, and no such profile.
    Invalid
        It cannot be used.
    """
    path = Path(name)
    if path.is_file():
        return load_profile(path)
    shipped = PROFILES / f"{name}.toml"
    if len(path.parts) == 1 and shipped.is_file():
        return load_profile(shipped)
    names = ", ".join(sorted(path.stem for path in PROFILES.glob("*.toml")))
    raise NotFound(f"There is no profile {name}. Name a TOML file, or one of: {names}.")


def load_profile(path: Path) -> Profile:
    """Read a profile's file; see ``read_profile``."""
    try:
        return read_profile(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise Invalid(f"{path.name} is not UTF-8 text.") from error


def read_profile(text: str, name: str = "The profile") -> Profile:
    """Read a profile from its text.

    Raises
    ------
    Invalid
        The text is not TOML, or something in it is missing, unknown or contradicts the rest.
    """
    try:
        return Profile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{name} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"]) or "the profile as a whole"
        raise Invalid(f"{name} cannot be used: {location}: {first['msg']}.", field=location) from error
