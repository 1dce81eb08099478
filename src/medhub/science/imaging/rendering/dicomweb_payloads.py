# SPDX-License-Identifier: Apache-2.0
"""Payloads of DICOMweb, made from stored files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.encaps import get_frame
from pydicom.pixels.utils import unpack_bits
from pydicom.uid import UID, ExplicitVRLittleEndian

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.dicom.received_file import quiet
from medhub.science.imaging.rendering.frame_views import View, render_view, single_frame
from medhub.science.imaging.rendering.frames import decoded_photometric, read_samples, read_stored

INLINE_BYTES = 1024
"""Longest binary value that is written into metadata; others are named by an address."""

BULK = "@@"
"""Placeholder in metadata for the address of the series, which is not known when they are written."""

_MOST_TEXT = 1024 * 1024


def render_frame_view(
    dicom: bytes, number: int, view: View, frame: bytes | None = None, vr: str = "", packed: bool = False
) -> bytes:
    """Do ``render_view`` on a file, or on one frame of it that is passed beside its attributes."""
    if frame is not None:
        dicom, number = single_frame(dicom, frame, number, vr=vr, encapsulated=packed), 0
    return render_view(dicom, number, view)


def values(
    dicom: bytes, number: int, form: str, frame: bytes | None = None, vr: str = "", packed: bool = False
) -> bytes:
    """The stored values of one frame, decoded: "raw" as Explicit VR Little Endian has them, "png", or "jpeg".

    Raises ``Unacceptable`` where the form cannot hold such values.
    """
    if frame is not None:
        dicom, number = single_frame(dicom, frame, number, vr=vr, encapsulated=packed), 0
    with quiet():
        dataset = dcmread(BytesIO(dicom), stop_before_pixels=True)
    allocated = int(dataset.get("BitsAllocated", 8) or 8)
    if allocated == 1:
        return _bits(dicom, number, form)
    if form == "raw":
        return _raw(read_samples(dicom, number)[0], allocated)
    array, _photometric = read_stored(dicom, number)
    return _picture(array, form, signed=array.dtype.kind != "u")


def _raw(array: NDArray[Any], allocated: int) -> bytes:
    """The values of a frame in cells of ``allocated`` bits."""
    kind = array.dtype.newbyteorder("<")
    if array.dtype.kind in "iu" and array.dtype.itemsize * 8 != allocated:
        kind = np.dtype(f"<{array.dtype.kind}{allocated // 8}")
    return np.ascontiguousarray(array, dtype=kind).tobytes()


def _bits(dicom: bytes, number: int, form: str) -> bytes:
    """A frame of single bits: each frame is padded to whole bytes, which in the file it need not be."""
    with quiet():
        dataset = dcmread(BytesIO(dicom))
    count = int(dataset.Rows) * int(dataset.Columns)
    start = number * count
    chunk = dataset.PixelData[start // 8 : (start + count + 7) // 8]
    cells = unpack_bits(chunk)[start % 8 : start % 8 + count]
    array = np.asarray(cells, np.uint8)
    if form == "raw":
        return np.packbits(array, bitorder="little").tobytes()
    return _picture(array.reshape(int(dataset.Rows), int(dataset.Columns)) * 255, form, signed=False)


def _picture(array: NDArray[Any], form: str, *, signed: bool) -> bytes:
    deep = array.dtype.itemsize > 1
    if signed or array.dtype.itemsize > 2 or (deep and (form == "jpeg" or array.ndim == 3)):
        raise Unacceptable(
            "A picture of this form cannot hold the values of this image. Ask for application/octet-stream.",
            reason="unsupported",
        )
    out = BytesIO()
    Image.fromarray(array).save(
        out, "PNG" if form == "png" else "JPEG", **({"compress_level": 3} if form == "png" else {"quality": 95})
    )
    return out.getvalue()


def stored(dicom: bytes, number: int) -> bytes:
    """One compressed frame as it is stored."""
    with quiet():
        dataset = dcmread(BytesIO(dicom))
        return get_frame(dataset.PixelData, number, number_of_frames=int(dataset.get("NumberOfFrames", 1) or 1))


def explicit(dicom: bytes) -> bytes:
    """The file with its pixels decoded, in Explicit VR Little Endian: each frame as ``values`` returns it raw."""
    with quiet():
        dataset = dcmread(BytesIO(dicom))
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        if syntax.is_encapsulated and "PixelData" in dataset:
            _decode_pixels(dataset, dicom)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = BytesIO()
        dcmwrite(out, dataset)
    return out.getvalue()


def _decode_pixels(dataset: Dataset, dicom: bytes) -> None:
    """Replace compressed frames by their values, and say what these are."""
    allocated = int(dataset.BitsAllocated)
    frames = []
    for number in range(number_of_frames(dataset)):
        array, photometric = read_samples(dicom, number)
        dataset.PhotometricInterpretation = photometric
        frames.append(_raw(array, allocated))
    data = b"".join(frames)
    dataset["PixelData"] = DataElement(0x7FE00010, "OB" if allocated <= 8 else "OW", data + bytes(len(data) % 2))
    if int(dataset.SamplesPerPixel) > 1:
        dataset.PlanarConfiguration = 0


def describe(heads: list[bytes], pixels: list[str]) -> list[str]:
    """The attributes of files as DICOM JSON (PS3.18, F), each as one line of text.

    ``heads`` are the files up to their pixels (or complete), ``pixels`` the representations of the pixel data that was
    left out, empty where there is none. Long values are named by an address that begins with ``BULK``.
    """
    return [_described(head, vr) for head, vr in zip(heads, pixels, strict=True)]


def _described(head: bytes, pixel_vr: str) -> str:
    with quiet():
        dataset = dcmread(BytesIO(head))
        root = f"{BULK}/instances/{dataset.get('SOPInstanceUID', '')}/bulkdata"
        addresses: dict[int, str] = {}
        _name(dataset, root, addresses)
        described = dataset.to_json_dict(
            bulk_data_threshold=INLINE_BYTES,
            bulk_data_element_handler=lambda element: addresses.get(id(element), ""),
            suppress_invalid_tags=True,
        )
    if pixel_vr:
        tag = {"OF": "7FE00008", "OD": "7FE00009"}.get(pixel_vr, "7FE00010")
        described[tag] = {"vr": pixel_vr, "BulkDataURI": f"{root}/{tag}"}
    _write_non_numbers(described)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax.is_encapsulated and dataset.get("SamplesPerPixel") == 3:
        # As a client gets the frames that it does not ask for in the syntax in which they are stored.
        described["00280004"] = {"vr": "CS", "Value": [decoded_photometric(dataset, syntax)]}
        described["00280006"] = {"vr": "US", "Value": [0]}
    described["00083002"] = {"vr": "UI", "Value": [str(syntax)]}
    return json.dumps(dict(sorted(described.items())), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _write_non_numbers(described: Mapping[str, Any]) -> None:
    """Write NaN and infinity as text, because JSON has no numbers for them (PS3.18, F.2.3)."""
    for element in described.values():
        values = element.get("Value")
        for position, value in enumerate(values or ()):
            if isinstance(value, float) and not math.isfinite(value):
                values[position] = "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
            elif isinstance(value, dict) and element.get("vr") == "SQ":
                _write_non_numbers(value)


def _name(dataset: Dataset, path: str, addresses: dict[int, str]) -> None:
    for element in dataset:
        here = f"{path}/{element.tag:08X}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value or ()):
                _name(item, f"{here}/{number}", addresses)
        else:
            addresses[id(element)] = here


def bulk(dicom: bytes, path: list[str]) -> bytes | None:
    """One long value of a file: its path are tags and numbers of items; ``None`` where there is none."""
    with quiet():
        item: Any = dcmread(BytesIO(dicom))
        try:
            for step, number in zip(path[:-1:2], path[1:-1:2], strict=True):
                item = item[int(step, 16)].value[int(number)]
            element = item[int(path[-1], 16)]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return _value(element)


def _value(element: DataElement) -> bytes | None:
    value = element.value
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()[:_MOST_TEXT]
    return None
