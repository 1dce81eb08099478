# SPDX-License-Identifier: Apache-2.0
"""Every command, as a person or a script runs it: what it prints, and its exit code."""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage
from sqlalchemy import select

from medhub.accounts.models import SignIn, User
from medhub.accounts.passwords import verify_password
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.classification.registry import folder_of
from medhub.entrypoints import cli
from medhub.entrypoints.bootstrap import build
from medhub.foundation.settings import Settings
from medhub.records.models import Image, Patient
from medhub.review import service as review
from medhub.review.models import Case
from tests.conftest import ROOT, missing
from tests.factories.accounts import PASSWORD, signed_in
from tests.factories.cases import run_jobs, use_classifier
from tests.factories.cts import ct
from tests.factories.images import photograph


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What was printed for a script."""
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Each command sets up the log of its process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def medhub(data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process, on a data folder of its own."""
    monkeypatch.setenv("MEDHUB_DECODER_WORKERS", "1")

    def run(*arguments: str | Path, stdin: str = "", on: Path | None = data) -> Ended:
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["medhub", *words, *(["--data", str(on)] if on is not None else [])])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture
def project(medhub: Run) -> str:
    """A project, by its name."""
    assert medhub("project", "add", "Haematology").code == 0
    return "Haematology"


@pytest.fixture
def code(medhub: Run, project: str) -> str:
    """A patient of the project, by code."""
    return medhub("patient", "add", "--project", project).out.strip()


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"field {number}.jpg").write_bytes(photograph(number))
    return folder


