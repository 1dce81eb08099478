# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from medhub.records.dicom_search import SearchResult, search, search_images
from medhub.records.query_matching import UnusableKey
from medhub.records.search_levels import Level, supported_keywords
from tests.factories.accounts import People, make_people
from tests.factories.app_contexts import open_app, schema_of_its_own
from tests.factories.archive import add_image, add_patient, add_series, add_study

MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, isolation: Isolation
) -> Iterator[AppContext]:
    """One installation for all searches, on each of the two databases."""
    folder = tmp_path_factory.mktemp("search")
    if request.param == "sqlite":
        with open_app(folder, isolation) as app:
            yield app
        return
    shared = request.getfixturevalue("postgresql")
    with schema_of_its_own(shared.partition("?")[0], "search") as url, open_app(folder, isolation, url) as app:
        yield app


@pytest.fixture(scope="module")
def people(app: AppContext) -> People:
    return make_people(app)


@pytest.fixture(scope="module")
def archive(app: AppContext, people: People) -> None:
    """Three patients of a project with four studies, and one of another project."""
    with app.database.writing(durable=False) as session:
        ann = add_patient(session, people.project_id, "P-ANN")
        bob = add_patient(session, people.project_id, "P-BOB")
        add_patient(session, people.project_id, "Q-NOBODY")
        study = add_study(
            session,
            ann,
            "1.1",
            StudyDate="20240105",
            StudyTime="081500",
            AccessionNumber="A[1]",
            StudyDescription="Head 100% plain",
            ReferringPhysicianName="Müller^Änne=ミュラー",
            PatientSex="F",
        )
        head = add_series(session, study, "1.1.1", SeriesNumber="2", BodyPartExamined="HEAD")
        scout = add_series(session, study, "1.1.2", SeriesNumber="1", BodyPartExamined="NECK")
        for number in (2, 1, 3):
            add_image(
                session,
                study,
                head,
                f"1.1.1.{number}",
                InstanceNumber=str(number),
                ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
                KVP="120",
            )
        add_image(session, study, scout, "1.1.2.1", InstanceNumber="1", ImageType=["DERIVED", "PRIMARY", "LOCALIZER"])
        two = add_study(session, ann, "1.2", StudyDate="20240106", StudyTime="0930", AccessionNumber="a[1]")
        mr = add_series(session, two, "1.2.1", "MR", SeriesNumber="1", BodyPartExamined="HEAD")
        add_image(session, two, mr, "1.2.1.1", InstanceNumber="7", SOPClassUID=MR, KVP="80")
        three = add_study(session, bob, "1.3", StudyDate="20240107", StudyTime="235959.5", StudyDescription="HEAD_1")
        add_image(session, three, add_series(session, three, "1.3.1", "MR"), "1.3.1.1", SOPClassUID=MR)
        add_study(session, bob, "1.4")
        other_patient = add_patient(session, people.other_project_id, "P-STRANGER")
        add_study(session, other_patient, "1.5", StudyDate="20240105")


@pytest.fixture
def ask(app: AppContext, people: People, archive: None) -> Any:
    def act(level: Level, *, limit: int = 100, **more: Any) -> SearchResult:
        wanted = {keyword: more.pop(keyword) for keyword in list(more) if keyword[0].isupper()}
        projects = more.pop("projects", [people.project_id])
        with app.database.reading() as session:
            return search(session, projects, level, wanted, limit=limit, **more)

    return act


