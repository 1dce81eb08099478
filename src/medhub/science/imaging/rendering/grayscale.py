# SPDX-License-Identifier: Apache-2.0
"""From stored values to the grey levels of a screen: modality transform, window, presentation (PS3.4, N.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

_MAX_TABLE_ENTRIES = 2**20
_COLORS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class FrameValues:
    """The attributes that define the meaning of the values of one frame, wherever they are in the dataset.

    Attributes
    ----------
    dataset
        The dataset of the file.
    modality
        The dataset that holds the modality transform.
    interest
        The dataset that holds the window or the VOI lookup table.
    """

    dataset: Dataset
    modality: Dataset
    interest: Dataset

    @classmethod
    def of(cls, dataset: Dataset, frame: int) -> FrameValues:
        """Find the attributes of one frame: its own functional group, else the shared one, else the top level.

        Parameters
        ----------
        dataset
            The dataset of the file.
        frame
            Number of the frame, from 0.

        Returns
        -------
        FrameValues
            The datasets that hold the attributes of the frame (PS3.3, C.7.6.16).
        """
        groups: list[Dataset] = []
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
        if per_frame is not None and frame < len(per_frame):
            groups.append(per_frame[frame])
        groups += list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]

        def find(keyword: str) -> Dataset:
            for group in groups:
                items = group.get(keyword)
                if items:
                    item: Dataset = items[0]
                    return item
            return dataset

        return cls(dataset, find("PixelValueTransformationSequence"), find("FrameVOILUTSequence"))

    @property
    def bits(self) -> int:
        """Bits of a stored value."""
        return int(self.dataset.BitsStored)

    @property
    def signed(self) -> bool:
        """Whether stored values are signed."""
        return int(self.dataset.get("PixelRepresentation", 0) or 0) == 1


def grey_levels(
    pixels: NDArray[Any], values: FrameValues, window: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Turn stored values into grey levels.

    Parameters
    ----------
    pixels
        Stored values, an integer array of shape (rows, columns).
    values
        What they mean.
    window
        Center and width in modality units, instead of those of the file.

    Returns
    -------
    ndarray of uint8
        Array of the same shape; 0 is black.
    """
    if pixels.dtype.kind == "f":
        return _float_levels(pixels.astype(np.float64), values, window)
    low, high = int(pixels.min()), int(pixels.max())
    if high - low < _MAX_TABLE_ENTRIES:
        # Each value is computed once; the pixels are then looked up in the table.
        domain = np.arange(low, high + 1, dtype=np.int64)
        table = _levels(domain, pixels, values, window)
        return table[pixels.astype(np.int64) - low] if low else table[pixels]
    return _levels(pixels.astype(np.int64), pixels, values, window)


