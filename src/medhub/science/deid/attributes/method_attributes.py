# SPDX-License-Identifier: Apache-2.0
"""Attributes that declare how a dataset was de-identified (PS3.15, E.1.1)."""

from __future__ import annotations

from collections.abc import Collection

from pydicom import Dataset, Sequence
from pydicom.datadict import tag_for_keyword

from medhub.science.deid.profile import BASIC_CODE, CODES, Profile

ENGINE = "medhub-deid 1"
# Never taken over from a received object.
METHOD_TAGS = frozenset(
    tag_for_keyword(keyword)
    for keyword in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence")
)


def write_method_attributes(
    dataset: Dataset, profile: Profile, *, dates: Collection[str], graphics: bool = False
) -> None:
    """Write (0012,0062), (0012,0063), (0012,0064) and (0028,0303).

    Parameters
    ----------
    dataset
        The de-identified dataset; it is changed.
    profile
        Whose rules were applied.
    dates
        How dates were treated: any of "removed", "modified" and "kept".
    graphics
        Whether graphics were cleaned.
    """
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [ENGINE, f"{profile.name} {profile.version}"]
    codes = [] if profile.overrides_basic() else [BASIC_CODE]
    codes += [CODES[name] for name in profile.options if name != "graphics" or graphics]
    if codes:
        dataset.DeidentificationMethodCodeSequence = Sequence([method_code(*code) for code in codes])
    if dates:
        modified = "MODIFIED" if "modified" in dates else "UNMODIFIED" if set(dates) == {"kept"} else "REMOVED"
        dataset.LongitudinalTemporalInformationModified = modified


def method_code(value: str, meaning: str) -> Dataset:
    """Make an item of De-identification Method Code Sequence (0012,0064)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
