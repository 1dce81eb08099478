# SPDX-License-Identifier: Apache-2.0
"""The command line: ``medhub COMMAND``.

Exit codes: 0 success; 1 success with findings (a quarantined file, a broken chain, a changed report); 2 wrong usage or
invalid input; 3 not found; 4 not possible now; 5 a required component does not answer; 70 an internal error of Medhub;
143 a training was stopped by a signal and can be continued with --resume.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.exc import OperationalError

from medhub import __version__
from medhub.accounts import service as accounts
from medhub.accounts.actor import COMMAND_LINE
from medhub.accounts.permissions import Role
from medhub.entrypoints import (
    cli_audit,
    cli_classifiers,
    cli_deid,
    cli_dimse,
    cli_export,
    cli_images,
    cli_ingest,
    cli_jobs,
    cli_serve,
    cli_training,
)
from medhub.entrypoints.cli_data_folder import AsJSON, Data, load_settings, open_app
from medhub.errors import Conflict, Invalid, MedhubError, NotAllowed, NotFound, Unavailable
from medhub.foundation import logging
from medhub.foundation.isolation_worker import forbid_core_dumps
from medhub.foundation.settings import Settings
from medhub.records import field_definitions
from medhub.records import service as records

if TYPE_CHECKING:
    from medhub.reports.verification_result import TrustedKeys

cli = typer.Typer(
    name="medhub",
    help="Medical images: storage, classification, review and signed reports.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
project_app = typer.Typer(help="Projects: the units of access control.", no_args_is_help=True)
user_app = typer.Typer(help="People and their roles.", no_args_is_help=True)
patient_app = typer.Typer(help="Patients.", no_args_is_help=True)
report_app = typer.Typer(help="Issued reports.", no_args_is_help=True)
for name, sub_command in (
    ("project", project_app),
    ("user", user_app),
    ("patient", patient_app),
    ("audit", cli_audit.audit_app),
    ("report", report_app),
    ("deid", cli_deid.deid_app),
    ("dicom", cli_dimse.dicom_app),
    ("node", cli_dimse.node_app),
):
    cli.add_typer(sub_command, name=name)
cli.add_typer(cli_dimse.node_app, name="peer", hidden=True)  # the earlier name of `medhub node`


EXIT_CODES: dict[type[MedhubError], int] = {
    Invalid: 2,
    NotFound: 3,
    Conflict: 4,
    NotAllowed: 4,
    Unavailable: 5,
    MedhubError: 2,
}
FAULT_EXIT_CODE = 70


def print_result(value: Any, as_json: bool, text: str) -> None:
    """Print a result as text or as JSON."""
    print(json.dumps(value, ensure_ascii=False) if as_json else text)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"medhub {__version__}")
        raise typer.Exit


@cli.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Medical images: storage, classification, review and signed reports."""


@project_app.command("add")
def add_project(
    name: Annotated[str, typer.Argument(help="Name of the project.")], data: Data = None, as_json: AsJSON = False
) -> None:
    """Add a project and print its id."""
    with open_app(data) as app, app.database.writing() as session:
        project = accounts.add_project(session, name)
        COMMAND_LINE.record(session, "project.create", "project", project.id, project_id=project.id)
        print_result({"id": project.id, "name": project.name}, as_json, project.id)


