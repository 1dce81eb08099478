# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the rendering of DICOM pixels: ``python bench/pictures.py``.

For each accepted transfer syntax, photometric interpretation, number of bits, sign and planar configuration: the
largest difference between the picture that Medhub renders and those of DCMTK and pydicom, in levels of 256, or the
sentence with which the object is refused. Each combination is a small generated file; compressed ones are compared with
the native file of the same values.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array
from tests.science.imaging.dcmtk import dcmtk_picture
from tests.science.imaging.pictures import CONTEXT, LIMITS
from tests.science.imaging.pixel_matrix import PixelCase, dcmtk_options, file_of_case, pixel_cases

from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.deid.profile import find_profile
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering.frames import read_frame


def pydicom_picture(case: PixelCase) -> NDArray[np.int64] | None:
    """The colors of a native file by pydicom; it has no pictures of gray values and of more than eight bits."""
    if case.bits != 8 or case.photometric.startswith("MONO") or case.photometric == "PALETTE COLOR":
        return None
    return pixel_array(BytesIO(file_of_case(case))).astype(np.int64)


def measure(case: PixelCase, references: tuple[NDArray[Any] | None, ...]) -> tuple[list[str], float]:
    """Compare one combination with its references; return the differences, and the time of preparing and rendering."""
    context = replace(CONTEXT, profile=find_profile("research-max-utility"))
    data = file_of_case(case)
    start = time.perf_counter()
    try:
        picture = read_frame(prepare_arrival(data, context=context, limits=LIMITS).dicom).astype(int)
    except Unacceptable as refusal:
        return [f"refused: {refusal.message}"] * len(references), 0.0
    elapsed_s = time.perf_counter() - start
    differences = ["" if other is None else str(int(np.abs(picture - other).max())) for other in references]
    return differences, elapsed_s


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--syntax", default="", help="only transfer syntaxes whose name contains this text")
    arguments = parser.parse_args()
    print("| transfer syntax | photometric | bits | sign | planes | DCMTK | pydicom | ms |")
    print("|---|---|---|---|---|---|---|---|")
    references: dict[PixelCase, tuple[NDArray[Any] | None, ...]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in pixel_cases():
            if arguments.syntax.lower() not in case.syntax.name.lower():
                continue
            twin = case.twin
            if twin not in references:
                shown = dcmtk_picture(Path(folder), file_of_case(twin), *dcmtk_options(twin))
                references[twin] = (shown, pydicom_picture(twin))
            (dcmtk, other), elapsed_s = measure(case, references[twin])
            sign = "signed" if case.signed else "unsigned"
            cells = (case.syntax.name, case.photometric, case.bits, sign, case.planar, dcmtk, other)
            print(f"| {' | '.join(map(str, cells))} | {1000 * elapsed_s:.1f} |")


if __name__ == "__main__":
    main()
