# SPDX-License-Identifier: Apache-2.0
"""People who keep records, and short ways to do so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.foundation.installation import Installation
from medhub.records import definitions, service
from medhub.records.models import FieldDefinition, Patient
from tests.factories.accounts import People

Registering = Callable[..., Patient]
Defining = Callable[..., FieldDefinition]


@pytest.fixture
def technologist(house: Installation, people: People) -> Actor:
    return people.actor(house, Role.TECHNOLOGIST)


@pytest.fixture
def administrator(house: Installation, people: People) -> Actor:
    return people.actor(house, Role.ADMINISTRATOR)


@pytest.fixture
def register(house: Installation, people: People, technologist: Actor) -> Registering:
    """Register a patient, as ``register("Siti binti Abdullah", haemoglobin=11.9)``."""

    def act(name: str | None = None, *, identity: dict[str, str] | None = None, **fields: Any) -> Patient:
        with house.database.writing(durable=False) as session:
            return service.add_patient(
                session,
                house.keys,
                technologist,
                project_id=people.project_id,
                sex=fields.pop("sex", "F"),
                birth_year=fields.pop("birth_year", 1980),
                fields=fields,
                identity=identity or ({"name": name} if name else None),
            )

    return act


@pytest.fixture
def define(house: Installation, people: People, technologist: Actor) -> Defining:
    """Define a field, as ``define("haemoglobin", "decimal")``."""

    def act(key: str, kind: str, *, choices: list[str] | None = None, **more: Any) -> FieldDefinition:
        with house.database.writing(durable=False) as session:
            return definitions.define_field(
                session,
                more.pop("actor", technologist),
                project_id=more.pop("project_id", people.project_id),
                subject=more.pop("subject", "patient"),
                key=key,
                label=more.pop("label", key.title()),
                kind=kind,  # type: ignore[arg-type]
                required=more.pop("required", False),
                unit=more.pop("unit", None),
                choices=choices or [],
                position=more.pop("position", 0),
            )

    return act


def found(house: Installation, actor: Actor, **wanted: Any) -> tuple[list[str], int]:
    """The codes of a page of patients, and how many there are in all."""
    asked: dict[str, Any] = {
        **dict.fromkeys(("project_id", "query", "sex", "sort")),
        "field_values": {},
        "offset": 0,
        "limit": 50,
        **wanted,
    }
    with house.database.reading() as session:
        page, total = service.list_patients(session, house.keys, actor, **asked)
        return [patient.code for patient in page], total