STUDIES: dict[str, tuple[dict[str, str], set[str]]] = {
    "everything": ({}, {"1.1", "1.2", "1.3", "1.4"}),
    "an-empty-key": ({"AccessionNumber": ""}, {"1.1", "1.2", "1.3", "1.4"}),
    "a-star": ({"AccessionNumber": "*"}, {"1.1", "1.2", "1.3", "1.4"}),
    "nothing-there": ({"AccessionNumber": '""'}, {"1.3", "1.4"}),
    "no-date": ({"StudyDate": '""'}, {"1.4"}),
    "one-uid": ({"StudyInstanceUID": "1.2"}, {"1.2"}),
    "several-uids": ({"StudyInstanceUID": "1.2\\1.3\\1.9"}, {"1.2", "1.3"}),
    "no-wildcard-in-uids": ({"StudyInstanceUID": "1.?"}, set()),
    "a-foreign-uid": ({"StudyInstanceUID": "1.5"}, set()),
    "a-number-by-case-and-brackets": ({"AccessionNumber": "A[1]"}, {"1.1"}),
    "a-pattern-by-case-and-brackets": ({"AccessionNumber": "A[?]*"}, {"1.1"}),
    "several-values": ({"AccessionNumber": "A[1]\\a?1]"}, {"1.1", "1.2"}),
    "percent-is-no-wildcard": ({"StudyDescription": "H%"}, set()),
    "percent-in-a-pattern": ({"StudyDescription": "*100%*"}, {"1.1"}),
    "underscore-in-a-pattern": ({"StudyDescription": "*D_?"}, {"1.3"}),
    "names-without-case": ({"PatientName": "p-ann"}, {"1.1", "1.2"}),
    "names-with-wildcards": ({"PatientName": "*bo?"}, {"1.3", "1.4"}),
    "a-name-of-letters-beyond-ascii": ({"ReferringPhysicianName": "MÜLLER^*"}, {"1.1"}),
    "a-day": ({"StudyDate": "20240106"}, {"1.2"}),
    "a-day-with-points": ({"StudyDate": "2024.01.06"}, {"1.2"}),
    "days": ({"StudyDate": "20240105-20240106"}, {"1.1", "1.2"}),
    "days-from": ({"StudyDate": "20240106-"}, {"1.2", "1.3"}),
    "days-to": ({"StudyDate": "-20240105"}, {"1.1"}),
    "a-time-written-shorter": ({"StudyTime": "0815"}, {"1.1"}),
    "a-time-written-longer": ({"StudyTime": "093000.00"}, {"1.2"}),
    "times": ({"StudyTime": "0800-09"}, {"1.1", "1.2"}),
    "times-to-the-end-of-a-minute": ({"StudyTime": "2359-2359"}, {"1.3"}),
    "times-from": ({"StudyTime": "093000-"}, {"1.2", "1.3"}),
    "days-and-times-apart": ({"StudyDate": "20240105-20240106", "StudyTime": "0900-1000"}, {"1.2"}),
    "sex": ({"PatientSex": "F"}, {"1.1"}),
    "modality-within": ({"ModalitiesInStudy": "MR"}, {"1.2", "1.3"}),
    "modalities-within": ({"ModalitiesInStudy": "CT\\MR"}, {"1.1", "1.2", "1.3"}),
    "no-modality-within": ({"ModalitiesInStudy": '""'}, {"1.4"}),
    "class-within": ({"SOPClassesInStudy": MR}, {"1.2", "1.3"}),
    "counts": ({"NumberOfStudyRelatedInstances": "4"}, {"1.1"}),
    "no-series": ({"NumberOfStudyRelatedSeries": "0"}, {"1.4"}),
    "a-key-of-series": ({"BodyPartExamined": "HEAD"}, {"1.1", "1.2"}),
    "keys-of-one-series": ({"BodyPartExamined": "HEAD", "Modality": "MR"}, {"1.2"}),
    "keys-of-two-series": ({"BodyPartExamined": "NECK", "SeriesNumber": "2"}, set()),
    "a-key-of-images": ({"ImageType": "LOCALIZER"}, {"1.1"}),
    "keys-of-series-and-images": ({"ImageType": "AXIAL", "BodyPartExamined": "NECK"}, set()),
    "a-chosen-key-of-images": ({"KVP": "80"}, {"1.2"}),
    "nothing-fits": ({"PatientID": "P-NOBODY"}, set()),
}


