# SPDX-License-Identifier: Apache-2.0
"""Time the report from facts to signed PDF: ``python bench/report.py [RUNS]`` prints a table."""

from __future__ import annotations

import hashlib
import io
import statistics
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pypdf import PdfReader

from medhub.foundation.keys import Keys, new_key
from medhub.reports.certificate import derive_credentials
from medhub.reports.document import ImageFinding, PatientIdentity, Person, ReportFacts, render
from medhub.reports.pdf_signature import sign_report
from medhub.reports.verification import verify_report
from medhub.reports.verification_result import TrustedKeys

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LABELS = ("neutrophil", "eosinophil", "lymphocyte", "monocyte", "basophil", "platelet", "ig", "erythroblast")


def picture(seed: int, side: int) -> bytes:
    """Return a picture as busy as a smear's: soft discs on a stained ground, with the grain of a sensor."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), (245, 222, 196))
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = (float(at) for at in random.uniform(0, side, 2))
        r = float(random.uniform(0.05, 0.12)) * side
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(214, 160, 170), outline=(170, 110, 130))
    middle = side / 2
    draw.ellipse((middle - side / 6, middle - side / 6, middle + side / 6, middle + side / 6), fill=(92, 40, 140))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(side / 200)), dtype=np.int16)
    grain = random.normal(0, 4, pixels.shape).astype(np.int16)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def facts(count: int, side: int, run: int) -> ReportFacts:
    """Return facts that no run has seen before, so that nothing of an earlier one can be used again."""
    images = []
    for number in range(1, count + 1):
        seed = run * 1000 + number
        shown = picture(seed, side)
        sure = 0.97 if number % 6 else 0.61
        images.append(
            ImageFinding(
                number=number,
                image_digest=hashlib.sha256(shown).hexdigest(),
                width=2592,
                height=1944,
                picture=shown,
                evidence=picture(seed + 500, side),
                classifier_label=LABELS[number % 8],
                confidence=sure,
                threshold=0.75,
                uncertain=sure < 0.75,
                uncertain_reason=None,
                probabilities={label: sure if label == LABELS[number % 8] else (1 - sure) / 7 for label in LABELS},
                verdict_label=LABELS[number % 8],
                verdict_note=f"Run {run}: lobes hard to count." if sure < 0.75 else None,
                verdict_by="Aminah binti Yusof",
                verdict_role="physician",
                verdict_at=NOON,
                agrees=True,
            )
        )
    return ReportFacts(
        case_id=f"C-{run:04d}",
        version=1,
        project="Hematology",
        pathway_title="Blood smear review",
        pathway_name="smear-review",
        pathway_digest="ab" * 32,
        patient_code="P-7F3K",
        sex="F",
        birth_year=1980,
        identity=PatientIdentity("முத்துசாமி 王小明 محمد"),
        classifier_name="smear-cells",
        classifier_version="1.0.0",
        classifier_digest="cd" * 32,
        images=tuple(images),
        signed_by=Person("Aminah binti Yusof", "physician"),
        signed_at=NOON,
        issued_at=NOON,
        software_version="0.1.0",
    )


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    credentials = derive_credentials(Keys(new_key()))
    trusted = TrustedKeys(credentials.certificate)
    start = time.perf_counter()
    render(facts(1, 480, 9999))
    print(f"typst {version('typst')}; first report of the process, fonts read: {time.perf_counter() - start:.2f} s\n")
    print(
        f"Medians of {runs} runs, each with facts and pictures of its own; an image is a picture and an evidence map.\n"
    )
    print("| images | pictures given, px | facts to PDF, ms (worst) | sign, ms | verify, ms | pages | size, kB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for side in (480, 1600):
        for count in (1, 20, 60):
            rendered, signed, verified = [], [], []
            for run in range(runs):
                stated = facts(count, side, run)
                start = time.perf_counter()
                pdf = render(stated)
                rendered.append(time.perf_counter() - start)
                start = time.perf_counter()
                report = sign_report(pdf, credentials, stated.issued_at)
                signed.append(time.perf_counter() - start)
                start = time.perf_counter()
                assert verify_report(report, trusted).authentic
                verified.append(time.perf_counter() - start)
            ms = [1000 * statistics.median(times) for times in (rendered, signed, verified)]
            print(
                f"| {count} | {side} | {ms[0]:.0f} ({1000 * max(rendered):.0f}) | {ms[1]:.1f} | {ms[2]:.0f} "
                f"| {len(PdfReader(io.BytesIO(report)).pages)} | {len(report) / 1000:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