def _float_levels(
    stored: NDArray[np.float64], values: FrameValues, window: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """Turn floating-point values into grey levels; NaN and infinity are black (PS3.3, C.7.6.24)."""
    finite = np.isfinite(stored)
    center_and_width = window or window_of(values.interest)
    if center_and_width is not None:
        function = "LINEAR" if window is not None else _window_function(values.interest)
        shares = _windowed(np.where(finite, stored, 0.0), *center_and_width, function)
    else:
        inside = stored[finite]
        low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
        # Halved before the subtraction, because the difference of the largest numbers overflows.
        width = high / 2 - low / 2
        shares = (np.where(finite, stored, low) / 2 - low / 2) / width if width > 0 else np.zeros(stored.shape)
    shares = np.clip(shares, 0.0, 1.0)
    if _inverted(values.dataset):
        shares = 1.0 - shares
    return np.where(finite, np.rint(shares * 255), 0).astype(np.uint8)


def _levels(
    stored: NDArray[np.int64], pixels: NDArray[Any], values: FrameValues, window: tuple[float, float] | None
) -> NDArray[np.uint8]:
    measured = modality_values(stored, values)
    interest = values.interest
    if window is not None:
        shares = linear_window(measured, *window)
    elif interest.get("VOILUTSequence"):
        shares = _from_table(measured, interest.VOILUTSequence[0], _is_signed_output(values))
    elif (own := window_of(interest)) is not None:
        shares = _windowed(measured, *own, _window_function(interest))
    elif values.bits <= 8 and not values.signed and measured is stored:
        shares = stored / (2**values.bits - 1)
    else:
        low, high = _extent(pixels, values)
        shares = (measured - low) / (high - low) if high > low else np.zeros(measured.shape)
    shares = np.clip(shares, 0.0, 1.0)
    if _inverted(values.dataset):
        shares = 1.0 - shares
    return np.rint(shares * 255).astype(np.uint8)


def _inverted(dataset: Dataset) -> bool:
    """White is the smallest value (PS3.3, C.7.6.3.1.2 and C.11.6.1); either attribute has the same effect."""
    return "MONOCHROME1" in str(dataset.get("PhotometricInterpretation")) or "INVERSE" in str(
        dataset.get("PresentationLUTShape")
    )


def modality_values(stored: NDArray[np.int64], values: FrameValues) -> NDArray[Any]:
    """Apply the modality transform: a table, or slope and intercept (PS3.3, C.11.1).

    Parameters
    ----------
    stored
        Stored values.
    values
        What they mean.

    Returns
    -------
    ndarray
        Values in modality units, for example Hounsfield units; ``stored`` itself without a transform.
    """
    source = values.modality
    if source.get("ModalityLUTSequence"):
        table, first, _ = _table(source.ModalityLUTSequence[0], values.signed)
        return table[np.clip(stored - first, 0, len(table) - 1)]
    rescale = _rescale_of(source)
    return stored if rescale is None else stored * rescale[0] + rescale[1]


def _rescale_of(source: Dataset) -> tuple[float, float] | None:
    """Slope and intercept, if they change a value; a slope of zero is none."""
    slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
    if slope in (None, "") or intercept in (None, ""):
        return None
    rescale = float(slope), float(intercept)
    return None if rescale == (1.0, 0.0) or rescale[0] == 0 else rescale


def _is_signed_output(values: FrameValues) -> bool:
    """Whether the modality transform may return negative values (PS3.3, C.11.2.1.1)."""
    if values.modality.get("ModalityLUTSequence"):
        return False
    low, high = (-(2 ** (values.bits - 1)), 2 ** (values.bits - 1) - 1) if values.signed else (0, 2**values.bits - 1)
    slope, intercept = _rescale_of(values.modality) or (1.0, 0.0)
    return bool(min(low * slope, high * slope) + intercept < 0)


def linear_window(measured: NDArray[Any], center: float, width: float) -> NDArray[np.float64]:
    """Apply a linear window (PS3.3, C.11.2.1.2.1).

    Parameters
    ----------
    measured
        Values in modality units.
    center, width
        The window; a width below 1 counts as 1.

    Returns
    -------
    ndarray of float64
        0 below the window, 1 above it.
    """
    center, width = center - 0.5, max(width, 1.0) - 1.0
    if width == 0:
        return (measured > center).astype(np.float64)
    return np.clip((measured - center) / width + 0.5, 0.0, 1.0)


def _windowed(measured: NDArray[Any], center: float, width: float, function: str) -> NDArray[np.float64]:
    if function == "SIGMOID" and width > 0:
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (measured - center) / width, -700, 700)))
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((measured - center) / width + 0.5, 0.0, 1.0)
    return linear_window(measured, center, width)


def _window_function(source: Dataset) -> str:
    return str(source.get("VOILUTFunction") or "LINEAR").strip().upper()


def window_of(source: Dataset) -> tuple[float, float] | None:
    """Find the window of a dataset.

    Parameters
    ----------
    source
        The dataset that holds the window.

    Returns
    -------
    tuple or None
        Center and width of the first of the alternatives that is one (PS3.3, C.11.2.1.2): both are numbers, and the
        width is at least 1, or above 0 where the function is not linear. ``None`` when there is none.
    """
    lists = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = source.get(keyword)
        lists.append([value] if value is None or isinstance(value, int | float | str) else list(value))
    exact = _window_function(source) in ("LINEAR_EXACT", "SIGMOID")
    for pair in zip(*lists, strict=False):
        try:
            center, width = (float(value) for value in pair)
        except (TypeError, ValueError):
            continue
        if isfinite(center) and isfinite(width) and (width > 0 if exact else width >= 1):
            return center, width
    return None


