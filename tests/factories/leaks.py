# SPDX-License-Identifier: Apache-2.0
"""De-identified files, and leaks of many kinds to plant in exported files."""

from __future__ import annotations

import base64
import io
import json
import random
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from pydicom import DataElement, Dataset, Sequence
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.profile import find_profile
from medhub.science.deid.pseudonym import subject_of
from tests.factories.burned import write_line
from tests.factories.seeded import CT, encode_file
from tests.science.imaging.datasets import dataset_of, file_of

KEY = b"a key for tests only"
GIVEN = (
    *("Aisha", "Johannes", "Mei", "Carlos", "Olga", "Ravi", "Fatima", "Liam", "Ingrid", "Kwame", "Yuki", "Beatriz"),
    *("Ahmad", "Siobhan", "Dmitri", "Nurul", "Zanele", "Pierre", "Agnieszka", "Tomasz"),
)
FAMILY = (
    *("Rahman", "Brandstetter", "Tanaka", "Villanueva", "Kowalska", "Subramaniam", "Haddad", "Connor", "Okonkwo"),
    *("Lindqvist", "Nakamura", "Petrescu", "Abdullah", "Vasquez", "Wojcik", "Mbeki", "Delacroix", "Stephanopoulos"),
    *("Ferreira", "Chaudhry"),
)
ACCENTED = (("Müller", "Mueller"), ("García", "Garcia"), ("Nguyễn", "Nguyen"), ("Šimůnek", "Simunek"))
NAME = "P-ABCDEFGH.dcm"


@dataclass(frozen=True)
class Leak:
    """An exported file with planted personal data.

    Attributes
    ----------
    name
        Its path.
    data
        Its bytes.
    known
        What the one who looks knows of people; without it, the leak must be seen for what it is.
    """

    name: str
    data: bytes
    known: tuple[str, ...] = ()


