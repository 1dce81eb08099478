# SPDX-License-Identifier: Apache-2.0
"""Commands that de-identify files and folders, scan them for personal data, and score the result."""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from medhub.errors import Conflict, Invalid, NotFound, Unavailable
from medhub.science.deid.answer_key import outputs_of, read_key, score
from medhub.science.deid.cleaning_result import Result
from medhub.science.deid.file_cleaning import clean_file, clean_large_slide
from medhub.science.deid.frame_layouts import Layouts
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.profile import Profile, find_profile
from medhub.science.deid.remaining_text import FREE_TEXT, remaining_texts
from medhub.science.imaging.decoding_limits import DecodingLimits


class _RunByDefault(TyperGroup):
    """``medhub deid IN OUT`` is ``medhub deid run IN OUT``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Treat a first argument that is not a command as the IN of ``run``."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


deid_app = typer.Typer(cls=_RunByDefault, help="De-identify images: medhub deid IN OUT.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(help="A file, or a folder of files.")]
ProfileName = Annotated[str, typer.Option("--profile", help="Name of an included profile, or a TOML file.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the key of the project (16 bytes or more); created with a new key if it does not exist."
    ),
]
_MIN_KEY_BYTES = 16
# Larger files are processed on disk; only slides are so large.
_MAX_BYTES_IN_MEMORY = DecodingLimits().max_bytes
# Neighboring files mostly belong to one series, and a process caches where a series has text.
_FILES_PER_TASK = 8
_SAME_UID = "An earlier file has the same SOP Instance UID and different contents."


@deid_app.command("run")
def run_command(
    source: Source,
    target: Annotated[Path, typer.Argument(help="Folder for the new files; it must be empty or not exist.")],
    profile: ProfileName = "basic",
    key_file: KeyFile = None,
    manifest: Annotated[
        Path | None, typer.Option(help="File outside OUT for a record of each file, as JSON lines.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Number of files that are processed at the same time.")] = 1,
    pixels: Annotated[
        bool,
        typer.Option(
            "--pixels/--no-pixels",
            help="Find text in pixels and blacken it; without this, images that may hold text are quarantined.",
        ),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
) -> None:
    """De-identify files. A quarantined file is not written to OUT; the exit code is then 1."""
    profile_rules = find_profile(profile)
    if not pixels:
        profile_rules = profile_rules.model_copy(
            update={"pixels": profile_rules.pixels.model_copy(update={"clean": False})}
        )
    files = _list_files(source)
    _check_target(source, target, manifest)
    key, key_is_saved = _read_or_create_key(key_file)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with _open_manifest(manifest) as write, _progress_bar(quiet) as bar:
        task = bar.add_task("De-identifying", total=len(files))
        for path, result in _clean_paths(files, profile_rules, key, jobs, target):
            written = _write_result(result, target) if result.outcome == "cleaned" else None
            if result.outcome == "cleaned" and written is None:
                result = Result("quarantined", _SAME_UID)
            counts[result.outcome] += 1
            if result.reason:
                reasons[result.reason] += 1
            relative = path.relative_to(source) if source.is_dir() else Path(path.name)
            write(result.as_json(relative.as_posix(), written))
            bar.advance(task)
    console = Console(stderr=True)
    console.print(
        f"{counts['cleaned']} cleaned, {counts['quarantined']} quarantined, "
        f"by {profile_rules.name} {profile_rules.version}."
    )
    for reason, count in reasons.most_common():
        console.print(f"  {count} x {reason}", highlight=False, soft_wrap=True)
    if not key_is_saved:
        console.print(
            "Without --key-file the key of this run is not saved: later files get other codes and dates.",
            highlight=False,
            soft_wrap=True,
        )
    if counts["quarantined"]:
        raise typer.Exit(1)


@deid_app.command("preview")
def preview_command(
    source: Source,
    profile: ProfileName = "basic",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Show what a profile would do and which free texts would remain. Nothing is written."""
    profile_rules = find_profile(profile)
    files = _list_files(source)
    key = secrets.token_bytes(32)
    outcomes: Counter[str] = Counter()
    actions: Counter[tuple[str, str, str]] = Counter()
    texts: Counter[tuple[str, str]] = Counter()
    with _progress_bar(as_json) as bar:
        task = bar.add_task("Scanning", total=len(files))
        for _, result in _clean_paths(files, profile_rules, key, 1):
            outcomes[result.reason or "cleaned"] += 1
            actions.update({(action.name, action.done, action.rule) for action in result.actions})
            if result.outcome == "cleaned" and result.suffix == ".dcm":
                texts.update(remaining_texts(result.data))
            bar.advance(task)
    value = {
        "profile": profile_rules.name,
        "version": profile_rules.version,
        "files": len(files),
        "outcomes": dict(outcomes.most_common()),
        "actions": [
            {"attribute": name, "done": done, "rule": rule, "files": count}
            for (name, done, rule), count in sorted(actions.items())
        ],
        "remaining_text": [
            {"attribute": name, "value": text, "files": count} for (name, text), count in texts.most_common()
        ],
    }
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    _print_preview(value)


