# SPDX-License-Identifier: Apache-2.0
"""The files of a folder, a ZIP or a DICOM file-set (a medium with a DICOMDIR).

Paths in a DICOMDIR must stay below its folder: a path that leaves it, or follows a link, is refused.
"""

from __future__ import annotations

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
_IGNORED = {".ds_store", "thumbs.db", "desktop.ini"}


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


def find_files(app: AppContext, paths: list[Path]) -> Iterator[SourceFile]:
    """The files of the paths: files, folders, ZIPs and DICOMDIRs.

    Of a folder with a DICOMDIR only the files that it names are read. Raises ``FileSetRefused`` where one of them is
    outside of the folder.
    """
    for path in paths:
        if path.is_dir():
            directory = _directory_in(path)
            yield from _file_set(app, directory) if directory is not None else _folder(path)
        elif path.name.upper() == DIRECTORY:
            yield from _file_set(app, path)
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
        return file.read(132)[128:] == b"DICM"


def _zip(app: AppContext, path: Path) -> Iterator[SourceFile]:
    limits = zip_limits(app)
    with path.open("rb") as file, open_zip(file, limits) as (_, members):
        for info, parts in members:
            if parts[-1].upper() != DIRECTORY and _has_image_extension(parts[-1]):
                yield SourceFile(f"{path}: {'/'.join(parts)}", path, info.filename, info.file_size)


def zip_limits(app: AppContext) -> ZipLimits:
    """The largest ZIP of images that is accepted."""
    return ZipLimits(max_files=60_000, max_directory_bytes=32 * 1024**2, max_file_bytes=app.settings.upload_max_bytes)


def _file_set(app: AppContext, directory: Path) -> Iterator[SourceFile]:
    """The files that a DICOMDIR names (PS3.10, 8.6), below its folder, compared without regard to case."""
    if directory.stat().st_size > app.settings.upload_max_bytes:
        raise FileSetRefused("This DICOMDIR is larger than a file may be.")
    names = app.isolation.run(read_file_ids, directory.read_bytes())
    root = directory.parent.resolve()
    for components in names[:MOST_FILES]:
        path = _below(root, components)
        yield SourceFile("/".join(components), path, size=path.stat().st_size)


def _below(root: Path, components: list[str]) -> Path:
    shown = "/".join(components)[:200]
    path = root
    for component in components:
        if component in {"", ".", ".."} or any(sign in component for sign in "/\\\0:"):
            raise FileSetRefused(f"The DICOMDIR names {shown!r}, which leaves its folder. Nothing was brought in.")
        child = _child(path, component)
        if child is None:
            raise FileSetRefused(
                f"The DICOMDIR names {shown!r}, which is not there. Copy the whole medium again, or name its folders "
                "without the DICOMDIR."
            )
        path = child
        if path.is_symlink():
            raise FileSetRefused(f"The DICOMDIR names {shown!r}, which is a link. Nothing was brought in.")
    if not path.is_file() or not path.resolve().is_relative_to(root):
        raise FileSetRefused(f"The DICOMDIR names {shown!r}, which is no file of its folder. Nothing was brought in.")
    return path


def _child(folder: Path, name: str) -> Path | None:
    if (folder / name).exists() or (folder / name).is_symlink():
        return folder / name
    if not folder.is_dir():
        return None
    return next((path for path in folder.iterdir() if path.name.upper() == name.upper()), None)


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