@user_app.command("add")
def add_user(
    email: Annotated[str, typer.Option(help="E-mail address for the sign-in.")],
    name: Annotated[str, typer.Option(help="Name of the person.")],
    role: Annotated[Role, typer.Option(help="Role in the project.")],
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Add a person with a role in a project, and print the id."""
    password = _read_password(from_stdin=password_stdin)
    with open_app(data) as app, app.database.writing() as session:
        project_row = accounts.find_project(session, project)
        user = accounts.add_user(
            session, email=email, name=name, password=password, role=role, project_id=project_row.id, actor=None
        )
        COMMAND_LINE.record(session, "user.create", "user", user.id, project_id=project_row.id, role=role.value)
        print_result({"id": user.id, "email": user.email, "role": role.value}, as_json, user.id)


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    raise Invalid("Pass the password on standard input with --password-stdin; it cannot be an argument.")


@user_app.command("password")
def set_password(
    email: Annotated[str, typer.Option(help="E-mail address of the account.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data: Data = None,
) -> None:
    """Set a new password for a person and end all sign-ins of the person."""
    password = _read_password(from_stdin=password_stdin)
    with open_app(data) as app, app.database.writing() as session:
        user = accounts.reset_password(session, email, password)
        COMMAND_LINE.record(session, "user.change", "user", user.id, changed=["password"])


@user_app.command("role")
def give_role(
    email: Annotated[str, typer.Option(help="E-mail address of the account.")],
    role: Annotated[Role, typer.Option(help="Role in the project.")],
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    data: Data = None,
) -> None:
    """Set the role of an existing user in a project."""
    with open_app(data) as app, app.database.writing() as session:
        project_row = accounts.find_project(session, project)
        user = accounts.assign_role(session, email, project_row.id, role)
        COMMAND_LINE.record(session, "user.change", "user", user.id, project_id=project_row.id, role=role.value)


@patient_app.command("add")
def add_patient(
    project: Annotated[str, typer.Option(help="Name or id of the project.")],
    sex: Annotated[str, typer.Option(help="F, M, O, or U if unknown.")] = "U",
    birth_year: Annotated[int | None, typer.Option(help="Year of birth.")] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="Value of a field of the project, as key=value; repeatable.")
    ] = None,
    confirm: Annotated[
        list[str] | None, typer.Option(help="Key of a field whose unlikely value is right; repeatable.")
    ] = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Register a patient and print the code."""
    if sex not in {"F", "M", "O", "U"}:
        raise Invalid("The sex is one of F, M, O, U.", field="sex")
    with open_app(data) as app, app.database.writing() as session:
        project_row = accounts.find_project(session, project)
        patient = records.create_patient(
            session,
            app.keys,
            project_id=project_row.id,
            sex=sex,
            birth_year=birth_year,
            fields=field_definitions.parse_pairs(field or []),
            identity=None,
            by=COMMAND_LINE,
            confirmed_fields=confirm or (),
        )
        print_result({"id": patient.id, "code": patient.code}, as_json, patient.code)


@patient_app.command("index")
def index_patients(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are up to date.")] = False,
    data: Data = None,
) -> None:
    """Index the identities of an earlier version, so that patients are found by name and number."""
    from medhub.records.identity_search import reindex_batch

    with open_app(data) as app:
        patient_id = reindex_batch(app, everything_after="" if everything else None)
        while patient_id is not None:
            patient_id = reindex_batch(app, everything_after=patient_id if everything else None)


@report_app.command("verify")
def verify_report(
    file: Annotated[Path, typer.Argument(help="The PDF file of a report.")],
    certificate: Annotated[
        Path | None,
        typer.Option(help="Certificate of the issuer (PEM); by default that of the data folder."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Public key of the issuer of a report with a seal, 64 hexadecimal digits; "
            "by default that of the data folder."
        ),
    ] = None,
    data: Data = None,
    as_json: AsJSON = False,
) -> None:
    """Check offline whether a report is unchanged; exit code 1 if it has been changed."""
    from medhub.reports.verification import verify_report

    try:
        pdf = file.read_bytes()
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}.") from error
    result = verify_report(pdf, _load_trusted_keys(certificate, key, data))
    value = {
        "intact": result.intact,
        "authentic": result.authentic,
        "digest": result.digest,
        "key_id": result.key_id,
        "method": result.method,
        "certificate_fingerprint": result.certificate_fingerprint,
        "facts_digest_matches": result.facts_digest_matches,
        "reason": result.reason,
        "record": result.record,
    }
    text = f"{result.reason}\nDigest: {result.digest or 'none'}"
    if result.certificate_fingerprint is not None:
        text += f"\nCertificate, SHA-256: {result.certificate_fingerprint}"
    print_result(value, as_json, text)
    if not result.intact or result.authentic is False or result.facts_digest_matches is False:
        raise typer.Exit(1)


def _load_trusted_keys(certificate: Path | None, key: str | None, data: Path | None) -> TrustedKeys:
    """The certificate and the key that were named, or those of the data folder if it has a master key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from medhub.foundation.keys import MasterKeyMissing, load_keys
    from medhub.reports.certificate import derive_credentials, read_certificate
    from medhub.reports.verification_result import TrustedKeys

    if certificate is not None or key is not None:
        try:
            seal_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) if key is not None else None
        except ValueError as error:
            raise Invalid("A public key has 64 hexadecimal digits.", field="key") from error
        return TrustedKeys(read_certificate(certificate) if certificate is not None else None, seal_key)
    try:
        keys = load_keys(load_settings(data), create=False)
    except MasterKeyMissing:
        return TrustedKeys()
    return TrustedKeys(derive_credentials(keys).certificate, keys.signing_key().public_key())


@report_app.command("certificate")
def print_certificate(data: Data = None) -> None:
    """Print the certificate (PEM) with which the reports of this installation are verified on another computer."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from medhub.foundation.keys import load_keys
    from medhub.reports.certificate import derive_credentials

    credentials = derive_credentials(load_keys(load_settings(data), create=False))
    print(credentials.certificate.public_bytes(Encoding.PEM).decode(), end="")


@report_app.command("key")
def report_key(data: Data = None) -> None:
    """Print the public key for reports that carry a seal instead of a PDF signature."""
    from medhub.foundation.keys import load_keys

    print(load_keys(load_settings(data), create=False).signing_key().public_key().public_bytes_raw().hex())


cli_serve.install(cli)
cli_images.install(cli)
cli_jobs.install(cli)
cli_ingest.install(cli)
cli_export.install(cli)
cli_training.install(cli)
cli_classifiers.install(cli)


def main() -> None:
    """Run the command line; errors are printed as a sentence and set the exit code."""
    forbid_core_dumps()
    logging.configure()
    try:
        cli(standalone_mode=True)
    except MedhubError as error:
        code = next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
        _exit(code, error.title, error.message)
    except ValidationError as error:
        if error.title != Settings.__name__:
            _exit_with_fault(error)
        messages = (f"MEDHUB_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}." for e in error.errors())
        _exit(2, "A setting is not valid", " ".join(messages))
    except OperationalError:
        _exit(5, Unavailable.title, "The database does not answer. Check that it runs, and MEDHUB_DATABASE_URL.")
    except OSError as error:
        _exit(5, Unavailable.title, f"{error.filename or 'The system'}: {error.strerror or type(error).__name__}.")
    except Exception as error:
        _exit_with_fault(error)


def _exit(code: int, title: str, message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]{title}.[/red] ", end="", highlight=False)
    print(message, file=sys.stderr)
    raise SystemExit(code) from None


def _exit_with_fault(error: Exception) -> NoReturn:
    # The text of an unexpected exception may contain data of a file or a person: only type and locations are shown.
    print("".join(traceback.format_tb(error.__traceback__)), end="", file=sys.stderr)
    _exit(
        FAULT_EXIT_CODE,
        "Internal error",
        f"An internal error of Medhub occurred: {type(error).__name__}. Please report it.",
    )


if __name__ == "__main__":
    main()
