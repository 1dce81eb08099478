# SPDX-License-Identifier: Apache-2.0
"""The demonstration project: an account for each role, patients, and photographs of blood cells."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from sqlalchemy import select

from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.accounts.models import Project
from medhub.accounts.passwords import new_password
from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.ingest.patient_claims.chosen_patient import choose_patient
from medhub.ingest.pipeline import ingest_file
from medhub.records import field_definitions
from medhub.records import service as records

PROJECT = "Demonstration"
PATHWAY = "smear-review"
NAMES = {
    Role.PATIENT: "Demo Patient",
    Role.TECHNOLOGIST: "Tan Mei Ling",
    Role.PHYSICIAN: "Dr. Nur Aisyah binti Rahman",
    Role.PHARMACIST: "Priya Subramaniam",
    Role.RESEARCHER: "Lena Hoffmann",
    Role.VIEWER: "Omar Haddad",
    Role.ADMINISTRATOR: "Demo Administrator",
}
PATIENTS = (
    ("F", 1980, {"name": "Siti binti Abdullah", "hospital_number": "DEMO-0001", "birth_date": "1980-03-14"}, "11.9"),
    ("M", 1956, {"name": "முருகன் சுப்பிரமணியம்", "hospital_number": "DEMO-0002"}, "8.4"),
    ("F", 2001, {"name": "陈美玲", "hospital_number": "DEMO-0003"}, "13.1"),
)


def images_folder() -> Path | None:
    """The folder of the demonstration images in a checkout, if it exists."""
    for parent in Path(__file__).resolve().parents:
        if (parent / "demo" / "blood-cells").is_dir():
            return parent / "demo" / "blood-cells"
    return None


def create_demonstration(app: AppContext, console: Console) -> Panel | None:
    """Create the demonstration project if it does not exist; return the box with its passwords, to be printed once."""
    with app.database.reading() as session:
        if session.scalar(select(Project.id).where(Project.name == PROJECT)) is not None:
            return None
    passwords = {role: new_password() for role in Role}
    with app.database.writing() as session:
        project = accounts.add_project(
            session, PROJECT, "Single white cells of healthy donors, to try Medhub with. The people are invented."
        )
        COMMAND_LINE.record(session, "project.create", "project", project.id, project_id=project.id)
        for role in Role:
            accounts.add_user(
                session,
                email=f"{role}@demo.example",
                name=NAMES[role],
                password=passwords[role],
                role=role,
                project_id=project.id,
            )
        field_definitions.define_field(
            session,
            COMMAND_LINE,
            project_id=project.id,
            subject="patient",
            key="haemoglobin",
            label="Hemoglobin",
            kind="decimal",
            required=False,
            unit="g/dL",
            choices=[],
            position=0,
        )
        session.flush()
        patients = [
            records.create_patient(
                session,
                app.keys,
                project_id=project.id,
                sex=sex,
                birth_year=year,
                fields={"haemoglobin": haemoglobin},
                identity=identity,
                by=COMMAND_LINE,
            )
            for sex, year, identity, haemoglobin in PATIENTS
        ]
        patient_ids = [patient.id for patient in patients]
    folder = images_folder()
    files = sorted(p for p in folder.rglob("*") if p.suffix in {".jpg", ".png"}) if folder is not None else []
    with console.status(f"Importing {len(files)} images of the demonstration"):
        for index, path in enumerate(files):
            with app.database.reading() as session:
                source = choose_patient(session, app, COMMAND_LINE, patient_ids[index % len(patient_ids)], PATHWAY)
            ingest_file(app, COMMAND_LINE, source, path.read_bytes())
    return _accounts_box(passwords)


def _accounts_box(passwords: dict[Role, str]) -> Panel:
    table = Table("role", "e-mail", "password", box=None)
    for role in Role:
        table.add_row(role, f"{role}@demo.example", passwords[role])
    return Panel(
        table,
        title="Accounts of the demonstration",
        subtitle="Note the passwords: they are shown only now",
        expand=False,
        padding=(1, 2),
    )
