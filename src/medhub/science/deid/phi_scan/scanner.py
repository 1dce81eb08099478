# SPDX-License-Identifier: Apache-2.0
"""PHI scan of files before they are exported: everything that identifies, or may identify, a person.

It shares no code and no rules with the de-identification: it does not know profiles and reads every byte, so that it
does not repeat an error of the de-identification. A person decides on its findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from medhub.science.deid.phi_scan import other_files
from medhub.science.deid.phi_scan.dicom_objects import MAX_BYTES_READ, DicomObjectScanner, scan_strings
from medhub.science.deid.phi_scan.findings import PhiFinding
from medhub.science.deid.phi_scan.image_scan import scan_photograph
from medhub.science.deid.phi_scan.phi_patterns import CODE, PhiPatterns

__all__ = ["PhiFinding", "PhiScanner"]

_MAX_FINDINGS = 1000  # of one file; a person needs no more to decide
_MAX_NESTING = 4  # archives within archives
_UIDS = re.compile(r"(?:2\.25\.|\b1\.2\.840\.)[\d.]+")
_IMAGE_SIGNATURES = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF87a", b"GIF89a"),
    b"\0\0\0\x0cjP  ",
)
_ARCHIVE_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")
_UNSUPPORTED_ARCHIVES = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_HEADER_BYTES = 64 * 1024  # of a file of unknown type, where its metadata are


class PhiScanner:
    """Scans files for personal data.

    Parameters
    ----------
    known
        Names and numbers of people that must not occur, from the vault or a list.
    read_pixels
        Whether text in images is read, which takes about a second per megapixel.
    dates
        Whether dates are findings in tables, texts and photographs, which cannot declare that theirs were shifted.

    Raises
    ------
    Unavailable
        By ``scan``, when images are to be read and the OCR library is missing.
    """

    def __init__(self, known: Iterable[str] = (), *, read_pixels: bool = True, dates: bool = True) -> None:
        self._patterns = PhiPatterns(known)
        self._pixels = read_pixels
        self._dates = dates

    def scan(self, name: str, data: bytes) -> list[PhiFinding]:
        """Scan a file.

        Parameters
        ----------
        name
            Its path within the export; names of folders are scanned too.
        data
            Its bytes.

        Returns
        -------
        list[PhiFinding]
            Without duplicates, at most a thousand.
        """
        findings: dict[PhiFinding, None] = {}
        for finding in self._scan_file(name, data, "", 0):
            findings[finding] = None
            if len(findings) >= _MAX_FINDINGS:
                break
        return list(findings)

    def _scan_file(self, name: str, data: bytes, location: str, depth: int) -> Iterator[PhiFinding]:
        yield from self._scan_name(name)
        at = location or "bytes of the file"
        yield from self._patterns.find_known_in_bytes(at, data)
        if data[128:132] == b"DICM" or (data[:2] in (b"\x02\0", b"\x08\0") and data[4:6].isalpha()):
            objects = DicomObjectScanner(
                self._patterns,
                read_pixels=self._pixels,
                scan_nested=lambda nested_location, inner: self._scan_nested(nested_location, "", inner, depth + 1),
            )
            yield from (
                PhiFinding(
                    f"{location}: {finding.location}" if location else finding.location, finding.kind, finding.excerpt
                )
                for finding in objects.scan(data)
            )
        else:
            yield from self._scan_other_file(name, data, at, depth)

    def _scan_nested(self, location: str, name: str, data: bytes, depth: int) -> Iterator[PhiFinding]:
        if depth > _MAX_NESTING:
            yield PhiFinding(location, "cannot be read whole", "archives lie too deep within one another")
        else:
            yield from self._scan_file(name, data, location, depth)

    def _scan_other_file(self, name: str, data: bytes, location: str, depth: int) -> Iterator[PhiFinding]:
        if data.startswith(_IMAGE_SIGNATURES) or _is_webp_or_bitmap(data):
            yield from scan_photograph(self._patterns, location, data, read_pixels=self._pixels, dates=self._dates)
        elif data.startswith(_ARCHIVE_SIGNATURES) or data[257:262] == b"ustar":
            yield from other_files.scan_archive(
                self._patterns,
                location if depth else "",
                data,
                lambda path, member, content: self._scan_nested(path, member or name[:-3], content, depth + 1),
            )
        elif data.startswith(_UNSUPPORTED_ARCHIVES) or (data[:3] == b"BZh" and data[4:10] == b"1AY&SY"):
            yield PhiFinding(location, "cannot be read whole", "an archive of an unsupported type")
        elif data[:4] == b"PAR1" and data[-4:] == b"PAR1":
            yield from other_files.scan_parquet(self._patterns, location, data, dates=self._dates)
        elif b"%PDF-" in data[:1024]:
            yield from other_files.scan_pdf(self._patterns, location, data, read_pixels=self._pixels, dates=self._dates)
            yield from scan_strings(self._patterns, location, data, all_runs=False, dates=self._dates)
        elif len(data) > MAX_BYTES_READ:
            yield from scan_strings(self._patterns, location, data, all_runs=False, dates=self._dates)
        elif (text := other_files.decode_text(data)) is not None:
            yield from other_files.scan_text(self._patterns, location, name, text, dates=self._dates)
        else:
            yield from scan_strings(self._patterns, location, data[:_HEADER_BYTES], all_runs=True, dates=self._dates)
            yield from scan_strings(self._patterns, location, data[_HEADER_BYTES:], all_runs=False, dates=self._dates)

    def _scan_name(self, name: str) -> Iterator[PhiFinding]:
        for part in PurePosixPath(name).parts:
            stem = _UIDS.sub("", part.rsplit(".", 1)[0] if "." in part[1:] else part)
            if CODE.fullmatch(stem):
                yield from self._patterns.find_known("file name", stem)
            else:
                yield from self._patterns.scan("file name", stem.replace("_", " "), dates=self._dates)


def _is_webp_or_bitmap(data: bytes) -> bool:
    """Whether bytes are a WebP or BMP image; a text may start with the same letters."""
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or (data[:2] == b"BM" and data[6:10] == bytes(4) and len(data) > 54)
