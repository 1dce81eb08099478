# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the de-identification of attributes and of the PHI scan: ``make deid-bench``.

On objects generated from seeds: original values that remain, over all attributes of PS3.15, Annex E, at depths 0, 1
and 3, for the Basic Profile, for each option, and for other programs if the extra ``bench`` is installed; an answer
key as in MIDI-B, with identifiers planted in the real files of ``--carriers``; detected leaks of more than twenty
kinds and false alarms of the PHI scan; files per second on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from deidentifiers import OTHERS, clean_with, installed_version
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRBigEndian
from tests.factories.burned import make_burned_image
from tests.factories.identified import Carrier, make_identified_object
from tests.factories.leaks import FAMILY, GIVEN, KINDS, NAME, make_cleaned_dataset
from tests.factories.seeded import CT, Seeds, encode_file, make_seeded_dataset
from tests.science.imaging.datasets import dataset_of

from medhub.science.deid.answer_key import outputs_of, read_key, score
from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.confidentiality_table import rules
from medhub.science.deid.file_cleaning import clean_file
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.profile import CODES, Pixels, Profile, find_profile
from medhub.science.deid.pseudonym import subject_of

KEY = b"a key for measuring only"


def interval(share: float, n: int) -> str:
    """Wilson's interval, 95 %."""
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return f"{max(0.0, middle - half):.3%} to {min(1.0, middle + half):.3%}"


def count_originals_left() -> bool:
    """Count seeded values that remain in the bytes of the result."""
    print("| profile | depth 0 | depth 1 | depth 3 | values looked for |")
    print("|---|---|---|---|---|")
    total = 0
    for options in ((), *((name,) for name in CODES)):
        profile = Profile(name="bench", title="bench", version=1, options=options)
        retained_tags = {
            tag for tag, rule in rules().items() if any(rule.options.get(option) == "K" for option in options)
        }
        if "modified-dates" in options:
            clock = (tag for tag, rule in rules().items() if "modified-dates" in rule.options)
            retained_tags |= {tag for tag in clock if dictionary_VR(tag) == "TM"}
        counts, values_searched = [], 0
        for depth in (0, 1, 3):
            seeds = Seeds(depth)
            dataset = make_seeded_dataset(seeds, depth)
            dataset.SOPClassUID = CT
            data = encode_file(deidentify(dataset, profile, subject_of(KEY, "1", "", profile.dates)).dataset)
            sought = [value.encode() for (tag, _), value in seeds.text.items() if tag not in retained_tags]
            sought += [value for (tag, _), value in seeds.binary.items() if tag not in retained_tags]
            counts.append(sum(value in data for value in sought))
            values_searched += len(sought)
        total += sum(counts)
        print(f"| {options[0] if options else 'basic'} | {counts[0]} | {counts[1]} | {counts[2]} | {values_searched} |")
    print(f"\n- originals left: {total} ({'met' if not total else 'NOT met'}: 0)\n")
    return not total


def compare_programs() -> None:
    """Count the same values in the results of other programs."""
    print("| program | depth 0 | depth 1 | depth 3 | of |")
    print("|---|---|---|---|---|")
    profile = Profile(name="bench", title="bench", version=1, options=())
    sought: dict[int, list[bytes]] = {}
    files: dict[int, bytes] = {}
    counts: dict[int, int] = {}
    for depth in (0, 1, 3):
        seeds = Seeds(depth)
        dataset = make_seeded_dataset(seeds, depth)
        dataset.SOPClassUID, dataset.SOPInstanceUID = CT, "1.2.3.4.5"
        files[depth] = encode_file(dataset)
        values = [*(value.encode() for value in seeds.text.values()), *seeds.binary.values()]
        # What a writer must change to write the file at all is nobody's doing.
        sought[depth] = [value for value in values if value in files[depth]]
        done = deidentify(dataset, profile, subject_of(KEY, "1", "", profile.dates)).dataset
        counts[depth] = sum(value in encode_file(done) for value in sought[depth])
    searched = " / ".join(str(len(values)) for values in sought.values())
    print(f"| medhub | {counts[0]} | {counts[1]} | {counts[3]} | {searched} |")
    for name, distribution, prepare in OTHERS:
        version = installed_version(distribution)
        if version is None:
            print(f"| {name} | not installed | | | |")
            continue
        cells = []
        for depth, data in files.items():
            try:
                left = clean_with(prepare(), data)
                cells.append(str(sum(value in left for value in sought[depth])))
            except Exception as error:
                cells.append(f"fails ({type(error).__name__})")
        print(f"| {name} ({version}) | {' | '.join(cells)} | {searched} |")
    print("\n- one object with all attributes; each program by its documented defaults, which are not all of Annex E\n")


