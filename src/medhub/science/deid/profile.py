# SPDX-License-Identifier: Apache-2.0
"""De-identification profile: a TOML file that declares which attributes stay, and why."""

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
# CID 7050 of PS3.16: codes in (0012,0064) for each option and for the Basic Profile.
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
# Direct identifiers: no profile may keep these.
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
    """How dates are shifted under the option modified-dates.

    Attributes
    ----------
    most_days
        The greatest shift; that of each patient follows from the key and is never 0.
    weekdays
        Shift by complete weeks only, so that a Monday stays a Monday.
    """

    most_days: Annotated[int, Field(ge=14, le=36_500)] = 3650
    weekdays: bool = True


class Pixels(_ProfileModel):
    """How text and faces in pixels are treated.

    Attributes
    ----------
    clean
        Find text, and blacken it unless it is permitted; otherwise objects that may contain text are quarantined.
    only_ultrasound
        Blacken everything outside the regions of ultrasound, if a file declares them (0018,6011).
    also_reconstructed
        Search reconstructed images (CT, MR, PET) as completely as others. Otherwise they are searched only in the
        areas where a quick check finds what may be text: scanners write none into them as a rule.
    faces
        Treatment of images that may show a face, or from which a face can be reconstructed: "pass", or "hold" for a
        review.
    """

    clean: bool = True
    also_reconstructed: bool = True
    faces: Literal["pass", "hold"] = "pass"
    only_ultrasound: bool = False


class Special(_ProfileModel):
    """An action for one attribute, which overrides the table."""

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
    """A de-identification profile.

    Attributes
    ----------
    options
        Options of PS3.15, Annex E, beside the Basic Profile.
    pixels
        How text and faces in pixels are treated.
    special
        Actions for single attributes, which override the table.
    unlisted
        Treatment of attributes of the standard that its table does not name: "keep", as the standard says, or
        "clean", so that their text, codes and bytes stay only if they are known terms.
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
        """Return the rule for one attribute, if the profile has one."""
        return next((special for special in self.special if tag_for_keyword(special.attribute) == tag), None)

    def overrides_basic(self) -> bool:
        """Whether it keeps an attribute that the Basic Profile does not, so that the code of that may not be used."""
        return any(
            special.action == "keep" and rule_of(int(tag_for_keyword(special.attribute) or 0)) is not None
            for special in self.special
        )


# Profile of a project that has not selected one.
DEFAULT_PROFILE = "clinical-photo"
PROFILES = Path(__file__).with_name("profiles")


def named_profiles() -> dict[str, str]:
    """List the included profiles: name to title."""
    return {path.stem: load_profile(path).title for path in sorted(PROFILES.glob("*.toml"))}


@cache
def default_profile() -> Profile:
    """Read the profile that applies if none is selected."""
    return find_profile(DEFAULT_PROFILE)


def find_profile(name: str | Path) -> Profile:
    """Read a profile by its path, or an included one by its name.

    Raises
    ------
    NotFound
        There is no such file, and no such profile.
    Invalid
        The file is not a valid profile.
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
