# SPDX-License-Identifier: Apache-2.0
"""Patients are found by their names as people type them, and unrelated patients are not."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from medhub.accounts.actor import Actor
from medhub.foundation.app_context import AppContext
from medhub.records.identity_search import count_outdated, enqueue_reindexing
from medhub.records.models import Identity, IdentityTerm, PatientIdentifier
from medhub.records.name_folding import fold_text, names_agree
from tests.factories.cases import run_jobs
from tests.records.conftest import Registering, list_codes

# Name -> queries that find it.
NAMES: dict[str, tuple[str, ...]] = {
    "陈美玲": ("陈", "美玲", "陈美", "陳美玲", "陳"),
    "李 小龙": ("李", "小龙", "李小龙", "小龍"),
    "Đặng Thị Hương": ("dang", "Dang Thi Huong", "Huong Dang", "Đặng", "hương", "Đang thi"),
    "Łukasz Wójcik": ("Lukasz", "wojcik lukasz", "łukasz", "Wojc", "Luk"),
    "Søren Ægidius Bjørnsson": ("Soren", "Aegidius", "Bjornsson", "soeren bjoernsson", "ægid", "SØREN"),
    "Işıl Yıldız": ("isil", "YILDIZ", "Isil Yildiz", "yıldız", "ışıl", "IŞIL"),
    "김민준": ("민준", "김", "김 민준", "준", "김민"),
    "山﨑 太郎": ("山崎", "山﨑太郎", "太郎", "山嵜"),
    "髙橋 はなこ": ("高橋", "ハナコ", "高橋ハナコ", "髙橋"),
    "渡邊 健": ("渡辺", "渡邉", "渡邊健"),
    "Seán O’Brien": ("obrien", "O'Brien", "o’brien", "brien", "O Brien", "Sean OBrien", "OBri"),
    "Ana-Maria D'Souza": ("anamaria", "Ana Maria", "Ana-Maria", "dsouza", "D’Souza", "maria dsouza"),
    "علی کریمی": ("علي", "كريمي", "علي كريمي", "کریمی", "کریم"),
    "أحمد الحدّاد": ("احمد", "الحداد", "حداد", "أحمد", "آحمد", "حداد احمد"),
    "عبد الله يحيى": ("عبدالله", "عبد الله", "يحيي", "یحیی"),
    "فاطمة هدى": ("فاطمه", "هدي", "فاطمة", "هُدى"),
    "Jürgen Müller-Groß": ("Mueller", "Muller", "Müller", "gross", "juergen", "Jurgen Gross", "mullergross"),
    "Siti Nurhaliza binti Tarudin": ("nurha", "Tarudin Siti", "siti", "Nurhaliza binti"),
    "José Ángel Núñez": ("nunez", "Jose Angel", "NÚÑEZ", "angel nunez"),
    "McDonald Ian": ("Mc Donald", "mcdonald", "McDon", "Ian McDonald"),
    "Ευαγγελία Παπαδοπούλου": ("ευαγγελια", "ΠΑΠΑΔΟΠΟΥΛΟΥ", "παπαδ"),
    "Артём Королёв": ("артем", "королев", "Артём", "корол"),
    "שלום כהן": ("שלום", "כהן", "שלו"),
    "முருகன் சுப்பிரமணியம்": ("முருகன்", "சுப்பிர"),
    "ጸሓይ ገብረ": ("ጸሓይ", "ገብ"),
    "ＹＡＭＡＤＡ　Ｔａｒｏ": ("yamada", "taro yamada"),
}
UNRELATED = (
    "Peter",
    "urhaliza",
    "王",
    "박",
    "Brianna",
    "omar",
    "Muehl",
    "山本",
    "Nurhalizb",
    "كرم",
    "Soran",
    "zzz",
    "@@",
)


def test_all_names_are_found_as_people_type_them_and_no_others(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    codes = {register(name).code: name for name in NAMES}
    queries = [(query, name) for name, queries in NAMES.items() for query in queries]
    assert len(queries) >= 100
    wrong = {}
    for query, name in queries:
        names = {codes[code] for code in list_codes(app, technologist, query=query, limit=100)[0]}
        if names != {name}:
            wrong[query] = names
    assert wrong == {}
    assert {query: list_codes(app, technologist, query=query) for query in UNRELATED} == dict.fromkeys(
        UNRELATED, ([], 0)
    )


@pytest.mark.parametrize(
    ("first", "other", "agree"),
    [
        ("SITI^ABDULLAH", "Siti binti Abdullah", True),
        ("NGUYEN^DUC", "Nguyễn Đức", True),
        ("Yamada^Tarou=山田^太郎", "山田 太郎", True),
        ("陳^美玲", "陈美玲", True),
        ("Müller^Anna", "Anna Mueller", True),
        ("OBRIEN^SEAN", "Seán O’Brien", True),
        ("Lee^Ann", "Ann Li", False),
        ("", "Ann", False),
    ],
)
def test_names_of_one_person_agree(first: str, other: str, agree: bool) -> None:
    assert names_agree(first, other) is agree
    assert names_agree(other, first) is agree


@pytest.mark.parametrize(
    ("typed", "folded"), [("ĐŁØÆı", "dloaei"), ("O’Brien", "obrien"), ("ﾊﾅｺ", "はなこ"), ("٠١٢", "012"), ("ﬁ", "fi")]
)
def test_letters_that_accents_do_not_explain_are_folded(typed: str, folded: str) -> None:
    assert fold_text(typed) == folded


def test_identities_of_an_earlier_version_are_indexed_by_a_job(
    app: AppContext, technologist: Actor, register: Registering
) -> None:
    code = register(identity={"name": "Łukasz Wójcik", "hospital_number": "H-77"}).code
    with app.database.writing() as session:
        session.query(IdentityTerm).delete()
        session.query(PatientIdentifier).delete()
        session.execute(update(Identity).values(index_version=0))
    assert list_codes(app, technologist, query="lukasz") == ([], 0)
    with app.database.writing() as session:
        assert enqueue_reindexing(session)
    run_jobs(app)
    assert list_codes(app, technologist, query="lukasz") == ([code], 1)
    assert list_codes(app, technologist, query="h 0077") == ([code], 1)
    with app.database.writing() as session:
        assert count_outdated(session) == 0
        assert not enqueue_reindexing(session)
