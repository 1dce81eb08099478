# SPDX-License-Identifier: Apache-2.0
"""Small DICOM files in each accepted combination of transfer syntax, meaning of values, bits, sign and planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from tests.science.imaging.datasets import dataset_of, file_of
from tests.science.imaging.encoded_frames import LOSSLESS_SYNTAXES, compressed_file

ROWS, COLUMNS = 40, 48
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
TRANSFORMS = (JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL)


@dataclass(frozen=True)
class PixelCase:
    """One combination; ``twin`` names the native file of the same picture."""

    syntax: UID
    photometric: str
    bits: int
    signed: bool = False
    planar: int = 0

    @property
    def twin(self) -> PixelCase:
        """The combination in Explicit VR Little Endian."""
        photometric = {"YBR_RCT": "RGB"}.get(self.photometric, self.photometric)
        return PixelCase(ExplicitVRLittleEndian, photometric, self.bits, self.signed, 0)

    @property
    def lossy(self) -> bool:
        """Whether values may differ a little."""
        return self.syntax in (JPEGBaseline8Bit, JPEGExtended12Bit)

    def __str__(self) -> str:
        """Name the combination."""
        sign = "signed" if self.signed else "unsigned"
        return f"{self.syntax.name.split(' (')[0]}, {self.photometric}, {self.bits} bits, {sign}, planes {self.planar}"


def pixel_cases() -> Iterator[PixelCase]:
    """All combinations, in a fixed order."""
    for syntax in (*NATIVE, *LOSSLESS_SYNTAXES):
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            for bits in (8, 12, 16):
                for signed in (False, True):
                    yield PixelCase(syntax, photometric, bits, signed)
        for bits in (8, 16):
            yield PixelCase(syntax, "PALETTE COLOR", bits)
        for bits in (8, 12, 16):
            yield PixelCase(syntax, "RGB", bits)
            yield PixelCase(syntax, "YBR_FULL", bits)
            if syntax in NATIVE:
                yield PixelCase(syntax, "RGB", bits, planar=1)
                yield PixelCase(syntax, "YBR_FULL", bits, planar=1)
            if syntax in TRANSFORMS:
                yield PixelCase(syntax, "YBR_RCT", bits)
        if syntax in NATIVE:
            yield PixelCase(syntax, "YBR_FULL_422", 8)
    for syntax, bits in ((JPEGBaseline8Bit, 8), (JPEGExtended12Bit, 8), (JPEGExtended12Bit, 12)):
        for photometric in ("MONOCHROME1", "MONOCHROME2"):
            yield PixelCase(syntax, photometric, bits)


def stored_pixels(case: PixelCase) -> NDArray[Any]:
    """The stored values of a combination, from the least to the greatest."""
    dtype = np.dtype(f"{'i' if case.signed else 'u'}{1 if case.bits <= 8 else 2}")
    low = -(2 ** (case.bits - 1)) if case.signed else 0
    if case.photometric == "PALETTE COLOR":
        return np.random.default_rng(7).integers(0, 256, (ROWS, COLUMNS)).astype(dtype)
    ramp = np.rint(np.linspace(low, low + 2**case.bits - 1, ROWS * COLUMNS)).reshape(ROWS, COLUMNS)
    if case.photometric.startswith("MONO"):
        return ramp.astype(dtype)
    if case.photometric.startswith("YBR_FULL"):
        half = 2 ** (case.bits - 1)
        chroma = np.random.default_rng(8).integers(half * 3 // 4, half * 5 // 4, (ROWS // 4, COLUMNS // 4, 2))
        chroma = chroma.repeat(4, axis=0).repeat(4, axis=1)
        return np.dstack([ramp * 0.5 + half // 2, chroma]).astype(dtype)
    return np.random.default_rng(9).integers(0, 2**case.bits, (ROWS, COLUMNS, 3)).astype(dtype)


def file_of_case(case: PixelCase) -> bytes:
    """Write the file of a combination."""
    pixels = stored_pixels(case)
    more: dict[str, Any] = {"PhotometricInterpretation": case.photometric}
    if case.photometric == "PALETTE COLOR":
        for number, color in enumerate(("Red", "Green", "Blue")):
            more[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            table = np.random.default_rng(number).integers(0, 2**16, 256).astype("<u2")
            more[f"{color}PaletteColorLookupTableData"] = table.tobytes()
    if case.syntax not in NATIVE:
        stream_bits = case.bits if case.lossy or case.syntax not in TRANSFORMS else 0
        return compressed_file(
            pixels[None],
            case.syntax,
            case.bits,
            stream_bits=stream_bits,
            color_transform=case.photometric == "YBR_RCT",
            **more,
        )
    dataset = dataset_of(pixels, BitsStored=case.bits, HighBit=case.bits - 1, **more)
    value = np.moveaxis(pixels, -1, 0) if case.planar else pixels
    if case.photometric == "YBR_FULL_422":
        value = np.stack([pixels[:, ::2, 0], pixels[:, 1::2, 0], pixels[:, ::2, 1], pixels[:, ::2, 2]], axis=-1)
    if case.planar:
        dataset.PlanarConfiguration = 1
    if case.syntax == ExplicitVRBigEndian:
        value = value.astype(value.dtype.newbyteorder(">"))
        for color in ("Red", "Green", "Blue"):
            if case.photometric == "PALETTE COLOR":
                entries = dataset[f"{color}PaletteColorLookupTableData"]
                entries.value = np.frombuffer(entries.value, "<u2").astype(">u2").tobytes()
    data = np.ascontiguousarray(value).tobytes()
    dataset["PixelData"].value = data + bytes(len(data) % 2)
    return file_of(dataset, case.syntax)


def dcmtk_options(case: PixelCase) -> tuple[str, ...]:
    """Options by which DCMTK shows gray values from the least to the greatest, as Medhub does without a window."""
    return ("+Wm",) if case.photometric.startswith("MONO") else ()
