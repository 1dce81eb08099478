# SPDX-License-Identifier: Apache-2.0
"""Benchmark of text burned into pixels: share of text that is blackened, share of other pixels, and time.

    python bench/burned_in.py [--images 500] [--only-harmless 250] [--slices 200] [--reconstructed FOLDER]

Images are generated from seeds (tests/factories/burned.py): six fonts, 10 to 40 pixels, contrasts from 12 levels on
black and 45 on tissue, seven rotations, over black, speckle, tissue and a stained field. Slices
(tests/factories/slices.py) are searched as the default profile searches CT, MR and PET: by a quick check, and only in
the areas that it marks; half of them are inverted (MONOCHROME1). ``--reconstructed`` adds real slices without text.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage
from tests.factories.burned import BurnedImage, make_burned_image, write_line
from tests.factories.slices import make_slice

from medhub.science.arrivals.cleaned_image import CleaningContext
from medhub.science.arrivals.dicom_arrivals import prepare_dicom
from medhub.science.deid.frame_layouts import Layouts
from medhub.science.deid.pixel_cleaning import PixelCheck, clean_pixels_of, may_contain_text
from medhub.science.deid.pixel_risks import may_hold_writing
from medhub.science.imaging.decoding_limits import DecodingLimits
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.rendering.frames import read_stored
from medhub.science.learning.metrics import wilson

IDENTIFIERS = (
    "KOWALSKA, ANNA",
    "Nguyen^Peter",
    "ID 4711233",
    "12.03.1974",
    "DOB 1974-03-12",
    "IM LA",
    "Dr. Haddad",
    "MRN0081522",
)
HARMLESS_ON_SLICES = ("R", "L", "AP", "10 cm", "120 kV", "250 mAs", "PORTABLE", "W 400 L 40", "5 mm")
CONTEXT = CleaningContext(uid_key=bytes(16), patient_code="P-1", received_at=datetime.now(UTC))
COVERED = 0.9
NEAR = 8


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--only-harmless", type=int, default=250)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--reconstructed", type=Path, default=None, help="a folder of real slices without text")
    parser.add_argument("--first", type=int, default=10_000, help="the first seed")
    options = parser.parse_args()
    _identifiers(range(options.first, options.first + options.images))
    _measure_allowed_text(range(options.first, options.first + options.only_harmless))
    _measure_slices(range(options.first, options.first + options.slices))
    if options.reconstructed is not None:
        _measure_real_slices(options.reconstructed)
    _speed()


def _measure_slices(seeds: range) -> None:
    """Write an identifier, or only harmless text, into slices, and print what becomes black."""
    covered = waiting = touched = harmless = 0
    times: dict[bool, list[float]] = {True: [], False: []}
    for seed in seeds:
        chance = np.random.default_rng(seed)
        identifies = bool(seed % 3)
        terms = IDENTIFIERS if identifies else HARMLESS_ON_SLICES
        values = make_slice(seed, int(chance.choice((256, 512))))
        size, turned = int(chance.integers(11, 40)), chance.random() < 0.3
        level = float(chance.uniform(0.75, 1.0)) if chance.random() < 0.7 else 0.0
        if turned:
            values = np.rot90(values).copy()
        if level == 0.0:  # a banner with dark text
            values[: size + 24] = np.maximum(values[: size + 24], chance.uniform(0.4, 0.9))
        before = values.copy()
        write_line(values, str(chance.choice(terms)), (8, 8), size, level)
        ink = np.abs(values - before) > 0.1
        inverted = bool(seed % 2)
        if turned:
            values, ink = np.rot90(values, 3).copy(), np.rot90(ink, 3)
        image = np.clip(values * 255, 0, 255).astype(np.uint8)
        dataset, dicom = _file(255 - image if inverted else image, "CT", "MONOCHROME1" if inverted else "MONOCHROME2")
        dataset.PatientName = "IM^LA"  # both words are marks in other files
        start = time.process_time()
        marked = may_contain_text(dicom)
        check = (
            clean_pixels_of(dataset, dicom, only_ultrasound=False, complete=False) if marked else PixelCheck(data=dicom)
        )
        times[marked].append(time.process_time() - start)
        boxes = _boxes(check, image.shape)
        if identifies:
            waiting += bool(check.doubt)
            covered += bool(check.doubt) or bool((boxes & ink).sum() >= COVERED * ink.sum())
        else:
            harmless += 1
            touched += bool(check.doubt) or bool(check.boxes)
    count = len(seeds) - harmless
    print(
        f"\nSlices with an identifier: {covered} of {count} covered, {_share(covered, count)}, {waiting} of them wait"
    )
    print(f"Slices with harmless text only: {touched} of {harmless} touched, {_share(touched, harmless)}")
    for marked, name in ((True, "marked and searched"), (False, "not marked")):
        if times[marked]:
            print(f"  {name}: {len(times[marked])}, median {np.median(times[marked]) * 1000:.1f} ms")


def _measure_real_slices(folder: Path) -> None:
    """Search real slices without text, and print which ones would change."""
    count, touched, marked = 0, [], 0
    times = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            dataset = dcmread(path)
            if dataset.Modality not in ("CT", "MR", "PT") or may_hold_writing(dataset):
                continue
            dicom = prepare_dicom(path.read_bytes(), CONTEXT, DecodingLimits()).dicom
        except Exception as error:
            print(f"  not read: {path.name}: {type(error).__name__}")
            continue
        count += 1
        start = time.process_time()
        suspicious = may_contain_text(dicom)
        marked += suspicious
        if suspicious:
            check = clean_pixels_of(dataset, dicom, only_ultrasound=False, complete=False)
            if check.doubt or check.boxes:
                touched.append(path.name)
        times.append(time.process_time() - start)
    print(
        f"\nReal slices: {count}, of them {marked} marked, median {np.median(times) * 1000:.1f} ms; touched: {touched}"
    )


def _identifiers(seeds: range) -> None:
    counts: Counter[tuple[str, bool]] = Counter()
    doubt, other, missed = 0, [], []
    for seed in seeds:
        sample = make_burned_image(seed)
        check, after = _clean(sample)
        if check.doubt:  # nobody gets it before a person has looked
            doubt += 1
            continue
        changed = _changed(sample.image, after)
        for line in sample.lines:
            if line.identifies:
                covered = (_boxes(check, changed.shape) & line.ink).sum() >= COVERED * line.ink.sum()
                counts[sample.background, bool(covered)] += 1
                if not covered:
                    missed.append((seed, sample.background, line.text, line.size, line.contrast, line.turn))
        other.append(float((changed & ~_neighborhood(sample)).mean()))
    print(f"Pictures with identifiers: {len(seeds)}, of them {doubt} left to a person\n")
    print("| background | identifiers | covered | share (95 %) |\n|---|---|---|---|")
    for background in (*sorted({name for name, _ in counts}), "all"):
        yes, no = (
            sum(n for (name, was), n in counts.items() if was is state and background in (name, "all"))
            for state in (True, False)
        )
        print(f"| {background} | {yes + no} | {yes} | {_share(yes, yes + no)} |")
    print(f"\nOther pixels changed: mean {np.mean(other):.3%}, greatest {max(other):.3%}")
    for entry in missed:
        print("  missed:", *entry)


def _measure_allowed_text(seeds: range) -> None:
    touched = 0
    for seed in seeds:
        sample = make_burned_image(seed, identifiers=False)
        check, after = _clean(sample)
        touched += bool(check.doubt) or bool(_changed(sample.image, after).any())
    print(f"\nPictures with harmless writing only: {touched} of {len(seeds)} touched, {_share(touched, len(seeds))}")


def _speed() -> None:
    print("\n| one core | images | median s | images/s |\n|---|---|---|---|")
    for title, layouts in (("each looked at anew", None), ("a series that shares a layout", Layouts())):
        times = []
        sample = make_burned_image(20_000, size=(1024, 1024))
        chance = np.random.default_rng(0)
        for number in range(12):
            image = sample.image
            if number:  # what moves: noise where nothing is written
                free = ~_neighborhood(sample)
                noise = chance.normal(0, 2, image.shape)
                image = np.where(free, np.clip(image + noise * (image > 0), 0, 255), image).astype(np.uint8)
            dataset, dicom = _file(image, sample.modality)
            before = time.process_time()
            clean_pixels_of(dataset, dicom, only_ultrasound=False, layouts=layouts)
            if number:
                times.append(time.process_time() - before)
        median = float(np.median(times))
        print(f"| {title}, 1024 x 1024 | {len(times)} | {median:.2f} | {1 / median:.1f} |")
    print(f"\nMemory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def _clean(sample: BurnedImage) -> tuple[PixelCheck, NDArray[np.uint8]]:
    dataset, dicom = _file(sample.image, sample.modality)
    check = clean_pixels_of(dataset, dicom, only_ultrasound=False)
    return check, sample.image if check.doubt else read_stored(check.data)[0]


def _file(image: NDArray[np.uint8], modality: str, photometric: str = "MONOCHROME2") -> tuple[Dataset, bytes]:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = UltrasoundImageStorage, "1.2.3", "1.2"
    dataset.Modality = modality
    dataset.Rows, dataset.Columns = image.shape[:2]
    dataset.SamplesPerPixel = 1 if image.ndim == 2 else 3
    dataset.PhotometricInterpretation = photometric if image.ndim == 2 else "RGB"
    if image.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset["PixelData"] = DataElement(0x7FE00010, "OB", image.tobytes() + b"\0" * (image.size % 2))
    return dataset, write_file(dataset, ExplicitVRLittleEndian)


def _changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    changed = before != after
    return np.asarray(changed.any(-1) if changed.ndim == 3 else changed)


def _boxes(check: PixelCheck, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    black = np.zeros(shape, bool)
    for _, x0, y0, x1, y1 in check.boxes:
        black[y0:y1, x0:x1] = True
    return black


def _neighborhood(sample: BurnedImage) -> NDArray[np.bool_]:
    near = np.zeros(sample.image.shape[:2], bool)
    for line in sample.lines:
        rows, columns = (np.flatnonzero(line.ink.any(axis)) for axis in (1, 0))
        near[max(0, rows[0] - NEAR) : rows[-1] + NEAR + 1, max(0, columns[0] - NEAR) : columns[-1] + NEAR + 1] = True
    return near


def _share(yes: int, n: int) -> str:
    share = wilson(yes, n)
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


if __name__ == "__main__":
    main()