def find_carriers(folder: Path) -> list[Carrier]:
    """Find real files of at most 400 kB that can be decoded completely and are not quarantined."""
    profile = find_profile("research-dates-shifted").model_copy(update={"pixels": Pixels(clean=False)})
    carriers, left_out = [], Counter[str]()
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() and path.stat().st_size <= 400_000 else b""
        if data[128:132] != b"DICM":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = dcmread(BytesIO(data))
                syntax = dataset.file_meta.TransferSyntaxUID
                if "PixelData" in dataset:
                    _ = dataset.pixel_array
                if syntax == ExplicitVRBigEndian or not dataset.get("SOPClassUID"):
                    raise ValueError
                list(dataset.iterall())
        except Exception:
            left_out["damaged, or not to be shown"] += 1
            continue
        if clean_file(data, profile, KEY).outcome == "cleaned":
            carriers.append(Carrier(data, syntax, "PixelData" in dataset))
        else:
            left_out["held back for a person"] += 1
    if carriers or left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        print(f"Real files as carriers: {len(carriers)} (left out: {reasons or 'none'}).\n")
    return carriers


def score_answer_key(objects: int, carriers: list[Carrier]) -> bool:
    """De-identify objects with known identifiers, and compare the result with the answer key."""
    chance = random.Random(42)  # noqa: S311  # nothing here is secret
    # Headers only: what is in pixels, bench/burned_in.py measures.
    profile = find_profile("research-dates-shifted").model_copy(update={"pixels": Pixels(clean=False)})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        entries, lines = [], []
        for number in range(objects):
            data, entry = make_identified_object(number, chance, carriers[number % len(carriers)] if carriers else None)
            (folder / "in" / entry["input"]).write_bytes(data)
            result = clean_file(data, profile, KEY)
            (folder / "out" / entry["input"]).write_bytes(result.data)
            entries.append(entry)
            lines.append(json.dumps(result.as_json(entry["input"], entry["input"] if result.data else None)))
        (folder / "key.json").write_text(json.dumps({"format": "medhub-deid-key/1", "objects": entries}))
        (folder / "manifest.jsonl").write_text("\n".join(lines))
        key, outputs = read_key(folder / "key.json"), outputs_of(folder / "manifest.jsonl")
        got = score(key, outputs, folder / "out", folder / "in")
    print(f"| category | met | missed | over-done | ({objects} objects)")
    print("|---|---|---|---|")
    for name in sorted({*got.met, *got.missed, *got.over_done}):
        print(f"| {name} | {got.met[name]} | {got.missed[name]} | {got.over_done[name]} |")
    n = sum(got.met.values()) + len(got.failures)
    removed = got.missed["text_removed"] == 0
    print(f"\n- required actions: {got.share:.3%} ({interval(got.share, n)}, n = {n}), "
          f"{'met' if got.share >= 0.9995 else 'NOT met'}: 99.95 %")  # fmt: skip
    print(f"- identifiers removed: {'all, met' if removed else 'NOT met'}\n")
    for name, category, path in got.failures[:10]:
        print(f"  {name} {category} {path}")
    return removed and got.share >= 0.9995


def count_detected_leaks(leaks: int) -> bool:
    """Count leaks, planted in de-identified files, that the PHI scan detects."""
    each = math.ceil(leaks / len(KINDS))
    hits: Counter[str] = Counter()
    for kind, plant in KINDS.items():
        for seed in range(each):
            chance = random.Random(f"bench {kind} {seed}")  # noqa: S311  # nothing here is secret
            leak = plant(chance, chance.choice(GIVEN), chance.choice(FAMILY))
            hits[kind] += bool(PhiScanner(leak.known, read_pixels="pixels" in kind).scan(leak.name, leak.data))
    n, detected = each * len(KINDS), sum(hits.values())
    missed = {kind: each - hits[kind] for kind in KINDS if hits[kind] < each}
    share = detected / n
    print(f"- planted leaks found: {detected} of {n} of {len(KINDS)} kinds, {share:.2%} ({interval(share, n)}), "
          f"{'met' if detected / n >= 0.99 else 'NOT met'}: 99 %; missed: {missed or 'none'}")  # fmt: skip
    return detected / n >= 0.99


