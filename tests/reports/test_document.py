# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from medhub.errors import Invalid
from medhub.reports.document import (
    RECORD_NAME,
    PatientIdentity,
    Person,
    ReportEvent,
    ReportFacts,
    Superseded,
    facts_digest,
    facts_record,
    render,
)
from medhub.reports.facts import canonical_json
from medhub.reports.report_images import jpeg
from medhub.reports.typography import FONTS, is_right_to_left, printable, printable_text, shorten_text

FactsMaker = Callable[..., ReportFacts]

NAMES = {
    "Malay": "Nur Aisyah binti Mohd. Ḥusain",
    "Tamil": "முத்துசாமி கிருஷ்ணன்",
    "Chinese": "王小明喆堃",
    "Arabic": "محمد بن عبد الله",
    "Devanagari": "प्रिया शर्मा",
    "Cyrillic": "Ольга Иванова",
    "Vietnamese": "Nguyễn Thị Ánh",
}
HOSTILE = [
    '#import "x.typ": *',
    "*bold* _italic_ $x^2$ `raw` <label> @reference",
    '#panic("stop") #read("/etc/passwd") ]}) \\ // comment /* more */',
    "\"double\" 'single' {{braces}} = heading\n- list\n+ item",
]

needs_poppler = pytest.mark.skipif(
    shutil.which("pdftotext") is None and not os.environ.get("MEDHUB_TEST_STRICT"),
    reason="pdftotext (poppler-utils) is not installed",
)


def reader(pdf: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(pdf))


def words(pdf: bytes) -> str:
    """All text as pypdf reads it, with the chances to break inside long words taken out."""
    return "\n".join(page.extract_text() for page in reader(pdf).pages).replace("\u200b", "")


def poppler_words(pdf: bytes) -> str:
    done = subprocess.run(["pdftotext", "-", "-"], input=pdf, capture_output=True, check=True, timeout=60)
    text = done.stdout.decode()
    for sign in "\u200b\u202a\u202b\u202c\u2066\u2067\u2068\u2069":
        text = text.replace(sign, "")
    return text


def everything(pdf: bytes) -> bytes:
    """The raw bytes, and every stream of the file without its compression."""
    parts = [pdf]
    for match in re.finditer(rb"stream\r?\n", pdf):
        try:
            parts.append(zlib.decompressobj().decompress(pdf[match.end() :]))
        except zlib.error:
            continue
    return b"\n".join(parts)


def structure(pdf: bytes) -> Iterator[DictionaryObject]:
    """Every element of the structure tree."""
    root = reader(pdf).trailer["/Root"]
    assert isinstance(root, DictionaryObject)
    waiting: list[Any] = [root["/StructTreeRoot"]]
    while waiting:
        element = waiting.pop().get_object()
        if isinstance(element, DictionaryObject):
            if "/S" in element:
                yield element
            below = element.get("/K")
            below = below.get_object() if below is not None else []
            waiting += below if isinstance(below, list) else [below]


@needs_poppler
@pytest.mark.parametrize("script", NAMES)
def test_names_come_out_right_in_every_script_that_people_here_write(make_facts: FactsMaker, script: str) -> None:
    name = NAMES[script]
    pdf = render(
        make_facts(1, identity=PatientIdentity(name), signed_by=Person(name, "physician"), each={"verdict_by": name})
    )
    # As the patient, as the reader of the image, in the notice and in the history.
    assert poppler_words(pdf).count(name) >= 4
    assert "\ufffd" not in poppler_words(pdf)


def test_a_second_reader_finds_malay_chinese_and_arabic_too(make_facts: FactsMaker) -> None:
    text = words(render(make_facts(1, project=NAMES["Malay"], institution=NAMES["Chinese"])))
    assert NAMES["Malay"] in text
    assert NAMES["Chinese"] in text
    assert "محمد" in words(render(make_facts(1, project="محمد")))


def test_it_is_tagged_titled_in_english_and_says_which_standards_it_meets(make_facts: FactsMaker) -> None:
    pdf = render(make_facts())
    catalog = reader(pdf).trailer["/Root"]
    assert isinstance(catalog, DictionaryObject)
    mark_info, preferences = catalog["/MarkInfo"], catalog["/ViewerPreferences"]
    assert isinstance(mark_info, DictionaryObject)
    assert isinstance(preferences, DictionaryObject)
    assert mark_info["/Marked"]
    assert catalog["/StructTreeRoot"]
    assert str(catalog["/Lang"]) == "en"
    assert preferences["/DisplayDocTitle"]
    metadata = reader(pdf).metadata
    assert metadata is not None
    assert metadata.title == "Blood smear review: report, case C-2026-0042, version 1"
    assert b"<pdfaid:part>3</pdfaid:part><pdfaid:conformance>A</pdfaid:conformance>" in pdf
    assert b"<pdfuaid:part>1</pdfuaid:part>" in pdf
    kinds = {str(element["/S"]) for element in structure(pdf)}
    assert {"/H1", "/H2", "/H3", "/Table", "/TH", "/Figure"} <= kinds