def make_cleaned_dataset(profile: str = "basic") -> Dataset:
    """Make a de-identified dataset with the usual attributes."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Doe^Jane", "4711", "20240110"
    dataset.Manufacturer, dataset.SoftwareVersions = "Instrument, Inc.", "2.6.3.6"
    dataset.SeriesDescription = "Chest 5mm B70f 1.25"
    dataset.SliceLocation, dataset.KVP = "-77.2040634155", "120"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "85756007", "SCT", "Body tissue structure"
    dataset.AnatomicRegionSequence = Sequence([code])
    wanted = find_profile(profile)
    return deidentify(dataset, wanted, subject_of(KEY, "4711", "", wanted.dates)).dataset


def _nested(dataset: Dataset, value: str) -> None:
    for _ in range(3):
        outer, item = Dataset(), Dataset()
        item.add(DataElement(0x00081030, "LO", value[:64]))
        outer.ReferencedInstanceSequence = Sequence([item])
        item.ReferencedInstanceSequence = dataset.get("ReferencedInstanceSequence", Sequence([Dataset()]))
        dataset.ReferencedInstanceSequence = Sequence([item])


def _text(dataset: Dataset, value: str) -> None:
    dataset.ImageComments = value


def _bytes(dataset: Dataset, value: bytes) -> None:
    dataset.add(DataElement(0x00189445, "OB", value))


def _digits(chance: random.Random, *lengths: int) -> list[str]:
    """Draw a number with this many digits that does not start with 0."""
    return [str(chance.randint(10 ** (length - 1), 10**length - 1)) for length in lengths]


def _day(chance: random.Random) -> tuple[str, str, str]:
    return f"20{chance.randint(10, 24)}", f"{chance.randint(1, 12):02d}", f"{chance.randint(1, 28):02d}"


def _report(dataset: Dataset, value: str) -> None:
    """Put a text into the content of a structured report, at the third level."""
    item = Dataset()
    item.ValueType, item.RelationshipType, item.TextValue = "TEXT", "CONTAINS", value
    for _ in range(2):
        around = Dataset()
        around.ValueType, around.ContentSequence = "CONTAINER", Sequence([item])
        item = around
    dataset.ContentSequence = Sequence([item])


def _observer(dataset: Dataset, name: str) -> None:
    _report(dataset, "no finding")
    dataset.ContentSequence[0].ContentSequence[0].PersonName = name


def _private(dataset: Dataset, value: str) -> None:
    item = Dataset()
    item.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", value)
    dataset.ReferencedInstanceSequence = Sequence([item])


def _overlay(dataset: Dataset) -> None:
    dataset.add(DataElement(0x60000010, "US", 16))
    dataset.add(DataElement(0x60000011, "US", 16))
    dataset.add(DataElement(0x60003000, "OW", b"\x18" * 32))


Plant = Callable[[Dataset, random.Random, str, str], None]

# Leaks into the header of a de-identified object. "known" in a name: the scanner knows the person.
_HEADER: dict[str, Plant] = {
    "name attribute": lambda d, r, g, f: setattr(d, "OperatorsName", f"{f}^{g}"),
    "name with title": lambda d, r, g, f: _text(d, f"reviewed with Dr. {f} again"),
    "name with caret": lambda d, r, g, f: _text(d, f"scan of {f}^{g} repeated"),
    "name with comma": lambda d, r, g, f: _text(d, f"{f}, {g}"),
    "known name in a sentence": lambda d, r, g, f: _text(d, f"as {g.lower()} moved, repeated"),
    "known name, nested": lambda d, r, g, f: _nested(d, f"chest {f.upper()} lung"),
    "known name, backwards": lambda d, r, g, f: _text(d, f"ref {f[::-1].lower()} b"),
    "known name as digits": lambda d, r, g, f: _text(d, f"tag {f.encode().hex()}"),
    "known name in base64 text": lambda d, r, g, f: _text(d, base64.b64encode(f"{f} {g} scanned".encode()).decode()),
    "date in text": lambda d, r, g, f: _text(d, "compared with {2}/{1}/{0}".format(*_day(r))),
    "date in words": lambda d, r, g, f: _text(d, "surgery {2} March {0}".format(*_day(r))),
    "date attribute": lambda d, r, g, f: setattr(d, "AcquisitionDate", "".join(_day(r))),
    "e-mail": lambda d, r, g, f: _text(d, f"send to {g}.{f}@clinic-{r.randint(1, 99)}.example.org".lower()),
    "telephone": lambda d, r, g, f: _text(d, "call " + "-".join(_digits(r, 3, 3, 4))),
    "address": lambda d, r, g, f: _text(d, f"{r.randint(1, 999)} {r.choice(('Maple', 'Oak', 'Hill'))} Street"),
    "long number": lambda d, r, g, f: _text(d, f"ref {r.randint(10**7, 10**9)}"),
    "labeled number": lambda d, r, g, f: _text(d, f"MRN: {r.choice('ABC')}{r.randint(100, 999)}"),
    "social security number": lambda d, r, g, f: _text(d, "-".join(_digits(r, 3, 2, 4))),
    "address of a machine": lambda d, r, g, f: _text(d, f"from 10.{'.'.join(_digits(r, 2, 2, 2))}"),
    "UID": lambda d, r, g, f: setattr(d, "FrameOfReferenceUID", f"1.3.12.2.{'.'.join(_digits(r, 4, 4))}"),
    "private element": lambda d, r, g, f: d.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", f"{g}"),
    "private element, nested": lambda d, r, g, f: _private(d, f"{g}"),
    "overlay": lambda d, r, g, f: _overlay(d),
    "text of a report": lambda d, r, g, f: _report(d, f"Discussed with Dr. {f} on {'-'.join(_day(r))}"),
    "observer of a report": lambda d, r, g, f: _observer(d, f"{f}^{g}"),
    "UTF-16 in bytes, known": lambda d, r, g, f: _bytes(d, f"Author {g} {f}  ".encode("utf-16-le")),
    "base64 in bytes, known": lambda d, r, g, f: _bytes(d, base64.b64encode(f"patient {f} {g} scan".encode()) + b"  "),
    "compressed in a document, known": lambda d, r, g, f: _bytes(
        d, b"%PDF-1.4\nstream\n" + zlib.compress(f"({g} {f}) Tj".encode()) + b"\nendstream\n"
    ),
}


def _in_header(kind: str, plant: Plant) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        dataset = make_cleaned_dataset()
        plant(dataset, chance, given, family)
        return Leak(NAME, encode_file(dataset), (f"{family}^{given}",) if "known" in kind else ())

    return make


def _accented(chance: random.Random, given: str, family: str) -> Leak:
    name, form = chance.choice(ACCENTED)
    dataset = make_cleaned_dataset()
    _text(dataset, f"{form.lower()} moved")
    return Leak(NAME, encode_file(dataset), (f"{name}^{given}",))


def _named(form: str, *, known: bool = True) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        name = form.format(given=given, family=family, day="".join(_day(chance)), number=_digits(chance, 8)[0])
        return Leak(name, encode_file(make_cleaned_dataset()), (f"{family}^{given}",) if known else ())

    return make


def _leak_in_metadata(block: str) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        data = encode_file(make_cleaned_dataset())
        if block == "preamble":
            return Leak(NAME, f"{family} {given}".encode().ljust(128, b"\0") + data[128:])
        return Leak(NAME, data + f"{family.upper()} {given}\0".encode(), (f"{family}^{given}",))

    return make


def _zipped(where: str) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        buffer = io.BytesIO()
        inner = make_cleaned_dataset()
        if where == "inside":
            inner.PatientComments = f"for Dr. {family}"
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("P-ABCDEFGH/1.dcm" if where != "name" else f"{family}_{given}/1.dcm", encode_file(inner))
            if where == "comment":
                file.comment = f"exported for {given} {family}".encode()
        return Leak("export.zip", buffer.getvalue(), (f"{family}^{given}",) if where != "inside" else ())

    return make


def tissue(chance: random.Random, rows: int = 320, columns: int = 420) -> NDArray[np.float64]:
    """A gray image (0..255) with shapes like tissue, and no text."""
    random_ = np.random.default_rng(chance.getrandbits(32))
    y, x = np.mgrid[0:rows, 0:columns]
    soft = sum(np.sin(x / random_.uniform(15, 60) + y / random_.uniform(15, 60) + n) for n in range(4))
    away = np.hypot((x - columns / 2) / (0.4 * columns), (y - rows / 2) / (0.4 * rows))
    return np.asarray(np.where(away < 1, 90 + 18 * soft, 8) + random_.normal(0, 3, (rows, columns)))


def _burned(text: str, chance: random.Random, level: float = 245) -> NDArray[np.uint8]:
    values = tissue(chance)
    size = chance.randint(13, 26)
    at = chance.randint(2, 40), chance.choice((4, values.shape[0] - size - 8))
    write_line(values, text, at, size, level)
    return np.clip(values, 0, 255).astype(np.uint8)


def _written_text(chance: random.Random, given: str, family: str) -> str:
    """Text of a console with the identity of a person."""
    year, month, day = _day(chance)
    forms = (f"{family}, {given}", f"DOB {year}-{month}-{day}", f"{day}.{month}.{year}", f"ID {_digits(chance, 8)[0]}")
    return chance.choice(forms)


def _picture(pixels: NDArray[np.uint8], frames: int | None = None) -> Dataset:
    dataset = make_cleaned_dataset()
    for element in dataset_of(pixels, frames=frames):
        if element.tag.group in (0x0028, 0x7FE0):
            dataset.add(element)
    return dataset


def _pixels(kind: str) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        known = (f"{family}^{given}",) if kind == "known" else ()
        text = f"{given} {family}" if known else _written_text(chance, given, family)
        picture = _burned(text, chance)
        if kind == "frames":
            plain = [np.clip(tissue(chance), 0, 255).astype(np.uint8) for _ in range(3)]
            plain.insert(chance.randint(1, 3), picture)
            dataset = _picture(np.stack(plain), 4)
        elif kind == "dim":
            values = np.zeros((320, 420))
            write_line(values, text, (20, 30), chance.randint(16, 26), chance.randint(14, 40))
            dataset = _picture(values.astype(np.uint8))
        elif kind == "icon":
            dataset = make_cleaned_dataset()
            icon = Dataset()
            icon.update({e.tag: e for e in _picture(picture) if e.tag.group in (0x0028, 0x7FE0)})
            dataset.IconImageSequence = Sequence([icon])
        elif kind == "compressed":
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=88)
            dataset = _picture(picture)
            dataset.PixelData = encapsulate([buffer.getvalue()])
            return Leak(NAME, file_of(dataset, JPEGBaseline8Bit), known)
        else:
            dataset = _picture(picture)
        return Leak(NAME, encode_file(dataset), known)

    return make


def _photograph(kind: str) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        buffer = io.BytesIO()
        exif = Image.Exif()
        if kind == "pixels":
            Image.fromarray(_burned(_written_text(chance, given, family), chance)).convert("RGB").save(buffer, "PNG")
            return Leak("P-ABCDEFGH.png", buffer.getvalue())
        image = Image.fromarray(np.clip(tissue(chance), 0, 255).astype(np.uint8)).convert("RGB")
        if kind == "text":
            info = PngImagePlugin.PngInfo()
            info.add_text("Description", f"{family}, {given}")
            image.save(buffer, "PNG", pnginfo=info)
            return Leak("P-ABCDEFGH.png", buffer.getvalue())
        if kind == "GPS":
            exif[0x8825] = {1: "N", 2: (3.0, 8.0, chance.random() * 60), 3: "E", 4: (101.0, 41.0, 12.5)}
        else:
            exif[0x013B] = f"{given} {family}"  # Artist
        if kind == "TIFF":
            image.save(buffer, "TIFF", tiffinfo={0x010E: f"smear of {given} {family}"})
            return Leak("P-ABCDEFGH.tif", buffer.getvalue(), (f"{family}^{given}",))
        image.save(buffer, "JPEG", exif=exif)
        if kind == "embedded":
            dataset = make_cleaned_dataset()
            for element in dataset_of(np.asarray(image)):
                if element.tag.group in (0x0028, 0x7FE0):
                    dataset.add(element)
            dataset.PhotometricInterpretation = "YBR_FULL_422"
            dataset.PixelData = encapsulate([buffer.getvalue()])
            return Leak(NAME, file_of(dataset, JPEGBaseline8Bit))
        return Leak("P-ABCDEFGH.jpg", buffer.getvalue())

    return make


def pdf(*lines: str) -> bytes:
    """A PDF of one page whose words are split for kerning, as writers do."""
    shown = "".join(
        f"1 0 0 1 72 {700 - 20 * number} Tm [{' -20 '.join(f'({word})' for word in line)}] TJ\n"
        for number, line in enumerate(lines)
    )
    stream = zlib.compress(f"BT /F1 12 Tf\n{shown}ET".encode())
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 5 0 R>>>>/Contents 4 0 R>>",
        b"<</Length %d/Filter/FlateDecode>>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj" % number + content + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        out
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    )


def _document(*, encapsulated: bool) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        data = pdf("Report", f"Patient: {family}", "no finding")
        if not encapsulated:
            return Leak("report.pdf", data)
        dataset = make_cleaned_dataset()
        dataset.add(DataElement(0x00420011, "OB", data + b"\0" * (len(data) % 2)))
        return Leak(NAME, encode_file(dataset))

    return make


def _table(kind: str) -> Callable[[random.Random, str, str], Leak]:
    def make(chance: random.Random, given: str, family: str) -> Leak:
        if kind == "csv":
            return Leak("labels.csv", f"image,label,patient_name\n1.png,Benign,{family}\n".encode())
        if kind == "json":
            note = {"birth_date": "", "patient_name": family}
            return Leak("data.json", json.dumps({"format": 1, "images": [{"file": "1.png", "note": note}]}).encode())
        return Leak("readme.txt", f"reads of Mrs. {family}, {given}".encode("utf-16"))

    return make


def _sender(chance: random.Random, given: str, family: str) -> Leak:
    dataset = make_cleaned_dataset()
    encode_file(dataset)
    dataset.file_meta.SourceApplicationEntityTitle = f"CT_{family[:8].upper()}"
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return Leak(NAME, out.getvalue())


KINDS: dict[str, Callable[[random.Random, str, str], Leak]] = {
    **{kind: _in_header(kind, plant) for kind, plant in _HEADER.items()},
    "name without its accents": _accented,
    "file name": _named("P-ABCDEFGH/{family}_{given}.dcm"),
    "folder name": _named("export {given}-{family}/P-ABCDEFGH.dcm"),
    "file name with a day": _named("P-ABCDEFGH/CT_{day}.dcm", known=False),
    "file name with a number": _named("{number}/P-ABCDEFGH.dcm", known=False),
    "preamble": _leak_in_metadata("preamble"),
    "after the data": _leak_in_metadata("after"),
    "sender in the file meta information": _sender,
    "comment of a ZIP": _zipped("comment"),
    "name within a ZIP": _zipped("name"),
    "object within a ZIP": _zipped("inside"),
    "pixels, known name": _pixels("known"),
    "pixels": _pixels("plain"),
    "pixels, one of four frames": _pixels("frames"),
    "pixels, compressed": _pixels("compressed"),
    "pixels, dim": _pixels("dim"),
    "pixels of an icon": _pixels("icon"),
    "pixels of a photograph": _photograph("pixels"),
    "EXIF of a photograph": _photograph("EXIF"),
    "place of a photograph": _photograph("GPS"),
    "EXIF of an embedded JPEG": _photograph("embedded"),
    "text of a PNG": _photograph("text"),
    "description of a TIFF": _photograph("TIFF"),
    "encapsulated PDF": _document(encapsulated=True),
    "PDF": _document(encapsulated=False),
    "column of a CSV": _table("csv"),
    "value of a JSON": _table("json"),
    "text in UTF-16": _table("txt"),
}
