# SPDX-License-Identifier: Apache-2.0
"""Whether a parsed DICOM object can be taken: a kind that is kept, and pixels that are read here."""

from __future__ import annotations

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medhub.science.imaging.codecs.codestreams import COMPRESSED_SYNTAXES, DEFLATED_FRAMES
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable, refuse_oversized
from medhub.science.imaging.dicom.object_kinds import (
    PIXEL_KEYWORDS,
    class_name,
    is_directory,
    is_of_nobody,
    is_pixels_first,
)

NATIVE_SYNTAXES = frozenset((ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian))
_RECOPY = "Copy or export it again from its source."
_COLORS = frozenset(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"))
_FLOAT_BITS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


def check_object(dataset: Dataset, syntax: UID, limits: DecodingLimits) -> None:
    """Refuse an object that is of no kind that is kept here, or whose pixels cannot be read.

    Parameters
    ----------
    dataset
        The received dataset.
    syntax
        Its transfer syntax.
    limits
        What is taken.

    Raises
    ------
    Unacceptable
        With a sentence that says what is wrong.
    """
    there = [keyword for keyword in PIXEL_KEYWORDS if keyword in dataset]
    if len(there) > 1:
        raise Unacceptable(
            f"This DICOM file has pixels of two kinds ({' and '.join(there)}), of which nobody can say which is meant. "
            f"{_RECOPY}",
            reason="damaged",
        )
    if there == ["PixelData"]:
        check_image(dataset, syntax, limits)
    elif there:
        _check_float_image(dataset, syntax, limits, there[0])
    else:
        _check_without_pixels(dataset)


def check_image(dataset: Dataset, syntax: UID, limits: DecodingLimits) -> None:
    """Refuse pixel data that cannot be decoded or are too large.

    Parameters
    ----------
    dataset
        The received dataset, with Pixel Data.
    syntax
        Its transfer syntax.
    limits
        What is taken.

    Raises
    ------
    Unacceptable
        With a sentence that says what is wrong.
    """
    if syntax not in NATIVE_SYNTAXES | COMPRESSED_SYNTAXES | {DEFLATED_FRAMES}:
        entry = UID_dictionary.get(str(syntax))
        name = entry[0].split(" (")[0] if entry else f"transfer syntax {str(syntax)[:64]}"
        raise Unacceptable(
            f"The pixels of this DICOM file are compressed in a way that is not read here ({name}). "
            "Export it in another transfer syntax, for example Explicit VR Little Endian.",
            reason="unsupported",
        )
    rows, columns, samples, allocated, stored = (
        _number(dataset, keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored")
    )
    _check_size(dataset, rows, columns, limits)
    if samples not in (1, 3) or allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise Unacceptable(
            f"The pixels of this DICOM file have {samples} samples of {stored} bits in {allocated}, which is not read "
            "here: 1 or 3 samples in 1, 8, 16 or 32 bits are.",
            reason="unsupported",
        )
    if _number(dataset, "HighBit", stored - 1) != stored - 1:
        raise Unacceptable(
            "The pixels of this DICOM file use the upper bits of their cells (High Bit), an old form that is not read "
            "here. Export it again.",
            reason="unsupported",
        )
    _check_meaning(dataset)
    photometric = str(dataset.PhotometricInterpretation).strip().upper()
    if (samples == 3) != (photometric in _COLORS):
        raise Unacceptable(
            f"The pixels of this DICOM file have {samples} samples and the Photometric Interpretation "
            f"{photometric[:16]}, which do not fit or are not read here. {_RECOPY}",
            reason="unsupported",
        )


def _check_float_image(dataset: Dataset, syntax: UID, limits: DecodingLimits, keyword: str) -> None:
    """Refuse floating-point pixels that are none (PS3.3, C.7.6.24 and C.7.6.25)."""
    if syntax not in NATIVE_SYNTAXES:
        raise Unacceptable(
            "The pixels of this DICOM file are floating-point numbers, which no transfer syntax compresses, and the "
            f"file says that they are compressed. {_RECOPY}",
            reason="damaged",
        )
    rows, columns, samples, allocated = (
        _number(dataset, name) for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    _check_size(dataset, rows, columns, limits)
    if samples != 1 or allocated != _FLOAT_BITS[keyword]:
        raise Unacceptable(
            f"The floating-point pixels of this DICOM file have {samples} samples of {allocated} bits; one of "
            f"{_FLOAT_BITS[keyword]} is what they have by the standard. {_RECOPY}",
            reason="damaged",
        )
    _check_meaning(dataset)


def _check_size(dataset: Dataset, rows: int, columns: int, limits: DecodingLimits) -> None:
    refuse_oversized(rows, columns, limits)
    frames = number_of_frames(dataset)
    if frames < 1:
        raise Unacceptable(
            f"This DICOM file does not say how many frames it has (Number of Frames is no number). {_RECOPY}",
            reason="damaged",
        )
    if frames > limits.max_frames:
        raise Unacceptable(
            f"The file says that it has {frames:,} frames; at most {limits.max_frames:,} are taken. "
            "Export it in parts.",
            reason="too-many-pixels",
        )


def _check_meaning(dataset: Dataset) -> None:
    if not dataset.get("PhotometricInterpretation"):
        raise Unacceptable(
            f"This DICOM file does not say what its pixel values mean (Photometric Interpretation). {_RECOPY}",
            reason="damaged",
        )


def _check_without_pixels(dataset: Dataset) -> None:
    if is_directory(dataset):
        raise Unacceptable(
            "This file is the index of a medium (DICOMDIR) and holds nothing itself. Upload the files that lie beside "
            "it.",
            reason="unsupported",
        )
    uid = str(dataset.get("SOPClassUID", "") or "")
    name = class_name(uid)
    if not uid:
        raise Unacceptable(
            "This DICOM file does not say what it is (SOP Class UID is missing), and has no pixels. "
            f"It is damaged, or a part of a file. {_RECOPY}",
            reason="damaged",
        )
    if not name:
        raise Unacceptable(
            "This DICOM file has no pixels and is of a kind that is not of the standard, so that nobody can say how to "
            "clean or show it. Export what it holds in a standard form.",
            reason="unsupported",
        )
    if is_of_nobody(uid):
        raise Unacceptable(
            f"This DICOM file ({name}) is a setting of a device or a app and belongs to no patient. "
            "Only what belongs to a patient is kept here.",
            reason="unsupported",
        )
    if name.startswith("Encapsulated") and not dataset.get("EncapsulatedDocument"):
        raise Unacceptable(
            f"This DICOM file says that it is a document ({name}), and holds none: it ends too early or is damaged. "
            f"{_RECOPY}",
            reason="damaged",
        )
    if is_pixels_first(name, uid):
        raise Unacceptable(
            f"This DICOM file says that it is an image ({name}), and holds none: it ends too early, or its pixels were "
            f"taken out. {_RECOPY}",
            reason="damaged",
        )


def number_of_frames(dataset: Dataset) -> int:
    """Number of frames that a dataset declares; 1 without the attribute, 0 when it cannot be read."""
    value = dataset.get("NumberOfFrames", 1)
    try:
        return int(value) if value not in (None, "") else 1
    except (TypeError, ValueError):
        return 0


def _number(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword, default)
        return int(value)
    except (TypeError, ValueError) as error:
        raise Unacceptable(
            f"This DICOM file does not say how its pixels are laid out ({keyword} is missing or no number). {_RECOPY}",
            reason="damaged",
        ) from error
