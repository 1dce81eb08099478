# SPDX-License-Identifier: Apache-2.0
"""De-identification of files and folders on the command line."""

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
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.pixel_cleaning import Layouts
from medhub.science.deid.profile import Profile, find_profile
from medhub.science.deid.remaining_text import FREE_TEXT, remaining_texts
from medhub.science.imaging.decoding_limits import DecodingLimits


class _RunsByDefault(TyperGroup):
    """``medhub deid IN OUT`` is ``medhub deid run IN OUT``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take what names no command for what is to be de-identified."""
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


deid_app = typer.Typer(
    cls=_RunsByDefault, help="Take out of images who they are of: medhub deid IN OUT.", no_args_is_help=True
)

Source = Annotated[Path, typer.Argument(help="A file, or a folder of files.")]
ProfileName = Annotated[str, typer.Option("--profile", help="Name of a profile that ships, or a TOML file.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="File with the project's key (32 bytes or more); made there if it is not there yet."),
]
_LEAST_KEY = 16
# Larger files are not read into memory as a whole; only slides are so large.
_IN_MEMORY = DecodingLimits().max_bytes
# Neighboring files are mostly of one series, of which a process remembers where writing is.
_TOGETHER = 8
_SAME_UID = "A file with the same SOP Instance UID and other contents came before it."


@deid_app.command("run")
def run_command(
    source: Source,
    target: Annotated[Path, typer.Argument(help="Folder for the new files; empty, or not there yet.")],
    profile: ProfileName = "basic",
    key_file: KeyFile = None,
    manifest: Annotated[
        Path | None, typer.Option(help="File for what was done to each file, as JSON lines; outside OUT.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Files that are worked on at a time.")] = 1,
    pixels: Annotated[
        bool,
        typer.Option(
            "--pixels/--no-pixels",
            help="Find writing in pixels and make it black; without, what may hold writing is quarantined.",
        ),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """De-identify files; exit code 1 if any was quarantined. Nothing of a quarantined file is written to OUT."""
    wanted = find_profile(profile)
    if not pixels:
        wanted = wanted.model_copy(update={"pixels": wanted.pixels.model_copy(update={"clean": False})})
    files = _files(source)
    _check_target(source, target, manifest)
    key, lasting = _key(key_file)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with _lines(manifest) as write, _bar(quiet) as bar:
        task = bar.add_task("De-identifying", total=len(files))
        for path, found in _done(files, wanted, key, jobs, target):
            written = _store(found, target) if found.outcome == "cleaned" else None
            if found.outcome == "cleaned" and written is None:
                found = Result("quarantined", _SAME_UID)
            counts[found.outcome] += 1
            if found.reason:
                reasons[found.reason] += 1
            relative = path.relative_to(source) if source.is_dir() else Path(path.name)
            write(found.as_json(relative.as_posix(), written))
            bar.advance(task)
    console = Console(stderr=True)
    console.print(
        f"{counts['cleaned']} cleaned, {counts['quarantined']} quarantined, by {wanted.name} {wanted.version}."
    )
    for reason, count in reasons.most_common():
        console.print(f"  {count} x {reason}", highlight=False, soft_wrap=True)
    if not lasting:
        console.print(
            "Without --key-file the key of this run is gone: files that come later get other codes and dates.",
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
    """Show what a profile would do, and which free texts would remain; nothing is written."""
    wanted = find_profile(profile)
    files = _files(source)
    key = secrets.token_bytes(32)
    outcomes: Counter[str] = Counter()
    actions: Counter[tuple[str, str, str]] = Counter()
    texts: Counter[tuple[str, str]] = Counter()
    with _bar(as_json) as bar:
        task = bar.add_task("Looking", total=len(files))
        for _, found in _done(files, wanted, key, 1):
            outcomes[found.reason or "cleaned"] += 1
            actions.update({(one.name, one.done, one.rule) for one in found.actions})
            if found.outcome == "cleaned" and found.suffix == ".dcm":
                texts.update(remaining_texts(found.data))
            bar.advance(task)
    value = {
        "profile": wanted.name,
        "version": wanted.version,
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
    _show(value)


@deid_app.command("scan")
def scan_command(
    source: Source,
    known: Annotated[
        Path | None, typer.Option(help="Text file with names and numbers that must not be found, one a line.")
    ] = None,
    pixels: Annotated[
        bool, typer.Option("--pixels/--no-pixels", help="Read writing in pictures, a second or two for a megapixel.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Look for whatever still says who somebody is; exit code 1 if there is something. It prints what it finds."""
    try:
        people = known.read_text(encoding="utf-8").splitlines() if known is not None else []
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{known} cannot be read as text.", field="known") from error
    scanner = PhiScanner(people, read_pixels=pixels)
    files = _files(source)
    found: list[dict[str, str]] = []
    with _bar(as_json) as bar:
        task = bar.add_task("Looking", total=len(files))
        for path in files:
            relative = path.relative_to(source).as_posix() if source.is_dir() else path.name
            try:
                findings = scanner.scan(relative, path.read_bytes())
            except OSError as error:
                raise Unavailable(f"{path} cannot be read ({error.strerror}).") from error
            found += [{"file": relative, **vars(one)} for one in findings]
            bar.advance(task)
    if as_json:
        print(json.dumps({"files": len(files), "findings": found}, ensure_ascii=False, indent=2))
    else:
        table = Table(
            "file", "where", "what it looks like", "value", title=f"{len(found)} findings in {len(files)} files"
        )
        for one in found:
            table.add_row(one["file"], one["place"], one["kind"], one["excerpt"])
        Console().print(table)
    if found:
        raise typer.Exit(1)


@deid_app.command("score")
def score_command(
    key: Annotated[Path, typer.Argument(help="The answer key, a JSON file.")],
    target: Annotated[Path, typer.Argument(help="Folder of the de-identified files.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the run, which says which file became which.")],
    received: Annotated[
        Path | None, typer.Option(help="Folder of the files as received, for checks of pixels.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a script.")] = False,
) -> None:
    """Hold de-identified files against an answer key; exit code 1 if any check failed."""
    for path, folder in ((key, False), (manifest, False), (target, True)):
        if not (path.is_dir() if folder else path.is_file()):
            raise NotFound(f"There is no {'folder' if folder else 'file'} {path}.")
    found = score(read_key(key), outputs_of(manifest), target, received)
    categories = sorted({*found.met, *found.missed, *found.over_done})
    rows = [(one, found.met[one], found.missed[one], found.over_done[one]) for one in categories]
    if as_json:
        value = {
            "share": found.share,
            "categories": [dict(zip(("category", "met", "missed", "over_done"), row, strict=True)) for row in rows],
            "failures": [dict(zip(("input", "category", "path"), one, strict=True)) for one in found.failures],
        }
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        table = Table("category", "met", "missed", "over-done", title=f"{found.share:.3%} of the checks are met")
        for row in rows:
            table.add_row(*map(str, row))
        Console().print(table)
    if found.failures:
        raise typer.Exit(1)


def _show(value: dict[str, Any]) -> None:
    console = Console()
    console.print(f"[bold]{value['profile']} {value['version']}[/bold] on {value['files']} files")
    for outcome, count in value["outcomes"].items():
        console.print(f"  {count} x {outcome}", highlight=False, soft_wrap=True)
    table = Table("attribute", "would be", "by", "files", title="What would be done")
    for one in value["actions"]:
        table.add_row(one["attribute"], one["done"], one["rule"], str(one["files"]))
    console.print(table)
    table = Table("attribute", "value", "files", title=f"Texts that would remain ({', '.join(sorted(FREE_TEXT))})")
    for one in value["remaining_text"]:
        table.add_row(one["attribute"], one["value"], str(one["files"]))
    console.print(table)


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise NotFound(f"There is no file or folder {source}.")
    found = [path for path in sorted(source.rglob("*")) if path.is_file() and not path.is_symlink()]
    if not found:
        raise NotFound(f"There are no files in {source}.")
    return found


def _check_target(source: Path, target: Path, manifest: Path | None) -> None:
    target = target.resolve()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise Conflict(f"{target} is not empty. Take a new folder, so that nothing old is mixed in.")
    if source.resolve() == target or source.resolve() in target.parents or target in source.resolve().parents:
        raise Invalid("IN and OUT lie in one another. Take a folder for OUT that is apart from IN.", field="out")
    if manifest is not None and target in manifest.resolve().parents:
        raise Invalid("The manifest names what was received: it must lie outside OUT.", field="manifest")


def _key(path: Path | None) -> tuple[bytes, bool]:
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
    if len(key) < _LEAST_KEY:
        raise Invalid(f"{path} holds {len(key)} bytes; a key has at least {_LEAST_KEY}.", field="key-file")
    return key, True


@cache
def _layouts() -> Layouts:
    """What this process knows of the series that it has looked at."""
    return Layouts()


def _one(path: Path, profile: Profile, key: bytes, parts: Path | None) -> Result:
    try:
        if parts is not None and path.stat().st_size > _IN_MEMORY:
            parts.mkdir(parents=True, exist_ok=True)
            part = parts / f".{secrets.token_hex(8)}.part"
            found = clean_large_slide(path, part, profile, key)
            return replace(found, part=str(part)) if found.outcome == "cleaned" else found
        return clean_file(path.read_bytes(), profile, key, layouts=_layouts())
    except OSError as error:
        return Result("quarantined", f"It cannot be read ({error.strerror}).")


def _done(
    files: list[Path], profile: Profile, key: bytes, jobs: int, parts: Path | None = None
) -> Iterator[tuple[Path, Result]]:
    if jobs == 1:
        for path in files:
            yield path, _one(path, profile, key, parts)
        return
    with ProcessPoolExecutor(jobs) as pool:
        same = ([one] * len(files) for one in (profile, key, parts))
        found = pool.map(_one, files, *same, chunksize=_TOGETHER)
        yield from zip(files, found, strict=True)


def _store(found: Result, target: Path) -> str | None:
    """Write a new file; none is written where another with its UID but other contents lies."""
    relative = Path(*found.place).with_name(f"{found.place[-1]}{found.suffix}")
    path = target / relative
    part = path.with_name(f".{path.name}.part")
    if found.part:
        Path(found.part).replace(path)
        return relative.as_posix()
    if path.exists():
        return relative.as_posix() if path.read_bytes() == found.data else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(found.data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Unavailable(f"{path} cannot be written ({error.strerror}). What was written before is whole.") from error
    return relative.as_posix()


@contextmanager
def _lines(manifest: Path | None) -> Iterator[Any]:
    if manifest is None:
        yield lambda value: None
        return
    try:
        with manifest.open("w", encoding="utf-8") as file:
            yield lambda value: file.write(json.dumps(value, ensure_ascii=False) + "\n")
    except OSError as error:
        raise Unavailable(f"The manifest cannot be written to {manifest} ({error.strerror}).") from error


def _bar(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)
