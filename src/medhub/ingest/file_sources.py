# SPDX-License-Identifier: Apache-2.0
"""The files of a folder, a ZIP or a DICOM file-set (a medium with a DICOMDIR).

Paths in a DICOMDIR must stay below its folder: a path that leaves it, or follows a link, is refused.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from medhub.errors import Invalid, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.safe_zip import ZipLimits, open_zip, unpack_member
from medhub.science.imaging.dicom.dicomdir import read_file_ids
from medhub.science.imaging.photographs.format_registry import PHOTOGRAPH_EXTENSIONS

DIRECTORY = "DICOMDIR"
MOST_FILES = 1_000_000
# Extensions of images in a folder; a file that is named directly may have any.
ENDINGS = PHOTOGRAPH_EXTENSIONS | {".dcm", ".dicom", ".ima", ""}
_PREFIX_BYTES = 132  # preamble and "DICM" (PS3.10, 7.1)
# What file systems of media add to the names of PS3.10: an extension, and the version of ISO 9660.
_ADDED_EXTENSIONS = ("", ".DCM", ".DICOM", ".IMA", ".IMG")
_ISO_VERSION = re.compile(r"\.?;[0-9]+")
_IGNORED = {".ds_store", "thumbs.db", "desktop.ini"}


_Listings = dict[Path, dict[str, Path]]
"""The files of folders by their names in upper case, without what file systems add."""


class FileSetRefused(Invalid):
    """A DICOMDIR names a file outside its folder."""

    code = "file-set-refused"
    title = "The file-set cannot be read"


@dataclass(frozen=True)
class SourceFile:
    """A file to ingest: its name for the user, and its path."""

    name: str
    path: Path
    member: str | None = None  # within a ZIP
    size: int = 0


def find_files(app: AppContext, paths: list[Path], missing: list[str] | None = None) -> Iterator[SourceFile]:
    """The files of the paths: files, folders, ZIPs and DICOMDIRs.

    Of a folder with a DICOMDIR only the files that it names are read; names of files that are not there are added to
    ``missing``. Raises ``FileSetRefused`` where one of them is outside of the folder, or none is there.
    """
    missing = [] if missing is None else missing
    for path in paths:
        if path.is_dir():
            directory = _directory_in(path)
            yield from _file_set(app, directory, missing) if directory is not None else _folder(path)
        elif path.name.upper() == DIRECTORY:
            yield from _file_set(app, path, missing)
        elif path.suffix.lower() == ".zip":
            yield from _zip(app, path)
        elif path.is_file():
            yield SourceFile(str(path), path, size=path.stat().st_size)
        else:
            raise NotFound(f"There is no file {path}.")


def _directory_in(folder: Path) -> Path | None:
    return next((path for path in folder.iterdir() if path.name.upper() == DIRECTORY and path.is_file()), None)


def _folder(folder: Path) -> Iterator[SourceFile]:
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or path.name.lower() in _IGNORED or path.name.upper() == DIRECTORY:
            continue
        entry = path.lstat()
        # Links and pipes are not followed.
        if stat.S_ISREG(entry.st_mode) and (_has_image_extension(path.name) or _has_dicom_prefix(path)):
            yield SourceFile(str(path), path, size=entry.st_size)


def _has_image_extension(name: str) -> bool:
    """Whether a file name has the extension of an image; scanners use numbers or UIDs as names."""
    ending = Path(name).suffix.lower()
    return ending in ENDINGS or ending[1:].isdigit()


def _has_dicom_prefix(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_PREFIX_BYTES)[128:] == b"DICM"


def _zip(app: AppContext, path: Path) -> Iterator[SourceFile]:
    limits = zip_limits(app)
    with path.open("rb") as file, open_zip(file, limits) as (archive, members):
        for info, parts in members:
            if parts[-1].startswith(".") or parts[-1].upper() == DIRECTORY:
                continue
            if _has_image_extension(parts[-1]) or _member_has_dicom_prefix(archive, info):
                yield SourceFile(f"{path}: {'/'.join(parts)}", path, info.filename, info.file_size)


def _member_has_dicom_prefix(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    with archive.open(info) as file:
        return file.read(_PREFIX_BYTES)[128:] == b"DICM"


def zip_limits(app: AppContext) -> ZipLimits:
    """The largest ZIP of images that is accepted."""
    return ZipLimits(max_files=60_000, max_directory_bytes=32 * 1024**2, max_file_bytes=app.settings.upload_max_bytes)


def _file_set(app: AppContext, directory: Path, missing: list[str]) -> Iterator[SourceFile]:
    """The files that a DICOMDIR names (PS3.10, 8.6), below its folder, compared without regard to case."""
    if directory.stat().st_size > app.settings.upload_max_bytes:
        raise FileSetRefused("This DICOMDIR is larger than a file may be.")
    names = app.isolation.run(read_file_ids, directory.read_bytes())
    root = directory.parent.resolve()
    files: list[SourceFile] = []
    absent: list[str] = []
    listings: _Listings = {}
    for components in names[:MOST_FILES]:
        name = "/".join(components)
        path = _below(root, components, listings)
        if path is None:
            absent.append(name)
        else:
            files.append(SourceFile(name, path, size=path.stat().st_size))
    if absent and not files:
        raise FileSetRefused(
            f"The DICOMDIR names {absent[0][:200]!r}, which is not there, and no file that is. Copy the whole medium "
            "again, or name its folders without the DICOMDIR."
        )
    missing += absent
    yield from files


def _below(root: Path, components: list[str], listings: _Listings) -> Path | None:
    """The file that a DICOMDIR names; ``None`` where it is not there."""
    shown = "/".join(components)[:200]
    path = root
    for component in components:
        if component in {"", ".", ".."} or any(sign in component for sign in "/\\\0:"):
            raise FileSetRefused(f"The DICOMDIR names {shown!r}, which leaves its folder. Nothing was brought in.")
        child = _child(path, component, listings)
        if child is None:
            return None
        path = child
        if path.is_symlink():
            raise FileSetRefused(f"The DICOMDIR names {shown!r}, which is a link. Nothing was brought in.")
    if not path.is_file() or not path.resolve().is_relative_to(root):
        raise FileSetRefused(f"The DICOMDIR names {shown!r}, which is no file of its folder. Nothing was brought in.")
    return path


def _child(folder: Path, name: str, listings: _Listings) -> Path | None:
    if (folder / name).exists() or (folder / name).is_symlink():
        return folder / name
    if not folder.is_dir():
        return None
    if folder not in listings:
        by_name: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            by_name.setdefault(_ISO_VERSION.sub("", path.name.upper()).rstrip("."), path)
        listings[folder] = by_name
    by_name = listings[folder]
    return next((by_name[name.upper() + added] for added in _ADDED_EXTENSIONS if name.upper() + added in by_name), None)


class Reader:
    """Reads source files; the last ZIP stays open."""

    def __init__(self, app: AppContext) -> None:
        self._limits = zip_limits(app)
        self._open = ExitStack()
        self._path: Path | None = None
        self._archive: zipfile.ZipFile | None = None

    def read(self, source: SourceFile) -> bytes:
        """The bytes of a file."""
        if source.member is None:
            return source.path.read_bytes()
        if self._archive is None or self._path != source.path:
            self.close()
            file = self._open.enter_context(source.path.open("rb"))
            self._archive, _ = self._open.enter_context(open_zip(file, self._limits))
            self._path = source.path
        return unpack_member(self._archive, self._archive.getinfo(source.member), self._limits)

    def close(self) -> None:
        """Close the ZIP that is open."""
        self._open.close()
        self._archive = None