def count_recognized_identifiers(pictures: int) -> None:
    """Count how many identifiers in uncleaned images the PHI scan recognizes without known names."""
    read_identifiers = identifiers = quarantined = 0
    for seed in range(pictures):
        sample = make_burned_image(40_000 + seed)
        locations = [
            finding.location for finding in PhiScanner().scan(NAME, encode_file(_with_pixels_of(sample.image)))
        ]
        boxes = [tuple(map(int, location.split("box ")[1].split(","))) for location in locations if "box " in location]
        quarantined += bool(boxes)
        for line in sample.lines:
            if line.identifies:
                y, x = (float(indices.mean()) for indices in np.nonzero(line.ink))
                read_identifiers += any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in boxes)
                identifiers += 1
    share = f"{read_identifiers / identifiers:.1%} ({interval(read_identifiers / identifiers, identifiers)})"
    print(f"- pictures with text of 10 to 40 pixels, some dim or turned, quarantined: {quarantined} of {pictures}")
    print(f"- of the identifiers in them the last look reads by itself: {read_identifiers} of {identifiers}, {share}")


def count_false_alarms(carriers: list[Carrier], pictures: int, files: int = 50) -> None:
    """Count findings in de-identified files without planted leaks."""
    alarms = [
        finding
        for profile in ("basic", "research-dates-shifted", "research-max-utility")
        for finding in PhiScanner(["Doe^Jane", "4711"]).scan(NAME, encode_file(make_cleaned_dataset(profile)))
    ]
    print(f"- findings in 3 made files, one by each profile, in which nothing is: {len(alarms)}")
    touched = 0
    for seed in range(pictures):
        sample = make_burned_image(20_000 + seed, identifiers=False)
        touched += bool(PhiScanner().scan(NAME, encode_file(_with_pixels_of(sample.image))))
    print(f"- findings in {pictures} pictures with harmless writing only: {touched} ({touched / pictures:.1%})")
    if not carriers:
        return
    profile = find_profile("research-dates-shifted")
    seconds, scanned, with_findings, kinds = 0.0, 0, 0, Counter[str]()
    for carrier in carriers[:: max(1, len(carriers) // files)]:
        done = clean_file(carrier.data, profile, KEY)
        if done.outcome != "cleaned":
            continue
        scanned += 1
        start = time.process_time()
        findings = PhiScanner().scan(NAME, done.data)
        seconds += time.process_time() - start
        with_findings += bool(findings)
        kinds.update({f"{finding.location.split(', box')[0]} {finding.kind}" for finding in findings})
    print(f"- findings in {scanned} real files that were cleaned: {with_findings} ({with_findings / scanned:.1%}); "
          f"{seconds / scanned:.2f} s a file; {dict(kinds) or 'none'}")  # fmt: skip


def _with_pixels_of(image: Any) -> Dataset:
    dataset = make_cleaned_dataset()
    for element in dataset_of(image):
        if element.tag.group in (0x0028, 0x7FE0):
            dataset.add(element)
    return dataset


def measure_speed() -> None:
    """Measure files per second on one core: CT of 0.5 MB, headers only."""
    chance = random.Random(1)  # noqa: S311  # nothing here is secret
    files = []
    for number in range(60):
        data, _ = make_identified_object(number, chance)
        dataset = dcmread(BytesIO(data))
        dataset.Rows = dataset.Columns = 512
        dataset.PixelData = np.random.default_rng(number).integers(0, 4095, 512 * 512, np.uint16).tobytes()
        files.append(encode_file(dataset))
    profile = find_profile("research-dates-shifted").model_copy(update={"pixels": Pixels(clean=False)})
    clean_file(files[0], profile, KEY)
    rates = []
    for _ in range(3):
        start = time.process_time()
        for data in files:
            clean_file(data, profile, KEY)
        rates.append(len(files) / (time.process_time() - start))
    rate = statistics.median(rates)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"- CT of {len(files[0]) / 1e6:.2f} MB, headers only: {rate:.0f} files/s of one core "
          f"({'met' if rate >= 60 else 'NOT met'}: 60); memory {memory:.0f} MB\n")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--leaks", type=int, default=500)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--carriers", type=Path, default=Path("../shared/data/dicom"), help="Folder of real files.")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # real files hold odd values, of which pydicom warns
    reached = [count_originals_left()]
    measure_speed()
    compare_programs()
    carriers = find_carriers(options.carriers)
    reached += [score_answer_key(options.objects, carriers), count_detected_leaks(options.leaks)]
    count_recognized_identifiers(options.pictures)
    count_false_alarms(carriers, options.pictures)
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
