# SPDX-License-Identifier: Apache-2.0
"""From an image to what a network reads: one way, shared by training and serving, so that the two cannot drift."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from medhub.errors import Invalid


def describe_array(item: str, length: int) -> WithJsonSchema:
    """Describe a tuple in OpenAPI as an array of fixed length; client generators do not all know ``prefixItems``."""
    return WithJsonSchema({"type": "array", "items": {"type": item}, "minItems": length, "maxItems": length})


Triple = Annotated[tuple[float, float, float], describe_array("number", 3)]


class Preprocessing(BaseModel):
    """How an image becomes the input of a network.

    Attributes
    ----------
    size
        Side of the square that the network reads, in pixels.
    resize
        ``stretch``: the whole image becomes the square, so that nothing of it is left out and the evidence map
        lies over the whole image.
    interpolation
        ``bilinear``, widened when shrinking (antialiased), as Pillow does it.
    channels
        Order of the colour channels.
    mean, std
        ``(value - mean) / std`` for each channel, with values of 0..255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=32, le=2048, multiple_of=32)]
    resize: Literal["stretch"] = "stretch"
    interpolation: Literal["bilinear"] = "bilinear"
    channels: Literal["RGB"] = "RGB"
    mean: Triple
    std: Triple


def resize(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Bring an image to the square that the network reads.

    Parameters
    ----------
    image
        Height x width x 3, uint8, RGB.
    preprocessing
        The classifier's preprocessing.

    Returns
    -------
    NDArray[np.uint8]
        Size x size x 3.

    Raises
    ------
    Invalid
        The array is not an RGB image of 8 bits.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise Invalid(
            "A classifier reads RGB images of 8 bits a channel.", shape=list(image.shape), type=str(image.dtype)
        )
    side = preprocessing.size
    if image.shape[:2] == (side, side):
        return np.ascontiguousarray(image)
    # The gap lets Pillow shrink a large photograph by whole factors first: several times faster, the same to the eye.
    small = Image.fromarray(np.ascontiguousarray(image)).resize(
        (side, side), Image.Resampling.BILINEAR, reducing_gap=3.0
    )
    return np.asarray(small)


def normalize(images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scale the values of resized images.

    Parameters
    ----------
    images
        N x size x size x 3, uint8.
    preprocessing
        The classifier's preprocessing.

    Returns
    -------
    NDArray[np.float32]
        N x 3 x size x size.
    """
    mean = np.asarray(preprocessing.mean, np.float32)
    factor = np.float32(1) / np.asarray(preprocessing.std, np.float32)
    scaled = (images.astype(np.float32) - mean) * factor
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def prepare(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Make the input of a network from an image.

    Parameters
    ----------
    image
        Height x width x 3, uint8, RGB.
    preprocessing
        The classifier's preprocessing.

    Returns
    -------
    NDArray[np.float32]
        1 x 3 x size x size.

    Raises
    ------
    Invalid
        The array is not an RGB image of 8 bits.
    """
    return normalize(resize(image, preprocessing)[None], preprocessing)
