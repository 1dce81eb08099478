# SPDX-License-Identifier: Apache-2.0
"""A pathway whose images are red, green or blue, and real classifiers of a few bytes that read them."""

from __future__ import annotations

import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import ingest_file
from medhub.records.models import Image
from medhub.review import service as review
from medhub.science.inference.classifier import digest
from tests.factories.accounts import People
from tests.factories.cases import make_patient, run_jobs
from tests.science.inference import tiny

COLORS = "colors"
VALUES = {"red": (170, 90, 90), "green": (90, 170, 90), "blue": (90, 90, 170)}

PATHWAY = """
name = "colors"
title = "Colors"
version = 1
modality = "XC"
labels = ["red", "green", "blue", "gray"]
not_counted = ["gray"]
classifier = "tiny"
threshold = 0.5

[[stages]]
name = "intake"
title = "Waiting"
[[stages.acts]]
act = "upload"
roles = ["technologist"]
[[stages.acts]]
act = "classify"
roles = []
leads_to = "review"

[[stages]]
name = "review"
title = "Review"
[[stages.acts]]
act = "upload"
roles = ["technologist"]
[[stages.acts]]
act = "verdict"
roles = ["physician"]
[[stages.acts]]
act = "sign"
roles = ["physician"]
needs = ["verdicts"]
leads_to = "signed"

[[stages]]
name = "signed"
title = "Signed"
report = true
[[stages.acts]]
act = "correct"
roles = ["physician"]
leads_to = "review"
"""


def lay_out(folder: Path) -> tuple[Path, Path]:
    """Make the folders of pathways and classifiers for colors."""
    pathways, classifiers = folder / "pathways", folder / "classifiers"
    pathways.mkdir(parents=True, exist_ok=True)
    (pathways / "colors.toml").write_text(PATHWAY)
    if not (classifiers / "tiny").exists():
        tiny.folder(classifiers / "tiny")
    return pathways, classifiers


def make_classifier(at: Path, name: str, **changes: str) -> str:
    """Make another classifier for colors; return its digest."""
    return digest(tiny.folder(at / name, None, name=f'"{name}"', title=f'"Colors, {name}"', **changes))


def picture(color: str, seed: int, size: int = 48) -> bytes:
    """Make an image of one color with some noise, so that no two are equal."""
    random = np.random.default_rng(seed)
    values = np.clip(np.array(VALUES[color]) + random.normal(0, 6, (size, size, 3)), 0, 255)
    buffer = io.BytesIO()
    Picture.fromarray(values.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Make a ZIP of valid and invalid files."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


@dataclass(frozen=True)
class Signed:
    """A signed case."""

    patient_id: str
    case_id: str
    image_ids: list[str]


def bring_in(app: AppContext, people: People, patient_id: str, *pictures: bytes) -> list[str]:
    """Upload images to the pathway of colors, and have them classified."""
    technologist = people.actor(app, Role.TECHNOLOGIST)
    with app.database.reading() as session:
        source = choose_patient(session, app, technologist, patient_id, COLORS)
    answers = [ingest_file(app, technologist, source, data) for data in pictures]
    run_jobs(app)
    return [str(answer.image_id) for answer in answers]


def sign_case(
    app: AppContext, people: People, verdicts: dict[str, str] | list[str], seed: int, patient_id: str | None = None
) -> Signed:
    """A patient with a signed image of each color; a mapping gives other verdicts, such as {"red": "gray"}."""
    decisions = verdicts if isinstance(verdicts, dict) else {color: color for color in verdicts}
    patient_id = patient_id or make_patient(app, people, identity=False)
    image_ids = bring_in(
        app, people, patient_id, *(picture(color, 100 * seed + n) for n, color in enumerate(decisions))
    )
    physician = people.actor(app, Role.PHYSICIAN)
    with app.database.writing() as session:
        for image_id, label in zip(image_ids, decisions.values(), strict=True):
            review.give_verdict(session, app.settings, physician, image_id, label, "Seen.")
        session.flush()
        image = session.get_one(Image, image_ids[0])
        case = review.current_case(session, image.study_id)
        assert case is not None
        review.sign_case(session, app.settings, physician, case.id, None)
        return Signed(patient_id, case.id, image_ids)