@pytest.mark.parametrize(("wanted", "expected"), STUDIES.values(), ids=STUDIES)
def test_studies_are_found_by(ask: Any, wanted: dict[str, str], expected: set[str]) -> None:
    result = ask("study", extra_keywords=["KVP"], **wanted)
    assert {match["StudyInstanceUID"][0] for match in result.matches} == expected
    assert result.ignored == ()
    assert all(set(wanted) <= set(match) for match in result.matches)


def test_days_and_times_can_be_one_range(ask: Any) -> None:
    wanted = {"StudyDate": "20240105-20240106", "StudyTime": "0900-0930"}
    assert [m["StudyInstanceUID"] for m in ask("study", **wanted).matches] == [["1.2"]]
    assert [m["StudyInstanceUID"] for m in ask("study", combine_date_time=True, **wanted).matches] == [["1.2"]]
    wanted = {"StudyDate": "20240105-20240107", "StudyTime": "0800-0700"}
    assert ask("study", **wanted).matches == []
    result = ask("study", combine_date_time=True, **wanted)
    assert [m["StudyInstanceUID"] for m in result.matches] == [["1.2"], ["1.1"]]
    open_end = {"StudyDate": "20240106-", "StudyTime": "0931-"}
    result = ask("study", combine_date_time=True, **open_end)
    assert [m["StudyInstanceUID"] for m in result.matches] == [["1.3"]]


def test_fuzzy_names_are_found_by_the_beginnings_of_their_words_in_any_order(ask: Any) -> None:
    for name in ("änne mül", "Müller^Änne", "ミュ"):
        assert len(ask("study", fuzzy=True, ReferringPhysicianName=name).matches) == 1, name
    assert ask("study", fuzzy=True, ReferringPhysicianName="nne").matches == []
    assert ask("study", ReferringPhysicianName="änne mül").matches == []