def in_a_process(*arguments: str | Path, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, "-m", "medhub.entrypoints.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    return ended


# In processes of their own: what the shell sees.


def test_the_commands_work_one_after_the_other_in_processes_of_their_own(tmp_path: Path) -> None:
    on = ("--data", tmp_path / "data")
    in_a_process("project", "add", "Haematology", *on)
    user = ("--email", "a@lab.example", "--name", "A", "--role", "physician", "--project", "Haematology")
    in_a_process("user", "add", *user, "--password-stdin", *on, stdin=PASSWORD + "\n")
    patient = in_a_process("patient", "add", "--project", "Haematology", *on).stdout.strip()
    folder = pictures(tmp_path / "pictures", 2)
    brought = in_a_process("ingest", folder, "--project", "Haematology", "--patient", patient, "--json", *on)
    assert [row["outcome"] for row in json.loads(brought.stdout)] == ["accepted"] * 2
    assert json.loads(in_a_process("audit", "verify", "--json", *on).stdout)["intact"] is True
    unknown = in_a_process("patient", "add", "--project", "Radiology", *on, code=3)
    assert "There is no project “Radiology”. There are: Haematology." in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_the_program_is_installed_and_tells_its_version() -> None:
    program = Path(sys.executable).parent / "medhub"
    ended = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(r"medhub \d+\.\d+\.\d+\n", ended.stdout)


def test_help_names_every_command(medhub: Run) -> None:
    result = medhub("--help", on=None)
    assert result.code == 0
    for command in ("serve", "worker", "demo", "project", "user", "patient", "ingest", "classify", "report", "audit"):
        assert re.search(rf"\b{command}\b", result.out), command


# Projects, people, patients.


def test_project_add_prints_the_id(medhub: Run, data: Path) -> None:
    plain = medhub("project", "add", "Haematology")
    assert (plain.code, plain.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{32}\n", plain.out)
    result = medhub("project", "add", "Radiology", "--json").json
    assert (set(result), result["name"]) == ({"id", "name"}, "Radiology")
    taken = medhub("project", "add", "Radiology")
    assert (taken.code, taken.out) == (4, "")
    assert "There is already a project named “Radiology”" in taken.err
    assert medhub("project", "add", "  ").code == 2


def test_user_add_takes_the_password_from_standard_input_alone(medhub: Run, project: str, data: Path) -> None:
    given = ("user", "add", "--email", "Aisyah@lab.example", "--name", "Aisyah", "--role", "physician")
    added = medhub(*given, "--project", project, "--password-stdin", "--json", stdin=PASSWORD + "\n")
    assert added.code == 0, added.err
    assert (added.json["email"], added.json["role"]) == ("aisyah@lab.example", "physician")
    assert PASSWORD not in added.out + added.err
    assert medhub(*given, "--project", project, "--password-stdin", stdin=PASSWORD + "\n").code == 4
    app = build(Settings(data=data))
    with app.database.reading() as session:
        user = session.scalars(select(User)).one()
    app.close()
    assert user.id == added.json["id"]
    assert user.password_hash.startswith("$argon2id$")


def test_a_forgotten_password_and_a_second_project_need_no_other_account(medhub: Run, project: str, data: Path) -> None:
    given = ("--email", "a@lab.example", "--name", "A", "--role", "viewer", "--project", project)
    assert medhub("user", "add", *given, "--password-stdin", stdin=PASSWORD + "\n").code == 0
    other = medhub("project", "add", "A second project").out.strip()
    assert medhub("user", "role", "--email", "A@lab.example", "--role", "physician", "--project", other).code == 0
    assert medhub("user", "role", "--email", "b@lab.example", "--role", "physician", "--project", other).code == 3
    with_stdin = ("user", "password", "--email", "a@lab.example", "--password-stdin")
    assert medhub(*with_stdin, stdin="short\n").code == 2
    app = build(Settings(data=data))
    actor = signed_in(app, "a@lab.example")
    assert sorted(actor.roles.values()) == [Role.PHYSICIAN, Role.VIEWER]
    assert medhub(*with_stdin, stdin="quite another password\n").code == 0
    with app.database.reading() as session:
        user = session.scalars(select(User)).one()
        assert verify_password("quite another password", user.password_hash)
        assert session.scalar(select(SignIn.id)) is None
    app.close()


def test_user_add_refuses_a_weak_password_and_wants_one(medhub: Run, project: str) -> None:
    given = ("user", "add", "--email", "a@lab.example", "--name", "A", "--role", "viewer", "--project", project)
    weak = medhub(*given, "--password-stdin", stdin="short\n")
    assert (weak.code, "at least 12 characters" in weak.err) == (2, True)
    assert medhub(*given, "--password-stdin", stdin="").code == 2
    none = medhub(*given)
    assert (none.code, "--password-stdin" in none.err) == (2, True)
    assert medhub(*given[:-1], "Nowhere", "--password-stdin", stdin=PASSWORD).code == 3


def test_patient_add_prints_the_code_and_takes_fields(medhub: Run, project: str, data: Path) -> None:
    app = build(Settings(data=data))
    from medhub.accounts.actor import COMMAND_LINE
    from medhub.accounts.service import find_project
    from medhub.records.field_definitions import define_field

    with app.database.writing() as session:
        define_field(
            session,
            COMMAND_LINE,
            project_id=find_project(session, project).id,
            subject="patient",
            key="haemoglobin",
            label="Hb",
            kind="decimal",
            required=False,
            unit="g/dL",
            choices=[],
            position=0,
        )
    app.close()
    add = ("patient", "add", "--project", project)
    plain = medhub(*add, "--sex", "F", "--birth-year", "1980", "--field", "haemoglobin=11.9")
    assert plain.code == 0, plain.err
    assert re.fullmatch(r"P-[0-9A-Z]{6}\n", plain.out)
    assert set(medhub(*add, "--json").json) == {"id", "code"}
    for wrong in ("haemoglobin=much", "unknown=1", "haemoglobin"):
        assert medhub(*add, "--field", wrong).code == 2
    assert medhub(*add, "--sex", "X").code == 2
    assert medhub(*add, "--birth-year", "1500").code == 2
    app = build(Settings(data=data))
    with app.database.reading() as session:
        patient = session.scalars(select(Patient).where(Patient.code == plain.out.strip())).one()
        assert (patient.sex, patient.birth_year, patient.fields) == ("F", 1980, {"haemoglobin": 11.9})
    app.close()


# Images.


def test_ingest_takes_files_and_folders_and_answers_for_each(
    medhub: Run, project: str, code: str, tmp_path: Path
) -> None:
    folder = pictures(tmp_path / "pictures", 3)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "more.png").write_bytes(photograph(7, form="PNG"))
    (folder / "notes.txt").write_text("not taken for an image inside a folder")
    (folder / ".hidden.jpg").write_bytes(photograph(8))
    single = tmp_path / "no-ending"
    single.write_bytes(photograph(9))
    to = ("--project", project, "--patient", code, "--pathway", "smear-review")
    first = medhub("ingest", folder, single, *to, "--json")
    assert first.code == 0, first.err
    assert [set(row) for row in first.json] == [{"path", "outcome", "reason", "image_id"}] * 5
    assert [row["outcome"] for row in first.json] == ["accepted"] * 5
    again = medhub("ingest", folder, *to)
    assert (again.code, "0 accepted, 4 duplicate, 0 quarantined" in again.out) == (0, True)


def test_ingest_ends_with_1_when_a_file_is_quarantined(medhub: Run, project: str, code: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures", 1)
    (folder / "broken.jpg").write_bytes(photograph(5)[:400])
    to = ("--project", project, "--patient", code)
    result = medhub("ingest", folder, *to)
    assert result.code == 1
    assert re.search(r"quarantined: .*broken\.jpg: \w+", result.out)
    assert "1 accepted, 0 duplicate, 1 quarantined" in result.out


def test_ingest_says_what_is_not_there(medhub: Run, project: str, code: str, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures", 1)
    (tmp_path / "empty").mkdir()
    good = ("--project", project, "--patient", code)
    assert medhub("ingest", tmp_path / "nothing.jpg", *good).code == 3
    assert medhub("ingest", tmp_path / "empty", *good).code == 3
    assert medhub("ingest", folder, "--project", project, "--patient", "P-000000").code == 3
    assert medhub("ingest", folder, "--project", "Nowhere", "--patient", code).code == 3
    assert medhub("ingest", folder, *good, "--pathway", "no-such-pathway").code == 3


def test_files_that_name_their_patient_need_none_to_be_named(medhub: Run, project: str, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "1.2.3.1").write_bytes(ct())
    (folder / "readme.txt").write_text("not an image")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("a/IM0002", ct(SOPInstanceUID="1.2.3.2"))
        archive.writestr("a/IM0003", ct(SOPInstanceUID="1.2.3.3", PatientName="ROE^RICHARD"))
    result = medhub("ingest", folder, tmp_path / "more.zip", "--project", project, "--json")
    assert [row["outcome"] for row in result.json] == ["accepted", "accepted", "quarantined"]
    assert "another name" in result.json[2]["reason"]
    assert "ROE" not in result.out
    photographs = pictures(tmp_path / "pictures", 1)
    assert "does not name its patient" in medhub("ingest", photographs, "--project", project).out


def file_set(folder: Path, *named: list[str]) -> Path:
    """A medium whose DICOMDIR names files by these paths."""
    directory = Dataset()
    directory.FileSetID, directory.FileSetConsistencyFlag = "CD", 0
    directory.DirectoryRecordSequence = []
    for path in named:
        record = Dataset()
        record.DirectoryRecordType, record.RecordInUseFlag, record.ReferencedFileID = "IMAGE", 0xFFFF, path
        directory.DirectoryRecordSequence.append(record)
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir(exist_ok=True)
    dcmwrite(folder / "DICOMDIR", directory, enforce_file_format=True)
    return folder


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_a_medium_is_read_by_its_directory(medhub: Run, project: str, tmp_path: Path) -> None:
    medium = file_set(tmp_path / "cd", ["IMAGES", "IM1"], ["IMAGES", "im2"])
    (medium / "IMAGES").mkdir()
    (medium / "IMAGES" / "IM1").write_bytes(ct())
    (medium / "IMAGES" / "IM2").write_bytes(ct(SOPInstanceUID="1.2.3.2"))
    (medium / "IMAGES" / "IM3").write_bytes(ct(SOPInstanceUID="1.2.3.3"))
    result = medhub("ingest", medium, "--project", project, "--json")
    assert [(row["path"], row["outcome"]) for row in result.json] == [
        ("IMAGES/IM1", "accepted"),
        ("IMAGES/im2", "accepted"),
    ]


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("path", [["..", "secret"], ["LINK"], ["FOLDER", "secret"], ["/etc/passwd"], ["GONE"]])
def test_a_directory_that_names_what_lies_outside_is_refused(
    medhub: Run, project: str, tmp_path: Path, path: list[str]
) -> None:
    medium = file_set(tmp_path / "cd", path)
    (tmp_path / "secret").write_bytes(ct())
    (medium / "LINK").symlink_to(tmp_path / "secret")
    (medium / "FOLDER").symlink_to(tmp_path)
    result = medhub("ingest", medium, "--project", project)
    assert result.code == 2
    assert "The DICOMDIR names" in result.err


def test_what_is_laid_into_a_watched_folder_is_taken_in_and_put_away(
    data: Path, medhub: Run, project: str, tmp_path: Path
) -> None:
    folder = tmp_path / "inbox"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "one.dcm").write_bytes(ct())
    (folder / "two.dcm").write_bytes(ct(SOPInstanceUID="1.2.3.2"))
    (folder / "zz.dcm").write_bytes(ct(SOPInstanceUID="1.2.3.3", PatientName="ROE^RICHARD"))
    process = subprocess.Popen(
        [sys.executable, "-m", "medhub.entrypoints.cli", "watch", folder, "--project", project, "--data", data],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until = time.monotonic() + 60
        while not (folder / "waiting" / "zz.dcm").exists() and time.monotonic() < until:
            time.sleep(0.2)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "received/deeper/one.dcm",
        "received/two.dcm",
        "waiting/zz.dcm",
    ]


def shipped_classifier() -> str:
    if not (folder_of(Settings()) / "blood-cells" / "model.onnx").is_file():
        missing("the classifier models/blood-cells")
    return "blood-cells"


def test_classify_prints_a_list_for_scripts(medhub: Run, tmp_path: Path) -> None:
    shipped_classifier()
    cells = sorted((ROOT / "demo" / "blood-cells").rglob("*.jpg"))[:3]
    if not cells:
        missing("the images under demo/blood-cells")
    result = medhub("classify", *cells, "--classifier", "blood-cells", "--json", on=None)
    assert result.code == 0, result.err
    assert [row["path"] for row in result.json] == [str(path) for path in cells]
    for row in result.json:
        assert {"path", "label", "uncertain", "probabilities", "milliseconds"} <= set(row)
        assert len(row["probabilities"]) == 8
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert row["label"] in {*row["probabilities"], "Uncertain"}
        assert row["uncertain"] == (row["label"] == "Uncertain")
        assert row["milliseconds"] > 0
    strict = medhub("classify", cells[0], "--classifier", "blood-cells", "--threshold", "1", "--json", on=None)
    assert strict.json[0]["label"] == "Uncertain"


def test_classify_takes_a_folder_of_images_and_a_folder_as_classifier(medhub: Run, tmp_path: Path) -> None:
    folder = folder_of(Settings()) / shipped_classifier()
    result = medhub("classify", pictures(tmp_path / "pictures", 2), "--classifier", folder, "--json", on=None)
    assert (result.code, len(result.json)) == (0, 2)
    table = medhub("classify", tmp_path / "pictures", "--classifier", folder)
    assert (table.code, "probability" in table.out) == (0, True)


def test_classify_ends_with_1_when_an_image_cannot_be_read(medhub: Run, tmp_path: Path) -> None:
    shipped_classifier()
    folder = pictures(tmp_path / "pictures", 1)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not an image")
    result = medhub("classify", folder, "--classifier", "blood-cells", "--json", on=None)
    assert result.code == 1
    assert [row["label"] is None for row in result.json] == [True, False]
    assert result.json[0]["error"]


def test_classify_says_which_classifiers_there_are(medhub: Run, tmp_path: Path) -> None:
    shipped_classifier()
    folder = pictures(tmp_path / "pictures", 1)
    result = medhub("classify", folder, "--classifier", "tarot", "--json", on=None)
    assert (result.code, result.out) == (3, "")
    assert "There is no classifier “tarot”. There are: blood-cells" in result.err
    assert medhub("classify", folder, "--threshold", "1.5", on=None).code == 2
    assert medhub("classify", tmp_path / "no.jpg", on=None).code == 3


# Reports.


@pytest.fixture
def report(medhub: Run, project: str, code: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report that was issued in the data folder."""
    use_classifier(monkeypatch)
    user = ("user", "add", "--email", "p@lab.example", "--name", "P", "--role", "physician", "--project", project)
    assert medhub(*user, "--password-stdin", stdin=PASSWORD + "\n").code == 0
    folder = pictures(tmp_path / "pictures", 1)
    assert medhub("ingest", folder, "--project", project, "--patient", code).code == 0
    app = build(Settings(data=data, decoder_workers=1))
    try:
        run_jobs(app)
        with app.database.reading() as session:
            case = session.scalars(select(Case)).one()
            image_ids = [image.id for image in session.scalars(select(Image))]
        physician = signed_in(app, "p@lab.example")
        with app.database.writing() as session:
            for image_id in image_ids:
                review.give_verdict(session, app.settings, physician, image_id, "neutrophil", None)
            session.flush()
            review.sign_case(session, app.settings, physician, case.id, None)
        run_jobs(app)
        from medhub.reports.service import read_report

        path = tmp_path / "report.pdf"
        path.write_bytes(read_report(app, physician, case.id)[1])
    finally:
        app.close()
    return path


def test_report_verify_tells_a_report_from_an_altered_one(
    medhub: Run, report: Path, data: Path, tmp_path: Path
) -> None:
    good = medhub("report", "verify", report, "--json")
    assert good.code == 0, good.out
    assert (good.json["intact"], good.json["authentic"], good.json["facts_digest_matches"]) == (True, True, True)
    assert re.fullmatch(r"[0-9a-f]{64}", good.json["digest"])
    assert "Every byte is as it was issued" in medhub("report", "verify", report).out

    content = bytearray(report.read_bytes())
    content[len(content) // 2] ^= 1
    altered = tmp_path / "altered.pdf"
    altered.write_bytes(content)
    bad = medhub("report", "verify", altered, "--json")
    assert (bad.code, bad.json["intact"]) == (1, False)
    assert bad.json["reason"]


def test_report_verify_needs_only_the_certificate(medhub: Run, report: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "issuer.pem"
    certificate.write_text(medhub("report", "certificate").out)
    assert re.fullmatch(r"[0-9a-f]{64}", medhub("report", "key").out.strip())
    elsewhere = tmp_path / "elsewhere"
    options = ("--certificate", certificate, "--json")
    result = medhub("report", "verify", report, *options, on=elsewhere).json
    assert (result["authentic"], result["method"]) == (True, "signature")
    assert medhub("report", "verify", report, "--certificate", report, on=elsewhere).code == 2
    assert medhub("report", "verify", report, "--key", "0" * 63 + "1", on=elsewhere).code == 1
    assert medhub("report", "verify", report, "--key", "abc", on=elsewhere).code == 2
    without = medhub("report", "verify", report, "--json", on=elsewhere)
    assert (without.code, without.json["intact"], without.json["authentic"]) == (0, True, None)
    assert not elsewhere.exists()  # checking makes no installation


def test_report_verify_of_something_else(medhub: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.pdf"
    other.write_bytes(b"not a report")
    assert medhub("report", "verify", other).code == 1
    assert medhub("report", "verify", tmp_path / "none.pdf").code == 3
    assert medhub("report", "key", on=tmp_path / "elsewhere").code == 5
    assert medhub("report", "certificate", on=tmp_path / "elsewhere").code == 5


# The audit log.


def alter(data: Path, statement: str) -> None:
    with sqlite3.connect(data / "medhub.sqlite") as connection:
        connection.execute(statement)
    connection.close()


def test_audit_verify_counts_the_entries_of_a_chain_that_holds(medhub: Run, project: str, code: str) -> None:
    result = medhub("audit", "verify", "--json")
    assert (result.code, result.json["intact"], result.json["broken_at"]) == (0, True, None)
    assert result.json["entries"] == 2
    assert re.fullmatch(r"[0-9a-f]{64}", result.json["last_hash"])
    assert "The chain is intact: 2 entries" in medhub("audit", "verify").out


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE audit_entries SET actor = 'somebody else' WHERE seq = 3", "Entry 3 was altered."),
        ("UPDATE audit_entries SET at = '2020-01-01 00:00:00.000000' WHERE seq = 3", "Entry 3 was altered."),
        ("UPDATE audit_entries SET outcome = 'refused' WHERE seq = 3", "Entry 3 was altered."),
        ("UPDATE audit_entries SET detail = '{\"x\":1}' WHERE seq = 3", "Entry 3 was altered."),
        ("UPDATE audit_entries SET hash = previous_hash WHERE seq = 3", "Entry 3 was altered."),
        ("UPDATE audit_entries SET previous_hash = hash WHERE seq = 3", "Entry 3 does not follow the entry before it."),
        ("DELETE FROM audit_entries WHERE seq = 3", "Entry 3 is missing."),
        ("UPDATE audit_entries SET seq = 33 WHERE seq = 3", "Entry 3 is missing."),
    ],
)
def test_audit_verify_names_the_first_entry_that_does_not_hold(
    medhub: Run, project: str, code: str, data: Path, statement: str, reason: str
) -> None:
    for _ in range(3):
        medhub("patient", "add", "--project", project)
    assert medhub("audit", "verify", "--json").json["entries"] == 5
    alter(data, statement)
    result = medhub("audit", "verify", "--json")
    assert (result.code, result.json["intact"], result.json["broken_at"]) == (1, False, 3)
    assert result.json["reason"] == reason
    assert f"The chain is broken at entry 3: {reason}" in medhub("audit", "verify").out


def test_what_the_command_line_does_is_recorded(medhub: Run, project: str, code: str, data: Path) -> None:
    app = build(Settings(data=data))
    with app.database.reading() as session:
        entries = list(session.scalars(select(AuditEntry).order_by(AuditEntry.seq)))
    app.close()
    assert [(entry.action, entry.actor, entry.origin) for entry in entries] == [
        ("project.create", "command line", "command line"),
        ("patient.create", "command line", "command line"),
    ]


# Everything that can go wrong before a command begins.


def test_a_wrong_usage_ends_with_2(medhub: Run) -> None:
    assert medhub("no-such-command", on=None).code == 2
    assert medhub("project", "add").code == 2
    assert medhub("user", "add", "--role", "king", "--email", "a", "--name", "b", "--project", "c").code == 2


def test_a_missing_master_key_is_said_and_nothing_is_changed(
    medhub: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDHUB_MASTER_KEY_FILE", str(tmp_path / "gone.key"))
    result = medhub("project", "add", "Haematology")
    assert (result.code, "Restore it from its backup" in result.err) == (5, True)
    monkeypatch.delenv("MEDHUB_MASTER_KEY_FILE")
    monkeypatch.setenv("MEDHUB_MASTER_KEY", "too short")
    assert medhub("project", "add", "Haematology").code == 5


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("MEDHUB_PORT", "abc", 2, "MEDHUB_PORT"),
        ("MEDHUB_DECODER_WORKERS", "0", 2, "MEDHUB_DECODER_WORKERS"),
        ("MEDHUB_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:1/none", 5, "MEDHUB_DATABASE_URL"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named(
    medhub: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: int, words: str
) -> None:
    monkeypatch.setenv(name, value)
    result = medhub("project", "add", "Haematology")
    assert (result.code, words in result.err, "Traceback" in result.err) == (code, True, False)


def test_a_folder_that_cannot_be_used_is_named(medhub: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = medhub("project", "add", "Haematology", on=tmp_path / "file")
    assert (result.code, f"{tmp_path / 'file'}" in result.err) == (5, True)


def test_a_fault_of_medhub_ends_with_70_and_quotes_nothing(medhub: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["Siti", "binti", "Abdullah"]

    def broken(*_: object) -> None:
        raise RuntimeError(" ".join(words))

    monkeypatch.setattr("medhub.accounts.service.add_project", broken)
    result = medhub("project", "add", "Haematology")
    assert result.code == 70
    assert "RuntimeError" in result.err
    assert "Siti binti" not in result.err + result.out


def test_the_data_folder_is_the_owners_alone(medhub: Run, project: str, data: Path) -> None:
    assert data.stat().st_mode & 0o077 == 0
    assert (data / "keys" / "master.key").stat().st_mode & 0o177 == 0


def test_without_a_folder_the_data_lies_with_the_user_and_never_in_the_repository(
    medhub: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert medhub("project", "add", "Haematology", on=None).code == 0
    assert (tmp_path / "home" / "medhub" / "medhub.sqlite").is_file()
    monkeypatch.setenv("MEDHUB_DATA", str(tmp_path / "named"))
    assert medhub("project", "add", "Haematology", on=None).code == 0
    assert (tmp_path / "named" / "medhub.sqlite").is_file()


@pytest.mark.parametrize("role", list(Role))
def test_every_role_can_be_given(medhub: Run, project: str, role: Role) -> None:
    given = ("--email", "a@lab.example", "--name", "A", "--role", role, "--project", project, "--password-stdin")
    assert medhub("user", "add", *given, stdin=PASSWORD).code == 0


# DICOM nodes.


def test_a_dicom_node_is_added_listed_tested_and_removed(medhub: Run, project: str) -> None:
    added = medhub(
        "node", "add", "PACS", "--project", project, "--host", "127.0.0.1", "--port", "1", "--query", "--json"
    )
    assert (added.code, added.json["called_ae"], added.json["may_query"]) == (0, "MEDHUB", True)
    assert medhub("node", "add", "PACS", "--project", project, "--host", "127.0.0.1").code == 4
    assert medhub("node", "add", "CT_2", "--project", project).code == 2  # from where?
    assert medhub("node", "add", "CT_2", "--project", project, "--any-address").code == 0
    assert "no address; warning: from any address" in medhub("node", "list").out
    assert medhub("node", "remove", medhub("node", "list").out.split("CT_2")[0].split()[-1]).code == 0
    assert medhub("node", "add", "NO TITLE", "--project", project).code == 2
    listed = medhub("node", "list")
    assert "PACS calls MEDHUB; may send and query; 127.0.0.1:1" in listed.out
    assert [row["id"] for row in medhub("node", "list", "--json").json] == [added.json["id"]]
    echo = medhub("node", "echo", added.json["id"])
    assert (echo.code, "does not answer" in echo.err) == (5, True)
    assert medhub("dicom", "send", "--project", project, "--to", "PACS").code == 2
    assert medhub("dicom", "send", "--project", project, "--to", "PACS", "--patient", "P-000000").code == 3
    assert medhub("dicom", "send", "--project", project, "--to", "NOBODY", "--patient", "P-000000").code == 3
    assert medhub("node", "remove", added.json["id"]).code == 0
    assert medhub("peer", "list").out == ""