@deid_app.command("scan")
def scan_command(
    source: Source,
    known: Annotated[
        Path | None, typer.Option(help="Text file with names and numbers to search for, one per line.")
    ] = None,
    pixels: Annotated[
        bool,
        typer.Option("--pixels/--no-pixels", help="Read text in images, which takes one to two seconds per megapixel."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Search files for personal data that remains, and print the findings. The exit code is 1 if there are any."""
    try:
        people = known.read_text(encoding="utf-8").splitlines() if known is not None else []
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{known} cannot be read as text.", field="known") from error
    scanner = PhiScanner(people, read_pixels=pixels)
    files = _list_files(source)
    rows: list[dict[str, str]] = []
    with _progress_bar(as_json) as bar:
        task = bar.add_task("Scanning", total=len(files))
        for path in files:
            relative = path.relative_to(source).as_posix() if source.is_dir() else path.name
            try:
                findings = scanner.scan(relative, path.read_bytes())
            except OSError as error:
                raise Unavailable(f"{path} cannot be read ({error.strerror}).") from error
            rows += [
                {"file": relative, "place": finding.location, "kind": finding.kind, "excerpt": finding.excerpt}
                for finding in findings
            ]
            bar.advance(task)
    if as_json:
        print(json.dumps({"files": len(files), "findings": rows}, ensure_ascii=False, indent=2))
    else:
        table = Table("file", "location", "kind", "value", title=f"{len(rows)} findings in {len(files)} files")
        for row in rows:
            table.add_row(row["file"], row["place"], row["kind"], row["excerpt"])
        Console().print(table)
    if rows:
        raise typer.Exit(1)


@deid_app.command("score")
def score_command(
    key: Annotated[Path, typer.Argument(help="The answer key, a JSON file.")],
    target: Annotated[Path, typer.Argument(help="Folder of the de-identified files.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the run, which maps each input to its output.")],
    received: Annotated[Path | None, typer.Option(help="Folder of the received files, for checks of pixels.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Compare de-identified files with an answer key. The exit code is 1 if a check failed."""
    for path, folder in ((key, False), (manifest, False), (target, True)):
        if not (path.is_dir() if folder else path.is_file()):
            raise NotFound(f"There is no {'folder' if folder else 'file'} {path}.")
    result = score(read_key(key), outputs_of(manifest), target, received)
    categories = sorted({*result.met, *result.missed, *result.over_done})
    rows = [(name, result.met[name], result.missed[name], result.over_done[name]) for name in categories]
    if as_json:
        value = {
            "share": result.share,
            "categories": [dict(zip(("category", "met", "missed", "over_done"), row, strict=True)) for row in rows],
            "failures": [dict(zip(("input", "category", "path"), failure, strict=True)) for failure in result.failures],
        }
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        table = Table("category", "met", "missed", "over-done", title=f"{result.share:.3%} of the checks are met")
        for row in rows:
            table.add_row(*map(str, row))
        Console().print(table)
    if result.failures:
        raise typer.Exit(1)


def _print_preview(value: dict[str, Any]) -> None:
    console = Console()
    console.print(f"[bold]{value['profile']} {value['version']}[/bold] on {value['files']} files")
    for outcome, count in value["outcomes"].items():
        console.print(f"  {count} x {outcome}", highlight=False, soft_wrap=True)
    table = Table("attribute", "action", "rule", "files", title="Actions")
    for action in value["actions"]:
        table.add_row(action["attribute"], action["done"], action["rule"], str(action["files"]))
    console.print(table)
    table = Table("attribute", "value", "files", title=f"Texts that would remain ({', '.join(sorted(FREE_TEXT))})")
    for text in value["remaining_text"]:
        table.add_row(text["attribute"], text["value"], str(text["files"]))
    console.print(table)


def _list_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise NotFound(f"There is no file or folder {source}.")
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
    if not files:
        raise NotFound(f"There are no files in {source}.")
    return files


def _check_target(source: Path, target: Path, manifest: Path | None) -> None:
    target = target.resolve()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise Conflict(f"{target} is not empty. Choose a new folder, so that old and new files do not mix.")
    if source.resolve() == target or source.resolve() in target.parents or target in source.resolve().parents:
        raise Invalid("One of IN and OUT contains the other. Choose a folder for OUT outside IN.", field="out")
    if manifest is not None and target in manifest.resolve().parents:
        raise Invalid("The manifest contains names of received files: it must lie outside OUT.", field="manifest")


def _read_or_create_key(path: Path | None) -> tuple[bytes, bool]:
    if path is None:
        return secrets.token_bytes(32), False
    if not path.exists():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
        except OSError as error:
            raise Unavailable(f"The key cannot be written to {path} ({error.strerror}).") from error
    try:
        key = path.read_bytes()
    except OSError as error:
        raise Unavailable(f"The key cannot be read from {path} ({error.strerror}).") from error
    if len(key) < _MIN_KEY_BYTES:
        raise Invalid(f"{path} holds {len(key)} bytes; a key has at least {_MIN_KEY_BYTES}.", field="key-file")
    return key, True


@cache
def _shared_layouts() -> Layouts:
    """The text layouts that this process knows."""
    return Layouts()


def _clean_path(path: Path, profile: Profile, key: bytes, parts: Path | None) -> Result:
    try:
        if parts is not None and path.stat().st_size > _MAX_BYTES_IN_MEMORY:
            parts.mkdir(parents=True, exist_ok=True)
            part = parts / f".{secrets.token_hex(8)}.part"
            result = clean_large_slide(path, part, profile, key)
            return replace(result, part=str(part)) if result.outcome == "cleaned" else result
        return clean_file(path.read_bytes(), profile, key, layouts=_shared_layouts())
    except OSError as error:
        return Result("quarantined", f"It cannot be read ({error.strerror}).")


def _clean_paths(
    files: list[Path], profile: Profile, key: bytes, jobs: int, parts: Path | None = None
) -> Iterator[tuple[Path, Result]]:
    if jobs == 1:
        for path in files:
            yield path, _clean_path(path, profile, key, parts)
        return
    with ProcessPoolExecutor(jobs) as pool:
        same = ([argument] * len(files) for argument in (profile, key, parts))
        results = pool.map(_clean_path, files, *same, chunksize=_FILES_PER_TASK)
        yield from zip(files, results, strict=True)


def _write_result(result: Result, target: Path) -> str | None:
    """Write a new file, unless a file with its UID and different contents exists."""
    relative = Path(*result.output_path).with_name(f"{result.output_path[-1]}{result.suffix}")
    path = target / relative
    part = path.with_name(f".{path.name}.part")
    if result.part:
        Path(result.part).replace(path)
        return relative.as_posix()
    if path.exists():
        return relative.as_posix() if path.read_bytes() == result.data else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(result.data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Unavailable(f"{path} cannot be written ({error.strerror}). Files written before are complete.") from error
    return relative.as_posix()


@contextmanager
def _open_manifest(manifest: Path | None) -> Iterator[Any]:
    if manifest is None:
        yield lambda value: None
        return
    try:
        with manifest.open("w", encoding="utf-8") as file:
            yield lambda value: file.write(json.dumps(value, ensure_ascii=False) + "\n")
    except OSError as error:
        raise Unavailable(f"The manifest cannot be written to {manifest} ({error.strerror}).") from error


def _progress_bar(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
