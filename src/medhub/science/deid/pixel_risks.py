# SPDX-License-Identifier: Apache-2.0
"""Which objects may have text or a face in their pixels, by their attributes, and how they are searched."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from medhub.science.deid.profile import Profile

# Modalities whose pixels are computed values, into which nothing is drawn.
_COMPUTED_MODALITIES = frozenset(("SEG", "RTDOSE"))
# Modalities whose original images contain no text (PS3.3, C.7.6.1.1.2).
_RECONSTRUCTED_MODALITIES = frozenset(("CT", "MR", "PT", "NM", "SEG", "RTDOSE", "OPT", "BMD"))
# Modalities of photographs of the body surface (PS3.3, C.7.3.1.1.1), and of volumes.
_SURFACE_MODALITIES = frozenset(("XC", "DMS", "ES"))
_VOLUME_MODALITIES = frozenset(("CT", "MR", "PT", "NM", "OPT"))
_HEAD_REGIONS = (
    *("HEAD", "BRAIN", "FACE", "SKULL", "ORBIT", "EYE", "SINUS", "JAW", "MAXILLA", "MANDIBLE", "NOSE", "EAR"),
    *("NECK", "WHOLE"),
)


def may_hold_writing(received: Dataset) -> str:
    """Give the reason why the pixels of an object may contain text; empty if they do not.

    Scanners write no text into reconstructed images as a rule. Images of screens, paper or people, and images that a
    program derived from others, often contain text.
    """
    if str(received.get("BurnedInAnnotation", "")).strip().upper() == "YES":
        return "The file declares that text is burned into its pixels."
    kinds = [str(kind).upper() for kind in received.get("ImageType", None) or ()]
    modality = str(received.get("Modality", "") or "").strip().upper()
    if modality not in _RECONSTRUCTED_MODALITIES:
        return f"Images of the modality {modality or '(none)'} may have text in their pixels; a person must review it."
    secondary = str(received.get("SOPClassUID", "")).startswith(SecondaryCaptureImageStorage)
    if secondary or "SECONDARY" in kinds or "SCREEN SAVE" in kinds:
        return "It is a secondary image, for example of a screen; a person must review it."
    return ""


def needs_complete_search(received: Dataset, profile: Profile) -> bool:
    """Whether the pixels of an object are searched completely, and not only in areas that a quick check marks.

    Only images that a scanner reconstructed are searched in such areas, unless the profile says otherwise.
    """
    return bool(may_hold_writing(received)) or profile.pixels.also_reconstructed


def may_show_face(received: Dataset) -> str:
    """Give the reason why a person may be recognized in the pixels of an object; empty if nobody can be.

    A photograph may show a face; from slices of a head, a face can be reconstructed (PS3.15, E.3.2). An object without
    a body part counts as one of the head.
    """
    modality = str(received.get("Modality", "") or "").strip().upper()
    if modality in _SURFACE_MODALITIES:
        return "A photograph may show a face; a person must review it."
    region = str(received.get("BodyPartExamined", "") or "").strip().upper()
    if modality in _VOLUME_MODALITIES and (not region or any(head_region in region for head_region in _HEAD_REGIONS)):
        return "A face can be reconstructed from slices of a head; a person must decide."
    return ""


def is_picture(received: Dataset) -> bool:
    """Whether the pixels of an object are an image, which may contain text."""
    return str(received.get("Modality", "") or "").strip().upper() not in _COMPUTED_MODALITIES
