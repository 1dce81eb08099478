# SPDX-License-Identifier: Apache-2.0
"""Files reach the pathway of their modality, and no other one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import select

from medhub.accounts.permissions import Role
from medhub.errors import Conflict
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.ingest.context import IngestSource
from medhub.ingest.ingest_settings import settings_of
from medhub.ingest.routing import route
from medhub.records.models import Image, Study
from medhub.review.models import Case
from medhub.review.service import give_verdict
from tests.factories.accounts import People
from tests.factories.cases import ingest_all, make_patient, run_jobs, upload
from tests.factories.cts import ct

PATHWAYS = Path(__file__).resolve().parents[2] / "deploy" / "pathways"


def test_another_modality_uploaded_on_the_smear_pathway_is_archived_and_opens_no_case(
    app: AppContext, people: People
) -> None:
    patient_id = make_patient(app, people)
    physician = people.actor(app, Role.PHYSICIAN)
    (answer,) = upload(app, people.actor(app, Role.TECHNOLOGIST), patient_id, ct())
    assert answer.outcome == "accepted"
    run_jobs(app)
    with app.database.reading() as session:
        assert session.scalars(select(Image.state)).all() == ["archived"]
        assert session.scalars(select(Study.pathway)).all() == [None]
        assert session.scalars(select(Case)).all() == []
        image_id = session.scalars(select(Image.id)).one()
    with pytest.raises(Conflict, match="along no pathway"), app.database.writing() as session:
        give_verdict(session, app.settings, physician, image_id, "neutrophil", None)


@pytest.mark.parametrize(("modality", "pathway"), [("GM", "smear-review"), ("CT", None), ("DX", None)])
def test_a_file_that_comes_by_itself_takes_the_pathway_of_its_modality(
    app: AppContext, people: People, modality: str, pathway: str | None
) -> None:
    source = IngestSource(people.project_id, "stow")
    files = [ct(Modality=modality), ct(Modality=modality, SOPInstanceUID="1.2.3.2")]
    answers = ingest_all(app, people.actor(app, Role.TECHNOLOGIST), source, files)
    assert [answer.outcome for answer in answers] == ["accepted"] * 2
    with app.database.reading() as session:
        assert session.scalars(select(Study.pathway)).all() == [pathway]


@pytest.mark.parametrize(
    ("rules", "modality", "named", "expected"),
    [
        ({}, "DX", None, "chest-xray"),
        ({}, "CR", "smear-review", "chest-xray"),
        ({}, "CT", "smear-review", None),
        ({}, "", "smear-review", "smear-review"),
        ({"CT": "smear-review"}, "CT", None, "smear-review"),
        ({"CT": "smear-review"}, "GM", None, None),
        ({"*": "chest-xray"}, "GM", None, "chest-xray"),
        ({"*": "chest-xray"}, "GM", "smear-review", "smear-review"),
    ],
)
def test_the_rules_of_the_project_come_before_the_defaults(
    rules: Mapping[str, str],
    modality: str,
    named: str | None,
    expected: str | None,
    app: AppContext,
    people: People,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "ways"
    folder.mkdir()
    shutil.copy(PATHWAYS / "chest-xray.toml", folder)
    with app.database.reading() as session:
        row = settings_of(session, people.project_id)
    row.pathways = dict(rules)
    pathway = route(Settings(pathways=folder), row, modality, named)
    assert (pathway.name if pathway is not None else None) == expected