def test_what_is_returned_is_what_was_asked_for(ask: Any) -> None:
    result = ask(
        "study",
        StudyInstanceUID="1.1",
        include=["ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "StudyTime"],
        SOPClassesInStudy="",
        AccessionNumber="",
        Modality="",
        RequestedProcedureID="7",
    )
    assert result.ignored == ("RequestedProcedureID",)
    assert result.matches == [
        {
            "StudyInstanceUID": ["1.1"],
            "SOPClassesInStudy": ["1.2.840.10008.5.1.4.1.1.2"],
            "AccessionNumber": ["A[1]"],
            "ModalitiesInStudy": ["CT"],
            "NumberOfStudyRelatedSeries": ["2"],
            "NumberOfStudyRelatedInstances": ["4"],
            "StudyTime": ["081500"],
            "Modality": [],
            "RequestedProcedureID": [],
        }
    ]
    everything = ask("series", SeriesInstanceUID="1.1.1", include="all").matches[0]
    assert set(everything) == set(supported_keywords("series"))
    assert everything["PatientID"] == ["P-ANN"]
    assert everything["StudyDate"] == ["20240105"]
    assert everything["NumberOfSeriesRelatedInstances"] == ["3"]
    assert everything["ModalitiesInStudy"] == ["CT"]
    assert everything["NumberOfPatientRelatedStudies"] == ["2"]


def test_patients_are_found_with_what_hangs_on_them(ask: Any) -> None:
    asked = {f"NumberOfPatientRelated{what}": "" for what in ("Studies", "Series", "Instances")}
    result = ask("patient", PatientName="P-*", PatientSex="", **asked)
    seen = {m["PatientID"][0]: [m["PatientSex"], *(m[keyword][0] for keyword in asked)] for m in result.matches}
    assert seen == {"P-ANN": [["F"], "2", "3", "5"], "P-BOB": [[], "2", "1", "1"]}
    assert [m["PatientID"] for m in ask("patient", NumberOfPatientRelatedSeries="3").matches] == [["P-ANN"]]
    assert [m["PatientID"] for m in ask("patient", StudyDate="20240107").matches] == [["P-BOB"]]
    assert [m["PatientID"] for m in ask("patient", Modality="MR", StudyDate="20240106").matches] == [["P-ANN"]]
    assert [
        m["PatientID"]
        for m in ask("patient", KVP="80", StudyTime="0930", Modality="MR", extra_keywords=["KVP"]).matches
    ]
    assert [m["PatientID"] for m in ask("patient", ModalitiesInStudy="CT").matches] == [["P-ANN"]]
    assert [m["PatientID"] for m in ask("patient", PatientSex="F").matches] == [["P-ANN"]]


def test_series_and_images_are_found_within_what_they_belong_to_and_in_order(ask: Any) -> None:
    series = ask("series", StudyInstanceUID="1.1", include=["SeriesNumber"]).matches
    assert [(m["SeriesInstanceUID"], m["SeriesNumber"]) for m in series] == [(["1.1.2"], ["1"]), (["1.1.1"], ["2"])]
    images = ask("image", StudyInstanceUID="1.1").matches
    assert [m["SOPInstanceUID"][0] for m in images] == ["1.1.2.1", "1.1.1.1", "1.1.1.2", "1.1.1.3"]
    assert [m["SOPInstanceUID"][0] for m in ask("image", InstanceNumber="07").matches] == ["1.2.1.1"]
    assert len(ask("image", PatientID="P-ANN", Modality="CT", ImageType="PRIMARY").matches) == 4
    assert len(ask("image", ModalitiesInStudy="MR").matches) == 2
    assert len(ask("series", ModalitiesInStudy="CT").matches) == 2
    assert ask("image", SOPInstanceUID="1.1.1.2", include=["ImageType"]).matches[0]["ImageType"][2] == "AXIAL"
    assert ask("image", KVP="120").ignored == ("KVP",)


def test_images_to_hand_out_come_study_by_study_and_in_order(app: AppContext, people: People, archive: None) -> None:
    with app.database.reading() as session:
        images = search_images(session, [people.project_id], {"PatientID": "P-ANN"})
        assert [i.sop_instance_uid for i in images] == ["1.1.2.1", "1.1.1.1", "1.1.1.2", "1.1.1.3", "1.2.1.1"]
        assert len(search_images(session, [people.project_id], {"StudyInstanceUID": "1.1"}, limit=2)) == 2
        assert search_images(session, [people.other_project_id], {"StudyInstanceUID": "1.1"}) == []
        assert search_images(session, [], {}) == []


def test_pages_fit_together_and_say_whether_more_follows(ask: Any) -> None:
    pages = [ask("study", limit=2, offset=offset) for offset in (0, 2, 4)]
    seen = [match["StudyInstanceUID"][0] for page in pages for match in page.matches]
    assert seen == ["1.3", "1.2", "1.1", "1.4"]
    assert [page.more for page in pages] == [True, False, False]
    assert len(ask("study", projects=[]).matches) == 0


@pytest.mark.parametrize(
    "wanted",
    [
        {"StudyDate": "yesterday"},
        {"StudyDate": "2024"},
        {"StudyDate": "-"},
        {"StudyTime": "8"},
        {"StudyTime": "0800-0900-1000"},
        {"StudyDescription": "a\x00b"},
        {"StudyDescription": "a" * 2000},
    ],
)
def test_a_value_that_its_attribute_cannot_have_is_refused(ask: Any, wanted: dict[str, str]) -> None:
    with pytest.raises(UnusableKey) as refused:
        ask("study", **wanted)
    assert refused.value.facts["field"] == next(iter(wanted))


def test_hostile_values_find_nothing_and_break_nothing(ask: Any) -> None:
    for value in ("' OR 1=1 --", "[", "[a-", "\\\\", "%", "_", "*" * 500 + "x", "$[0]", "𝒜", "?" * 64):
        for keyword in ("AccessionNumber", "StudyDescription", "PatientName", "ModalitiesInStudy", "BodyPartExamined"):
            if value != "\\\\":
                assert ask("study", **{keyword: value}).matches == [], (keyword, value)
    for number in ("99999999999999999999", "-5", "x", "1.5", "٣"):
        assert ask("image", InstanceNumber=number).matches == []
        assert ask("study", NumberOfStudyRelatedInstances=number).matches == []
