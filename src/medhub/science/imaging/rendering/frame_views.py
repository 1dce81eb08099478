# SPDX-License-Identifier: Apache-2.0
"""Pictures of a frame as a viewer requests them: window, region, and size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate

from medhub.science.imaging.dicom.received_file import quiet
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.grayscale import FrameValues
from medhub.science.imaging.rendering.pixel_aspect import read_pixel_aspect, with_square_pixels
from medhub.science.imaging.rendering.renditions import Form

FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
"""Names of window functions in addresses (PS3.18, 8.3.5.1.4), and in files (PS3.3, C.11.2.1.3)."""


@dataclass(frozen=True)
class View:
    """How a frame is to be shown (PS3.18, 8.3.5).

    Attributes
    ----------
    form
        "jpeg", "png" or "webp".
    quality
        1 to 100, of a picture that loses something.
    center, width, function
        The window in modality units, one of the values of ``FUNCTIONS``; without ``function`` that of the file.
    across, down
        Size in pixels into which the picture is fitted; 0 for its own size.
    left, top, region_width, region_height
        The part of the frame that is shown, in its pixels; a width or height below 0 mirrors it, and 0 goes to the end.
    enlarge
        Whether a smaller picture is enlarged to this size.
    """

    form: Form = "jpeg"
    quality: int = 90
    center: float = 0.0
    width: float = 0.0
    function: str = ""
    across: int = 0
    down: int = 0
    left: int = 0
    top: int = 0
    region_width: int = 0
    region_height: int = 0
    enlarge: bool = True

    @property
    def key(self) -> str:
        """A short text that is the same for the same view."""
        return "-".join(str(value) for value in asdict(self).values())


def single_frame(head: bytes, frame: bytes, number: int, *, vr: str, encapsulated: bool) -> bytes:
    """Make a file of one frame out of a file's attributes and the bytes of that frame.

    Parameters
    ----------
    head
        What comes before the pixel data of a stored file.
    frame
        The frame: native values, or its stream with all fragments joined.
    number
        Number of the frame, from 0.
    vr
        Representation of the pixel data.
    encapsulated
        Whether the frame is a stream.

    Returns
    -------
    bytes
        A DICOM file whose only frame is this one, with what the frame's functional groups say of it.
    """
    with quiet():
        dataset = dcmread(BytesIO(head))
        dataset.NumberOfFrames = 1
        groups = dataset.get("PerFrameFunctionalGroupsSequence")
        if groups is not None and number < len(groups):
            dataset.PerFrameFunctionalGroupsSequence = [groups[number]]
        value = encapsulate([frame]) if encapsulated else frame + b"\x00" * (len(frame) % 2)
        tag = {"OF": "FloatPixelData", "OD": "DoubleFloatPixelData"}.get(vr, "PixelData")
        setattr(dataset, tag, value)
        dataset[tag].VR = vr
        dataset[tag].is_undefined_length = encapsulated
        return _written(dataset)


def render_view(dicom: bytes, number: int, view: View) -> bytes:
    """Write a picture of one frame as a viewer requests it.

    Parameters
    ----------
    dicom
        A stored file.
    number
        Number of the frame, from 0.
    view
        How it is to be shown.

    Returns
    -------
    bytes
        The encoded picture.

    Raises
    ------
    Unacceptable
        When the frame cannot be decoded.
    """
    if view.function:
        dicom = _windowed(dicom, number, view)
    picture = Image.fromarray(np.ascontiguousarray(read_frame(dicom, number)))
    picture = _fitted(with_square_pixels(_part(picture, view), read_pixel_aspect(dicom, number)), view)
    out = BytesIO()
    if view.form == "png":
        picture.save(out, "PNG", compress_level=3)
    elif view.form == "webp":
        picture.save(out, "WEBP", quality=view.quality, method=1)
    else:
        picture.save(out, "JPEG", quality=view.quality)
    return out.getvalue()


def _windowed(dicom: bytes, number: int, view: View) -> bytes:
    """Replace the window of the file; its other attributes stay."""
    with quiet():
        dataset = dcmread(BytesIO(dicom))
        interest = FrameValues.of(dataset, number).interest
        for holder in (dataset, interest):
            if "VOILUTSequence" in holder:
                del holder.VOILUTSequence
        # The linear function has no window below one (PS3.3, C.11.2.1.2.1).
        width = max(view.width, 1.0) if view.function == "LINEAR" else view.width
        interest.WindowCenter, interest.WindowWidth = str(view.center)[:16], str(width)[:16]
        interest.VOILUTFunction = view.function
        return _written(dataset)


def _written(dataset: Dataset) -> bytes:
    out = BytesIO()
    dcmwrite(out, dataset)
    return out.getvalue()


def _part(picture: Image.Image, view: View) -> Image.Image:
    left, top = min(view.left, picture.width - 1), min(view.top, picture.height - 1)
    width = abs(view.region_width) or picture.width
    height = abs(view.region_height) or picture.height
    box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
    if box != (0, 0, *picture.size):
        picture = picture.crop(box)
    if view.region_width < 0:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if view.region_height < 0:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return picture


def _fitted(picture: Image.Image, view: View) -> Image.Image:
    if not view.across or not view.down:
        return picture
    scale = min(view.across / picture.width, view.down / picture.height)
    if scale == 1 or (scale > 1 and not view.enlarge):
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
