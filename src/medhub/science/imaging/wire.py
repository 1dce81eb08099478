# SPDX-License-Identifier: Apache-2.0
"""What is done to received bytes, as functions of plain values: they run in a process apart from the server.

Whoever has a process apart names one of these functions and gives it plain values and bytes; science itself knows
nothing of processes::

    values = isolation.run(wire.prepare, data, context.to_wire(), limits.to_wire())
    prepared = Prepared.from_wire(values)
    image = wire.array(isolation.run(wire.frame, dicom, 0))
    webp = isolation.run(wire.rendition, dicom, 512)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medhub.science.imaging.arrivals import prepare_arrival
from medhub.science.imaging.decoding import decode_photograph
from medhub.science.imaging.frames import read_frame
from medhub.science.imaging.limits import Limits
from medhub.science.imaging.prepared import Context
from medhub.science.imaging.renditions import Form, original, render_file


def prepare(data: bytes, context: Mapping[str, Any], limits: Mapping[str, int]) -> dict[str, Any]:
    """Do ``prepare_arrival``; read the result by ``Prepared.from_wire``."""
    return prepare_arrival(data, context=Context.from_wire(context), limits=Limits.from_wire(limits)).to_wire()


def photograph(data: bytes, limits: Mapping[str, int]) -> dict[str, Any]:
    """Do ``decode_photograph``; read the result by ``array``."""
    return _picture(decode_photograph(data, Limits.from_wire(limits)))


def frame(dicom: bytes, number: int = 0, window: list[float] | None = None) -> dict[str, Any]:
    """Do ``read_frame``; read the result by ``array``."""
    return _picture(read_frame(dicom, number, window=(window[0], window[1]) if window else None))


def rendition(
    dicom: bytes, size: int, form: Form = "webp", number: int = 0, window: list[float] | None = None
) -> bytes:
    """Do ``render_file``."""
    return render_file(dicom, size, form, frame=number, window=(window[0], window[1]) if window else None)


def download(dicom: bytes) -> list[bytes | str]:
    """Do ``original``: the bytes and their media type."""
    return list(original(dicom))


def _picture(image: NDArray[np.uint8]) -> dict[str, Any]:
    return {"rows": image.shape[0], "columns": image.shape[1], "pixels": image.tobytes()}


def array(values: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Read a picture that came from a process apart.

    Parameters
    ----------
    values
        ``rows``, ``columns`` and ``pixels`` (bytes of the rows, three a pixel).

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), not writable.

    Raises
    ------
    ValueError
        When the bytes do not fit the size.
    """
    rows, columns, pixels = values["rows"], values["columns"], values["pixels"]
    if type(rows) is not int or type(columns) is not int or not isinstance(pixels, bytes):
        raise ValueError("this is not a picture")
    return np.frombuffer(pixels, np.uint8).reshape(rows, columns, 3)