def test_every_picture_has_words_for_those_who_cannot_see_it(make_facts: FactsMaker) -> None:
    pdf = render(make_facts(3))
    alternatives = sorted(str(element["/Alt"]) for element in structure(pdf) if str(element["/S"]) == "/Figure")
    assert len(alternatives) == 6
    assert alternatives[0] == "Image 1 of 3 as it was read, 360 × 363 px."
    assert alternatives[1] == "Image 1 with the evidence map over it: what the classifier looked at, not a diagnosis."


def test_each_page_has_its_number_and_the_digests_stand_once_at_the_end(make_facts: FactsMaker) -> None:
    facts = make_facts(20)
    pages = reader(render(facts)).pages
    digest = facts_digest(facts_record(facts))
    grouped = " ".join(digest[start : start + 8] for start in range(0, 64, 8))
    assert len(pages) > 3
    for number, page in enumerate(pages, 1):
        text = page.extract_text()
        assert f"Page {number} of {len(pages)}" in text
    text = " ".join(" ".join(page.extract_text().split()) for page in pages)
    assert text.count(grouped) == 1
    technical = text.index("How it was made, and how to check it")
    assert text.index(grouped) > technical
    assert "digest" not in text[:technical]
    assert f"Image 20 digest {facts.images[19].image_digest[:8]}" in text


def test_the_record_lies_inside_and_leads_to_image_classifier_and_people(make_facts: FactsMaker) -> None:
    facts = make_facts(2)
    attached = reader(render(facts)).attachments[RECORD_NAME][0]
    record = json.loads(attached)
    assert attached == canonical_json(facts_record(facts))
    assert hashlib.sha256(attached).hexdigest() == facts_digest(record)
    assert record["images"][0]["image_digest"] == facts.images[0].image_digest
    assert record["images"][0]["verdict"]["who"] == {"name": "Aminah binti Yusof", "role": "physician"}
    assert record["classifier"]["digest"] == facts.classifier_digest
    assert record["pathway"]["digest"] == facts.pathway_digest
    assert record["signed"] == {
        "at": "2026-11-20T13:00:00.000Z",
        "who": {"name": "Aminah binti Yusof", "role": "physician"},
    }


def test_the_record_is_the_same_with_identity_and_without(make_facts: FactsMaker) -> None:
    named = make_facts()
    assert facts_record(named) == facts_record(replace(named, identity=None))
    assert b"Siti" not in canonical_json(facts_record(named))


def test_the_copy_without_identity_holds_none_of_it_anywhere(make_facts: FactsMaker) -> None:
    identity = PatientIdentity("Zaharah Quintessa", "MRN-998877", "1980-03-21", (("Phone", "+60 12 345 6789"),))
    named, plain = render(make_facts(identity=identity)), render(make_facts(identity=None))
    for secret in ("Zaharah", "Quintessa", "MRN-998877", "21 Mar 1980", "345 6789"):
        assert secret in words(named)
        assert secret not in words(plain)
        for coded in (secret.encode(), secret.encode("utf-16-be"), secret.encode().hex().encode()):
            assert coded not in everything(plain)
    assert "named by code only" in words(plain)
    assert "P-7F3K" in words(plain)


