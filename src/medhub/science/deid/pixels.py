# SPDX-License-Identifier: Apache-2.0
"""Which pixels may hold writing that says who somebody is.

Scanners that reconstruct their images write beside them, not into them. Whatever is a picture of a screen, of paper,
or of a person may hold writing; so may what was derived from another image by a program.
"""

from __future__ import annotations

from pydicom import Dataset

# Modalities whose original images come from the detector without writing (PS3.3, C.7.3.1.1.1).
_RECONSTRUCTED = frozenset(("CT", "MR", "PT", "NM", "SEG", "RTDOSE", "OPT", "BMD"))


def writing_may_be_in(dataset: Dataset) -> str:
    """Say why the pixels of an object cannot leave unseen.

    Parameters
    ----------
    dataset
        As received, with pixels.

    Returns
    -------
    str
        A sentence; empty where the pixels may leave.
    """
    if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return "The file says itself that writing is burned into its pixels."
    kinds = [str(one).upper() for one in dataset.get("ImageType", None) or ()]
    modality = str(dataset.get("Modality", "") or "").strip().upper()
    if modality not in _RECONSTRUCTED:
        return f"Images of the modality {modality or '(none)'} may have writing in their pixels; a person must look."
    if (
        "SECONDARY" in kinds
        or "SCREEN SAVE" in kinds
        or "1.2.840.10008.5.1.4.1.1.7" in str(dataset.get("SOPClassUID", ""))
    ):
        return "It is a secondary image, as pictures of screens are; a person must look."
    return ""
