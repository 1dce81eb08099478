# SPDX-License-Identifier: Apache-2.0
"""Image regions in which known devices write patient data, and regions of ultrasound."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom import Dataset

Box = tuple[int, int, int, int]


def known_regions(received: Dataset) -> tuple[Box, ...]:
    """Find the regions in which the device of an image writes patient data (tables/regions.toml).

    Parameters
    ----------
    received
        As received.

    Returns
    -------
    tuple of boxes
        x0, y0, x1, y1 in pixels, within the image; the last two not included.
    """
    rows, columns = int(received.get("Rows", 0) or 0), int(received.get("Columns", 0) or 0)
    boxes = []
    for device in _devices():
        if all(any(_matches(received, *condition) for condition in alternatives) for alternatives in device["where"]):
            for x0, y0, x1, y1 in device["boxes"]:
                if x0 < columns and y0 < rows:
                    boxes.append((x0, y0, min(x1, columns), min(y1, rows)))
    return tuple(boxes)


def ultrasound_regions(received: Dataset) -> tuple[Box, ...]:
    """Read the regions of ultrasound (0018,6011); empty if the file has none or they are invalid."""
    rows, columns = int(received.get("Rows", 0) or 0), int(received.get("Columns", 0) or 0)
    boxes = []
    for item in received.get("SequenceOfUltrasoundRegions", None) or ():
        try:
            x0, y0, x1, y1 = (
                int(item[name].value)
                for name in ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
            )
        except (KeyError, TypeError, ValueError):
            return ()
        if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
            return ()
        boxes.append((x0, y0, min(x1 + 1, columns), min(y1 + 1, rows)))
    return tuple(boxes)


def _matches(received: Dataset, test: str, attribute: str, *expected_values: str) -> bool:
    source = getattr(received, "file_meta", None) if attribute == "ImplementationVersionName" else received
    value = _text(source.get(attribute)) if source is not None else ""
    if test == "equals":
        return any(value == expected for expected in expected_values)
    return any(expected.casefold() in value.casefold() for expected in expected_values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return " ".join(str(part) for part in values)


@cache
def _devices() -> list[dict[str, Any]]:
    text = files("medhub.science.deid").joinpath("tables/regions.toml").read_text("utf-8")
    devices: list[dict[str, Any]] = tomllib.loads(text)["device"]
    return devices