def _extent(pixels: NDArray[Any], values: FrameValues) -> tuple[float, float]:
    """Smallest and largest value of a frame in modality units, without the padding value."""
    inside = pixels
    padding = values.dataset.get("PixelPaddingValue")
    if isinstance(padding, int):
        limit = values.dataset.get("PixelPaddingRangeLimit")
        other = limit if isinstance(limit, int) else padding
        outside = (pixels >= min(padding, other)) & (pixels <= max(padding, other))
        if not outside.all():
            inside = pixels[~outside]
    if values.modality.get("ModalityLUTSequence"):
        measured = modality_values(inside.astype(np.int64), values)
    else:
        measured = modality_values(np.array([inside.min(), inside.max()], np.int64), values)
    return float(measured.min()), float(measured.max())


def _from_table(measured: NDArray[Any], item: Dataset, signed: bool) -> NDArray[np.float64]:
    table, first, bits = _table(item, signed)
    index = np.clip(np.floor(measured).astype(np.int64) - first, 0, len(table) - 1)
    shares: NDArray[np.float64] = table[index] / (2**bits - 1)
    return shares


def _table(item: Dataset, signed: bool) -> tuple[NDArray[np.int64], int, int]:
    """Read a lookup table: its entries, the first value that it maps, and the bits of an entry (PS3.3, C.11.1.1)."""
    entries, first, bits = _descriptor(item.LUTDescriptor, signed)
    data = item.LUTData
    if isinstance(data, bytes):
        kind = "u1" if len(data) < 2 * entries else "<u2"
        table = np.frombuffer(data, kind, count=min(entries, len(data) // np.dtype(kind).itemsize)).astype(np.int64)
    else:
        table = np.atleast_1d(np.asarray(data, np.int64))[:entries] & 0xFFFF
    if not 8 <= bits <= 16 or not len(table):
        raise ValueError("the lookup table has no entries, or entries of an unknown size")
    return table, first, bits


def _descriptor(numbers: Iterable[Any], signed: bool) -> tuple[int, int, int]:
    """Read the descriptor of a table: its entries, the first value that it maps, and the bits of an entry.

    All are words, which a reader takes as signed or not by an attribute that need not be of this table. Only the first
    value can be negative, where the values that it maps can be.
    """
    entries, first, bits = (int(number) & 0xFFFF for number in numbers)
    return entries or 2**16, first - 2**16 if signed and first >= 2**15 else first, bits


def palette_colors(pixels: NDArray[Any], values: FrameValues) -> NDArray[np.uint8]:
    """Look up the colors of a palette (PS3.3, C.7.6.3.1.5 and C.7.9).

    Parameters
    ----------
    pixels
        Stored values, an integer array of shape (rows, columns).
    values
        What they mean; the palette is in their dataset.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB.
    """
    dataset = values.dataset
    entries, first, bits = _descriptor(dataset.RedPaletteColorLookupTableDescriptor, values.signed)
    if "RedPaletteColorLookupTableData" in dataset:
        columns = []
        for color in _COLORS:
            data = dataset[f"{color}PaletteColorLookupTableData"].value
            kind = "u1" if len(data) < 2 * entries else "<u2"
            columns.append(np.frombuffer(data, kind)[:entries])
        table = np.stack(columns, axis=1)
    else:
        table = apply_color_lut(np.arange(first, first + entries), dataset)[:, :3]
    # Some writers declare 16 bits and use eight: a table without a value above 255 is used as it is.
    if bits > 8 and table.max(initial=0) > 255:
        table = table >> (bits - 8)
    table = table.astype(np.uint8)
    return table[np.clip(pixels.astype(np.int64) - first, 0, len(table) - 1)]
