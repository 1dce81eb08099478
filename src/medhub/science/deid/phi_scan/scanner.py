# SPDX-License-Identifier: Apache-2.0
"""The last look at what is about to leave: what still says, or may say, who somebody is.

It shares no code with the engine, and no rule: it does not ask what a profile allows, but reads every byte as somebody
would who looks for people. So a fault of the engine is not repeated here. What it finds, a person decides on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from medhub.science.deid.phi_scan import other_files
from medhub.science.deid.phi_scan.dicom_objects import MOST_READ, Objects, strings
from medhub.science.deid.phi_scan.findings import PhiFinding
from medhub.science.deid.phi_scan.image_scan import photograph
from medhub.science.deid.phi_scan.phi_patterns import CODE, PhiPatterns

__all__ = ["PhiFinding", "PhiScanner"]

_MOST_FINDINGS = 1000  # of one file: one that has more is not read to its end by anybody
_MOST_NESTED = 4  # archives within archives
_UIDS = re.compile(r"(?:2\.25\.|\b1\.2\.840\.)[\d.]+")
_PICTURES = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF87a", b"GIF89a"),
    b"\0\0\0\x0cjP  ",
)
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")
_LOCKED = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_HEADER = 64 * 1024  # of a file of no known kind, where what it says of itself stands


class PhiScanner:
    """Looks for people in files.

    Parameters
    ----------
    known
        Names and numbers of people that must not be found, from the vault or a list.
    read_pixels
        Whether writing in pictures is read, about a second for each picture of a megapixel.
    dates
        Whether dates are findings in tables, texts and photographs, which cannot say that theirs were shifted.

    Raises
    ------
    Unavailable
        By ``scan``, when pictures are to be read and the library that reads is missing.
    """

    def __init__(self, known: Iterable[str] = (), *, read_pixels: bool = True, dates: bool = True) -> None:
        self._words = PhiPatterns(known)
        self._pixels = read_pixels
        self._dates = dates

    def scan(self, name: str, data: bytes) -> list[PhiFinding]:
        """Look through a file.

        Parameters
        ----------
        name
            Its path within what leaves; folders count.
        data
            Its bytes.

        Returns
        -------
        list[Finding]
            Each once, at most a thousand.
        """
        found: dict[PhiFinding, None] = {}
        for one in self._file(name, data, "", 0):
            found[one] = None
            if len(found) >= _MOST_FINDINGS:
                break
        return list(found)

    def _file(self, name: str, data: bytes, place: str, depth: int) -> Iterator[PhiFinding]:
        yield from self._name(name)
        at = place or "bytes of the file"
        yield from self._words.known_in_bytes(at, data)
        if data[128:132] == b"DICM" or (data[:2] in (b"\x02\0", b"\x08\0") and data[4:6].isalpha()):
            objects = Objects(
                self._words,
                read_pixels=self._pixels,
                inside=lambda where, inner: self._inner(where, "", inner, depth + 1),
            )
            yield from (
                PhiFinding(f"{place}: {one.place}" if place else one.place, one.kind, one.excerpt)
                for one in objects.look(data)
            )
        else:
            yield from self._other(name, data, at, depth)

    def _inner(self, place: str, name: str, data: bytes, depth: int) -> Iterator[PhiFinding]:
        if depth > _MOST_NESTED:
            yield PhiFinding(place, "cannot be read whole", "archives lie too deep within one another")
        else:
            yield from self._file(name, data, place, depth)

    def _other(self, name: str, data: bytes, place: str, depth: int) -> Iterator[PhiFinding]:
        if data.startswith(_PICTURES) or _is_webp_or_bitmap(data):
            yield from photograph(self._words, place, data, read_pixels=self._pixels, dates=self._dates)
        elif data.startswith(_ARCHIVES) or data[257:262] == b"ustar":
            yield from other_files.archive(
                self._words,
                place if depth else "",
                data,
                lambda where, inner_name, inner: self._inner(where, inner_name or name[:-3], inner, depth + 1),
            )
        elif data.startswith(_LOCKED) or (data[:3] == b"BZh" and data[4:10] == b"1AY&SY"):
            yield PhiFinding(place, "cannot be read whole", "an archive of a kind that is not looked into")
        elif data[:4] == b"PAR1" and data[-4:] == b"PAR1":
            yield from other_files.table(self._words, place, data, dates=self._dates)
        elif b"%PDF-" in data[:1024]:
            yield from other_files.document(self._words, place, data, read_pixels=self._pixels, dates=self._dates)
            yield from strings(self._words, place, data, everything=False, dates=self._dates)
        elif len(data) > MOST_READ:
            yield from strings(self._words, place, data, everything=False, dates=self._dates)
        elif (text := other_files.text_of(data)) is not None:
            yield from other_files.texts(self._words, place, name, text, dates=self._dates)
        else:
            yield from strings(self._words, place, data[:_HEADER], everything=True, dates=self._dates)
            yield from strings(self._words, place, data[_HEADER:], everything=False, dates=self._dates)

    def _name(self, name: str) -> Iterator[PhiFinding]:
        for part in PurePosixPath(name).parts:
            stem = _UIDS.sub("", part.rsplit(".", 1)[0] if "." in part[1:] else part)
            if CODE.fullmatch(stem):
                yield from self._words.known("file name", stem)
            else:
                yield from self._words.look("file name", stem.replace("_", " "), dates=self._dates)


def _is_webp_or_bitmap(data: bytes) -> bool:
    """Whether bytes are a picture of a kind whose first letters may begin a text, too."""
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or (data[:2] == b"BM" and data[6:10] == bytes(4) and len(data) > 54)
