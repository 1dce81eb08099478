# SPDX-License-Identifier: Apache-2.0
"""Names by script and form: what remains of them in the texts of cleaned objects, and what the PHI scan finds.

Each name of ``tests.factories.person_names`` is written in every kind of attribute of an object, which is de-identified
by every shipped profile. A second column has the scan look at the same texts as if nothing had been removed; a third
without knowing any name. Part of ``make deid-bench``.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter

from pydicom import DataElement, Dataset
from tests.factories.named_objects import HARMLESS, KINDS, named_object, texts_of
from tests.factories.person_names import WrittenName, what_remains, written_names
from tests.factories.seeded import encode_file

from medhub.science.deid.attributes.deidentifier import deidentify
from medhub.science.deid.free_text import clean_text
from medhub.science.deid.identifying_text import identifying_text_of
from medhub.science.deid.phi_scan.scanner import PhiScanner
from medhub.science.deid.profile import find_profile, named_profiles
from medhub.science.deid.pseudonym import subject_of

KEY = b"a key for measuring only"
SCANNED = ("StudyDescription", "ImageComments", "SequenceName", "PartialViewDescription")


def count_left(name: WrittenName) -> int:
    """Attributes in which a word of the name remains, over all shipped profiles."""
    left = 0
    for profile_name in named_profiles():
        profile = find_profile(profile_name)
        subject = subject_of(KEY, "1", "", profile.dates)
        cleaned = deidentify(named_object(name, f"{name.text} chest"), profile, subject).dataset
        left += sum(bool(what_remains(text, name.words)) for _, text in texts_of(cleaned))
    return left


def count_reported(name: WrittenName, clean: Dataset, known: list[str]) -> int:
    """Attributes for which the scan reports a name that was left in them."""
    scanner, reported = PhiScanner(known, read_pixels=False), 0
    for keyword in SCANNED:
        dataset = Dataset()
        dataset.update(clean)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.add(DataElement(keyword, "LO", f"{name.text} chest", already_converted=True))
        reported += bool(scanner.scan("1.dcm", encode_file(dataset)))
    return reported


def share_of_lost_words(names: list[WrittenName]) -> float:
    """Share of the words of texts without names that cleaning removes, beside names of every form."""
    words = lost = 0
    for number, text in enumerate(HARMLESS):
        for name in names[number :: len(HARMLESS)]:
            dataset = Dataset()
            dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 192", name.header
            words += len(text.split())
            lost += len(text.split()) - len(clean_text(text, identifying_text_of(dataset)).split())
    return lost / words


def main() -> None:
    warnings.simplefilter("ignore")
    names = list(written_names())
    profile = find_profile("research-max-utility")
    clean = deidentify(Dataset(), profile, subject_of(KEY, "1", "", profile.dates)).dataset
    clean.SOPClassUID, clean.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "2.25.1"
    total, left, known, unknown = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for name in names:
        total[name.form] += 1
        left[name.form] += count_left(name)
        known[name.form] += count_reported(name, clean, [name.header])
        unknown[name.form] += count_reported(name, clean, [])
    print("| form | names | left | found, name known | found, no name known |\n|---|---:|---:|---:|---:|")
    for form, count in total.items():
        texts = count * len(SCANNED)
        print(f"| {form} | {count} | {left[form]} | {known[form]} of {texts} | {unknown[form]} of {texts} |")
    texts = len(names) * len(SCANNED)
    searched = len(names) * len(KINDS) * len(named_profiles())
    share, lost = known.total() / texts, share_of_lost_words(names)
    print(f"\n- {len(names)} names in {len(total)} forms, in {len(KINDS)} kinds of attribute, by each profile")
    print(f"- left: {left.total()} of {searched:,} ({'met' if not left.total() else 'NOT met'}: 0)")
    print(f"- found by the scan, name known: {share:.2%} ({'met' if share >= 0.995 else 'NOT met'}: 99.5 %); "
          f"no name known: {unknown.total() / texts:.2%}")  # fmt: skip
    print(f"- words lost of texts without names: {lost:.2%} ({'met' if lost <= 0.01 else 'NOT met'}: 1 %)")
    sys.exit(0 if not left.total() and share >= 0.995 and lost <= 0.01 else 1)


if __name__ == "__main__":
    main()
