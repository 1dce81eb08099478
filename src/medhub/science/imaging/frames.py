# SPDX-License-Identifier: Apache-2.0
"""One frame of a DICOM file as the picture that it means: decoded, windowed, in red, green and blue."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import JPEGBaseline8Bit

from medhub.science.imaging.limits import Unacceptable


def read_frame(dicom: bytes, frame: int = 0, *, window: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Read one frame as a picture; the other frames are not decoded."""
    stream = jpeg_frame(dicom) if frame == 0 and window is None else None
    if stream is not None:
        with Image.open(BytesIO(stream), formats=("JPEG",)) as image:
            return np.asarray(image.convert("RGB"))
    dataset = Dataset()
    pixels = pixel_array(BytesIO(dicom), ds_out=dataset, index=frame)
    bits = int(dataset.BitsStored)
    if bits > 8:
        pixels = pixels >> (bits - 8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels.astype(np.uint8))


def jpeg_frame(dicom: bytes) -> bytes | None:
    """Find the JPEG stream of a photograph that was kept as it came; ``None`` for every other file."""
    from pydicom import dcmread
    from pydicom.encaps import get_frame

    dataset = dcmread(BytesIO(dicom))
    if dataset.file_meta.TransferSyntaxUID != JPEGBaseline8Bit or int(dataset.get("NumberOfFrames", 1)) != 1:
        return None
    stream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    return stream[: stream.rfind(b"\xff\xd9") + 2] or None


__all__ = ["Unacceptable", "jpeg_frame", "read_frame"]