def test_the_same_facts_give_the_same_bytes_even_in_another_process(make_facts: FactsMaker, tmp_path: Path) -> None:
    facts = make_facts(3)
    script = (
        "import hashlib, runpy, sys; from medhub.reports.document import render;"
        "facts = runpy.run_path(sys.argv[1])['build_facts'](3);"
        "print(hashlib.sha256(render(facts)).hexdigest())"
    )
    maker = Path(__file__).with_name("conftest.py")
    done = subprocess.run([sys.executable, "-c", script, str(maker)], capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout.decode().strip() == hashlib.sha256(render(facts)).hexdigest()
    assert render(facts) != render(replace(facts, case_id="C-2026-0043"))


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_a_note_or_a_name_is_printed_and_not_obeyed(make_facts: FactsMaker, text: str) -> None:
    facts = make_facts(
        1,
        project=text,
        fields=((text, text),),
        identity=PatientIdentity(text),
        signed_by=Person(text, text),
        each={"verdict_note": text, "verdict_label": text, "verdict_by": text, "uncertain_reason": text},
    )
    shown = " ".join(words(render(facts)).split())
    assert shown.count(text.split("\n")[0].split("[")[0][:20]) >= 3


def test_a_note_of_5000_signs_is_printed_whole_and_stays_on_the_page(make_facts: FactsMaker) -> None:
    sentence = "Cytoplasm pale, nucleus lobed. "
    long = "".join(f"{number:04d} {sentence}" for number in range(140))
    pdf = render(make_facts(2, each={"verdict_note": long}))
    text = words(pdf)
    for number in (0, 70, 139):
        assert text.count(f"{number:04d} Cyto") >= 2
    assert "Notes in full" in text


@needs_poppler
def test_a_word_without_end_wraps_inside_the_page(make_facts: FactsMaker) -> None:
    pdf = render(make_facts(1, identity=None, fields=(("Field", "W" * 3000),), each={"verdict_note": "M" * 3000}))
    boxes = subprocess.run(["pdftotext", "-bbox", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()
    rights = [float(x) for x in re.findall(r'xMax="([0-9.]+)"', boxes)]
    assert len(rights) > 100
    assert max(rights) < 595.28 - 50
    assert words(pdf).replace("\n", "").count("W") >= 3000


def test_control_signs_and_unknown_letters_become_a_visible_mark(make_facts: FactsMaker) -> None:
    assert printable_text("a\x00b\x1b[0m\ud800\U000f0000c") == "a\ufffdb\ufffd[0m\ufffd\ufffdc"
    assert printable_text("\u202eevil\u202c") == "evil"
    facts = make_facts(1, each={"verdict_note": "a\x00b\ud800 \U0001f600 \u202ec"})
    assert "a\ufffdb\ufffd [U+1F600] c" in words(render(facts))
    assert (
        json.loads(canonical_json(facts_record(facts)))["images"][0]["verdict"]["note"]
        == "a\x00b\ud800 \U0001f600 \u202ec"
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=120))
def test_whatever_people_write_there_is_a_report(make_facts: FactsMaker, text: str) -> None:
    facts = make_facts(
        1,
        case_id=text,
        project=text,
        fields=((text, text),),
        identity=PatientIdentity(text, text, text),
        signed_by=Person(text, text),
        each={"verdict_note": text, "verdict_label": text, "classifier_label": text},
    )
    assert render(facts).startswith(b"%PDF-1.7")


def test_the_conclusion_is_the_first_text_of_the_report_and_part_of_the_record(make_facts: FactsMaker) -> None:
    conclusion = "Eosinophilia.\n\nRepeat in four weeks."
    facts = make_facts(2, conclusion=conclusion)
    text = reader(render(facts)).pages[0].extract_text()
    assert text.index("Conclusion") < text.index("Eosinophilia.") < text.index("Repeat in four weeks.")
    assert text.index("Repeat in four weeks.") < min(text.index("2 images read"), text.index("Patient"))
    assert facts_record(facts)["conclusion"] == conclusion
    without = make_facts(2)
    assert "Conclusion" not in words(render(without))
    assert "conclusion" not in facts_record(without)


def test_a_conclusion_of_4000_characters_is_printed_in_full(make_facts: FactsMaker) -> None:
    conclusion = "".join(f"{number:04d} pale cytoplasm\n" for number in range(190))
    text = words(render(make_facts(1, conclusion=conclusion)))
    assert all(f"{number:04d} pale" in text for number in range(190))


def test_a_signature_is_one_entry_of_the_history(make_facts: FactsMaker) -> None:
    facts = make_facts(1)
    signed = ReportEvent(facts.signed_at, facts.signed_by, "signed")
    assert words(render(facts)).count("Signed the case") == 1
    assert words(render(replace(facts, history=(*facts.history, signed)))).count("Signed the case") == 1


@pytest.mark.parametrize(
    ("changes", "printed", "hidden"),
    [
        ({"sex": "M"}, "Sex Male", "Sex M "),
        ({"sex": "F"}, "Sex Female", "Sex F "),
        ({"sex": "O"}, "Sex Other", "Sex O "),
        ({"sex": "U"}, "Sex not stated", "Sex U"),
        ({"sex": None}, "Sex not stated", "None"),
        ({"institution": None}, "Hematology Version 1", "Hospital Contoh"),
    ],
)
def test_facts_are_printed_in_words_under_a_letterhead(
    make_facts: FactsMaker, changes: dict[str, Any], printed: str, hidden: str
) -> None:
    text = words(render(make_facts(1, **changes)))
    assert printed in text
    assert hidden not in text


@pytest.mark.parametrize(
    ("action", "printed"),
    [
        ("opened", "Opened the case"),
        ("correction opened", "Opened the correction"),
        ("verdict taken back", "Took a verdict back"),
        ("looked at twice", "Looked at twice"),
    ],
)
def test_the_history_names_acts_in_words(make_facts: FactsMaker, action: str, printed: str) -> None:
    facts = make_facts(1)
    event = ReportEvent(facts.signed_at, Person("Tan Wei Ling", "technologist"), action)
    assert f"technologist {printed}" in words(render(replace(facts, history=(event,))))


def test_there_is_a_block_for_the_signature_and_one_more_label_is_one_label(make_facts: FactsMaker) -> None:
    facts = make_facts(9)
    images = tuple(replace(image, verdict_label=f"label {image.number}") for image in facts.images)
    text = " ".join(words(render(replace(facts, images=images))).split())
    assert "and 1 more label." in text
    assert "Signature Aminah binti Yusof, physician" in text
    assert "Signature on a printed copy, date" in text


@pytest.mark.parametrize("count", [1, 2, 12])
def test_the_first_images_stand_on_the_first_page(make_facts: FactsMaker, count: int) -> None:
    assert "Image 1 360" in " ".join(reader(render(make_facts(count))).pages[0].extract_text().split())


def test_uncertain_is_said_in_words(make_facts: FactsMaker) -> None:
    each = {"uncertain": True, "confidence": 0.61, "probabilities": {"neutrophil": 0.61, "ig": 0.39}, "agrees": True}
    text = words(render(make_facts(1, each=each)))
    assert "Uncertain. Below the threshold: 0.61 of 0.75." in text
    assert "The classifier was uncertain; the reader decided." in text
    assert "Uncertain in 1" in text


def test_the_summary_states_why_each_image_is_uncertain(make_facts: FactsMaker) -> None:
    facts = make_facts(4, each={"uncertain": True})
    low, unlike, equal, other = facts.images
    images = (
        replace(low, confidence=0.749),
        replace(unlike, confidence=0.99, novel=True),
        replace(equal, confidence=0.6, novel=True),
        replace(other, confidence=0.98, uncertain_reason="This classifier is not accepted at this site."),
    )
    facts = replace(facts, images=images)
    text = " ".join(words(render(facts)).split())
    assert "Uncertain in 4" in text
    assert "below the threshold in 1 (image 1)" in text
    assert "unlike the training images in 2 (images 2, 3)" in text
    assert "for another reason in 1 (image 4)" in text
    assert "Below the threshold: 0.74 of 0.75." in text
    assert text.count("Unlike the training images of the classifier.") == 2
    assert "This classifier is not accepted at this site." in text


def test_a_verdict_against_the_classifier_is_said_plainly(make_facts: FactsMaker) -> None:
    text = " ".join(words(render(make_facts(2, each={"verdict_label": "monocyte", "agrees": False}))).split())
    assert "Differs from the classifier, which said neutrophil (0.93)." in text
    assert "The verdict differs in 2 (images 1, 2)" in text


def test_labels_are_printed_by_their_names_and_recorded_by_their_codes(make_facts: FactsMaker) -> None:
    facts = make_facts(1, each={"verdict_label": "ig"}, display_names={"ig": "Immature granulocyte"})
    text = words(render(facts))
    assert "Immature granulocyte" in text
    assert "neutrophil" in text
    assert facts_record(facts)["images"][0]["verdict"]["label"] == "ig"
    assert facts_record(facts) == facts_record(make_facts(1, each={"verdict_label": "ig"}))


def test_an_image_that_no_classifier_read_is_reported_too(make_facts: FactsMaker) -> None:
    each: dict[str, Any] = {
        "classifier_label": None,
        "confidence": None,
        "threshold": None,
        "probabilities": {},
        "evidence": None,
    }
    facts = make_facts(2, each=each, classifier_name=None, classifier_version=None, classifier_digest=None)
    text = words(render(facts))
    assert "No image was classified by software." in text
    assert "No classifier was used." in text
    assert facts_record(facts)["images"][0]["prediction"] is None


def test_it_says_that_software_helped_and_that_people_decided(make_facts: FactsMaker) -> None:
    text = " ".join(words(render(make_facts(3))).split())
    assert "Made with artificial intelligence, decided by people." in text
    assert "smear-cells 1.2.3 proposed a label" in text
    assert "read by a person: Aminah binti Yusof, physician (3 images)" in text
    assert "signed by Aminah binti Yusof, physician, on 20 Nov 2026, 13:00 UTC" in text
    assert "not a medical device" in text


def test_a_correction_names_the_report_that_it_replaces(make_facts: FactsMaker) -> None:
    old = make_facts()
    digest = facts_digest(facts_record(old))
    new = make_facts(version=2, supersedes=Superseded(1, digest, "Image 2 was read again.", old.issued_at))
    text = " ".join(words(render(new)).split())
    assert "Correction: this report replaces version 1." in text
    assert "issued on 20 Nov 2026, 13:00 UTC and must no longer be used" in text
    assert "Image 2 was read again." in text
    assert digest[:8] + " " + digest[8:16] in text
    assert facts_record(new)["supersedes"]["facts_digest"] == digest


def test_times_are_printed_in_the_zone_of_the_project_and_recorded_in_utc(make_facts: FactsMaker) -> None:
    facts = make_facts(1, time_zone="Asia/Kuala_Lumpur")
    assert "20 Nov 2026, 21:00 +08" in words(render(facts))
    assert facts_record(facts)["signed"]["at"] == "2026-11-20T13:00:00.000Z"
    naive = replace(facts, signed_at=facts.signed_at.replace(tzinfo=None))
    assert facts_record(naive)["signed"]["at"] == "2026-11-20T13:00:00.000Z"


def test_twenty_images_stay_a_small_file(make_facts: FactsMaker) -> None:
    noise = Image.effect_noise((1600, 1200), 60).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "JPEG", quality=95)
    assert len(out.getvalue()) > 500_000
    pdf = render(make_facts(20, each={"picture": out.getvalue(), "evidence": out.getvalue()}))
    assert len(pdf) < 3_000_000


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_pictures_of_the_usual_kinds_are_taken(make_facts: FactsMaker, kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(out, kind)
    assert render(make_facts(1, each={"picture": out.getvalue(), "evidence": None})).startswith(b"%PDF")


def test_a_plain_jpeg_is_kept_and_one_with_metadata_is_stripped() -> None:
    image = Image.new("RGB", (64, 48), "teal")
    plain, marked = io.BytesIO(), io.BytesIO()
    image.save(plain, "JPEG")
    exif = Image.Exif()
    exif[0x010E] = "Siti Rahmah"
    image.save(marked, "JPEG", exif=exif, comment=b"Siti Rahmah")
    assert jpeg(plain.getvalue(), 480) == (plain.getvalue(), 64, 48)
    assert b"Siti" in marked.getvalue()
    assert b"Siti" not in jpeg(marked.getvalue(), 480)[0]
    large = io.BytesIO()
    Image.new("RGBA", (2000, 1000), (0, 0, 0, 0)).save(large, "PNG")
    stripped, width, height = jpeg(large.getvalue(), 480)
    assert (width, height) == (480, 240)
    assert Image.open(io.BytesIO(stripped)).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("bad", [b"", b"not a picture", b"\xff\xd8\xff\xe0 cut", b"GIF89a" + bytes(40)])
def test_a_picture_that_is_none_is_refused_in_words(make_facts: FactsMaker, bad: bytes) -> None:
    with pytest.raises(Invalid, match="could not be read as JPEG, PNG or WebP"):
        render(make_facts(1, each={"picture": bad}))


def test_the_fonts_are_few_enough_to_ship_and_hold_what_names_need() -> None:
    assert sum(path.stat().st_size for path in FONTS.iterdir()) < 9_000_000
    assert {ord(sign) for name in NAMES.values() for sign in name} <= printable()
    assert set(range(0x4E00, 0x9FD0)) <= printable()
    assert "SIL OPEN FONT LICENSE" in (FONTS / "OFL.txt").read_text()


def test_shortening_and_direction_respect_letters() -> None:
    assert shorten_text("abcdef", 6) == "abcdef"
    assert shorten_text("abcdefg", 6) == "abcde…"
    assert shorten_text("கிகிகி", 5) == "கிகி…"
    assert is_right_to_left("123 محمد")
    assert not is_right_to_left("Dr. محمد")
    assert not is_right_to_left("\u2068محمد\u2069, physician")
