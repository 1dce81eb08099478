# SPDX-License-Identifier: Apache-2.0
"""The images page with 100,000 images: ``.venv/bin/python bench/explorer.py [--images N] [--databases sqlite]``.

Patients, studies, series and images are written straight into the tables of a fresh installation, on SQLite and on
PostgreSQL, and every kind of page that the explorer asks for is asked of ``medhub serve`` over one connection, pages
from all over the list. Times are of whole answers, the audit entry of each among them. The target is 50 ms at p95.
PostgreSQL is that of ``MEDHUB_TEST_POSTGRESQL_URL``; a schema is made in it, and dropped.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import server
import sqlalchemy
from server import Client

TARGET_MS = 50.0
PAGE = 50  # as the images page asks for them
PER_STUDY, STUDIES_A_PATIENT, SERIES_A_STUDY = 20, 2, 2
POSTGRESQL_URL = os.environ.get("MEDHUB_TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
LABELS = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")
WARDS = ("A1", "B2", "C3", "D4")


def fill(data: Path, url: str | None, images: int) -> dict[str, Any]:
    """Write a project's records straight into the tables; what pages are asked about."""
    from medhub.accounts import service as accounts
    from medhub.accounts.models import Project
    from medhub.accounts.permissions import Role
    from medhub.classification.models import Prediction
    from medhub.entrypoints.bootstrap import build
    from medhub.foundation import clock, ids
    from medhub.foundation.settings import Settings
    from medhub.records.models import FieldDefinition, Image, Patient, Series, Study
    from medhub.review.models import Case

    chance = random.Random(5)  # noqa: S311 - made-up records
    app = build(Settings(data=data, database_url=url))
    start = clock.now() - timedelta(days=400)
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (FieldDefinition, Patient, Study, Series, Image, Case, Prediction)
    }
    with app.database.writing() as session:
        project = accounts.add_project(session, server.PROJECT)
        accounts.add_user(
            session,
            email="technologist@bench.example",
            name="The technologist",
            password=server.PASSWORD,
            role=Role.TECHNOLOGIST,
            project_id=project.id,
        )
        project_id = project.id
        for position in range(3):  # a project is one of several
            session.add(Project(**{**_columns(project), "id": ids.new_id(), "name": f"Other {position}"}))
    for subject, key, kind in (("patient", "ward", "choice"), ("study", "stain", "text")):
        rows[FieldDefinition].append(
            {
                "id": ids.new_id(),
                "project_id": project_id,
                "subject": subject,
                "key": key,
                "label": key.title(),
                "kind": kind,
                "required": False,
                "unit": None,
                "choices": list(WARDS) if kind == "choice" else [],
                "position": 0,
            }
        )
    for number in range(images):
        study_number, position = divmod(number, PER_STUDY)
        moment = start + timedelta(seconds=number * 300)
        if position == 0:
            if study_number % STUDIES_A_PATIENT == 0:
                patient = {
                    "id": ids.new_id(),
                    "project_id": project_id,
                    "code": ids.new_code("P"),
                    "sex": chance.choice("FMOU"),
                    "birth_year": chance.randint(1930, 2020),
                    "fields": {"ward": chance.choice(WARDS)},
                    "created_at": moment,
                    "changed_at": moment,
                }
                rows[Patient].append(patient)
            study = {
                "id": ids.new_id(),
                "project_id": project_id,
                "patient_id": patient["id"],
                "study_uid": ids.new_uid(),
                "description": f"Smear of day {study_number % 300}",
                "pathway": server.PATHWAY,
                "fields": {"stain": chance.choice(("Wright", "Giemsa"))},
                "created_at": moment,
            }
            rows[Study].append(study)
            rows[Case].append(
                {
                    "id": ids.new_id(),
                    "project_id": project_id,
                    "patient_id": patient["id"],
                    "study_id": study["id"],
                    "pathway": server.PATHWAY,
                    "pathway_digest": "0" * 64,
                    "stage": "review",
                    "version": 1,
                    "superseded": False,
                    "opened_at": moment,
                }
            )
        if position % (PER_STUDY // SERIES_A_STUDY) == 0:
            series = {
                "id": ids.new_id(),
                "study_id": study["id"],
                "series_uid": ids.new_uid(),
                "modality": "GM",
                "description": f"Slide {position // (PER_STUDY // SERIES_A_STUDY) + 1}",
                "created_at": moment,
            }
            rows[Series].append(series)
        image = {
            "id": ids.new_id(),
            "project_id": project_id,
            "patient_id": patient["id"],
            "study_id": study["id"],
            "series_id": series["id"],
            "number": position + 1,
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.77.1.2",
            "sop_instance_uid": ids.new_uid(),
            "transfer_syntax_uid": "1.2.840.10008.1.2.4.50",
            "modality": "GM",
            "kind": "photograph",
            "width": 360,
            "height": 363,
            "frames": 1,
            "size_bytes": 20_000,
            "blob": f"{number:064x}",
            "thumbnail": f"{number + images:064x}",
            "state": "read",
            "verified": number % 3 == 0,
            "locked": False,
            "created_at": moment,
        }
        rows[Image].append(image)
        rows[Prediction].append(
            {
                "id": ids.new_id(),
                "image_id": image["id"],
                "project_id": project_id,
                "imaged_at": moment,
                "classifier": "blood-cells",
                "version": "1",
                "digest": "1" * 64,
                "label": chance.choice(LABELS),
                "uncertain": chance.random() < 0.1,
                "likeliest": "neutrophil",
                "confidence": chance.random(),
                "threshold": 0.75,
                "probabilities": {"neutrophil": 0.9, "basophil": 0.1},
                "novelty": 0.1,
                "novel": False,
                "milliseconds": 9.0,
                "created_at": moment,
            }
        )
    for table, many in rows.items():
        with app.database.engine.begin() as connection:
            connection.execute(sqlalchemy.insert(table), many)
    with app.database.engine.connect() as connection:
        # PostgreSQL does this by itself some time after so many rows have come.
        statement = "ANALYZE" if url is None else "VACUUM ANALYZE"
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(statement)
    app.close()
    return {
        "patients": rows[Patient],
        "studies": rows[Study],
        "series": rows[Series],
        "images": rows[Image],
        "chance": chance,
        "project": project_id,
    }


def _columns(row: Any) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


Path_ = Callable[[], str]


def pages(filled: dict[str, Any]) -> dict[str, Path_]:
    """The pages of the explorer: what each is, and an address of one of them, another at each call."""
    chance, project = filled["chance"], filled["project"]
    patients, studies, series, images = (filled[name] for name in ("patients", "studies", "series", "images"))

    def page_of(many: list[Any], size: int = PAGE) -> int:
        return int(chance.randrange(1, max(2, len(many) // size + 1)))

    def listed(what: str, many: list[Any], more: str = "") -> Path_:
        return lambda: f"/api/{what}?project_id={project}&page_size={PAGE}&page={page_of(many)}{more}"

    def read_page(what: str, by: str, many: list[Any], more: str = "") -> Path_:
        return lambda: f"/api/{what}?page_size={PAGE}&{by}={chance.choice(many)['id']}{more}"

    def sought(what: str, values: Callable[[], str]) -> Path_:
        return lambda: f"/api/{what}?project_id={project}&page_size={PAGE}&query={values()}"

    return {
        "patients, any page": listed("patients", patients, "&sort=-created_at"),
        "patients by code": listed("patients", patients, "&sort=code"),
        "patients of a ward (field)": listed("patients", patients[: len(patients) // 4], "&field.ward=B2"),
        "patients by part of a code": sought("patients", lambda: chance.choice(patients)["code"][2:5]),
        "patients by a study's UID": sought("patients", lambda: chance.choice(studies)["study_uid"]),
        "studies of a patient": read_page("studies", "patient_id", patients),
        "all studies, any page": listed("studies", studies, "&sort=-created_at"),
        "studies by words": sought("studies", lambda: f"day+{chance.randrange(300)}"),
        "studies by a stain (field)": listed("studies", studies[: len(studies) // 2], "&field.stain=wright"),
        "one study, for the crumbs": lambda: f"/api/studies/{chance.choice(studies)['id']}",
        "series of a study": read_page("series", "study_id", studies),
        "all series, any page": listed("series", series, "&sort=-created_at"),
        "images of a series": read_page("images", "series_id", series, "&sort=number"),
        "images of a study": read_page("images", "study_id", studies, "&sort=number"),
        "images of a patient": read_page("images", "patient_id", patients),
        "all images, first pages": lambda: (
            f"/api/images?project_id={project}&page_size={PAGE}&page={chance.randrange(1, 5)}&sort=-created_at"
        ),
        "all images, any page": listed("images", images, "&sort=-created_at"),
        "all images, last pages": lambda: (
            f"/api/images?project_id={project}&page_size={PAGE}&sort=-created_at"
            f"&page={len(images) // PAGE - chance.randrange(5)}"
        ),
        "images not verified": listed("images", images[: len(images) // 2], "&verified=false&sort=-created_at"),
        "images of a label": listed("images", images[: len(images) // 6], "&label=basophil&sort=-created_at"),
        "uncertain images": listed("images", images[: len(images) // 12], "&uncertain=true&sort=-created_at"),
        "images of a patient's code": sought("images", lambda: chance.choice(patients)["code"]),
        "images by words of the study": sought("images", lambda: f"day+{chance.randrange(300)}"),
        "image by SOP Instance UID": sought("images", lambda: chance.choice(images)["sop_instance_uid"]),
    }


@contextmanager
def database(kind: str) -> Iterator[str | None]:
    """No URL for SQLite; of PostgreSQL a schema of its own, dropped at the end."""
    if kind == "sqlite":
        yield None
        return
    schema = f"medhub_bench_{os.getpid()}"
    engine = sqlalchemy.create_engine(POSTGRESQL_URL)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{POSTGRESQL_URL}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


def measure(client: Client, path: Path_, times: int) -> tuple[list[float], int]:
    """Milliseconds of each answer, and the most rows that one had."""
    taken, most = [], 0
    for _ in range(times):
        address = path()
        started = time.perf_counter()
        status, content = client.send("GET", address)
        taken.append((time.perf_counter() - started) * 1000)
        if status != 200:
            raise SystemExit(f"{address} answered {status}: {content[:300]!r}")
        most = max(most, content.count(b'"created_at"'))
    return taken, most


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=60, help="requests of each kind")
    parser.add_argument("--databases", default="sqlite,postgresql")
    options = parser.parse_args()
    kinds = options.databases.split(",")
    times: dict[str, dict[str, list[float]]] = {}
    for kind in kinds:
        with server.data_folder() as data, database(kind) as url:
            filled = fill(data, url, options.images)
            settings = {"database_url": url} if url else {}
            with server.running(data, job_runners="0", **settings) as running:
                client = running.client("technologist@bench.example")
                for name, path in pages(filled).items():
                    print(f"{kind}: {name}", file=sys.stderr)
                    measure(client, path, 3)
                    taken, most = measure(client, path, options.times)
                    if most == 0:
                        raise SystemExit(f"{name}: nothing was found, so nothing was measured")
                    times.setdefault(name, {})[kind] = taken
    print(f"{options.images} images in {options.images // PER_STUDY} studies; {options.times} requests of each kind")
    print(f"{server.machine()}\n")
    print("milliseconds".ljust(32) + "".join(f"{kind} median    p95   " for kind in kinds))
    slow = 0
    for name, of in times.items():
        line = name.ljust(32)
        for kind in kinds:
            high = p95(of[kind])
            slow += high >= TARGET_MS
            mark = "!" if high >= TARGET_MS else " "
            line += f"{statistics.median(of[kind]):{len(kind) + 7}.1f} {high:6.1f}{mark}  "
        print(line)
    print()
    print(f"every page under {TARGET_MS:.0f} ms at p95: {'met' if slow == 0 else f'NOT met ({slow} are not)'}")


if __name__ == "__main__":
    main()
