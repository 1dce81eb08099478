# SPDX-License-Identifier: Apache-2.0
"""People who keep records, and short ways to do so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.records import field_definitions, service
from medhub.records.identifier_index import ConfirmedDuplicate
from medhub.records.models import FieldDefinition, Patient
from tests.factories.accounts import People

Registering = Callable[..., Patient]
Defining = Callable[..., FieldDefinition]


@pytest.fixture
def technologist(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.TECHNOLOGIST)


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


@pytest.fixture
def register(app: AppContext, people: People, technologist: Actor) -> Registering:
    """Register a patient, as ``register("Siti binti Abdullah", haemoglobin=11.9)``."""

    def act(
        name: str | None = None,
        *,
        identity: dict[str, str] | None = None,
        duplicate: ConfirmedDuplicate | None = None,
        **fields: Any,
    ) -> Patient:
        with app.database.writing(durable=False) as session:
            return service.add_patient(
                session,
                app.keys,
                technologist,
                project_id=people.project_id,
                sex=fields.pop("sex", "F"),
                birth_year=fields.pop("birth_year", 1980),
                fields=fields,
                identity=identity or ({"name": name} if name else None),
                duplicate=duplicate,
            )

    return act


@pytest.fixture
def define(app: AppContext, people: People, technologist: Actor) -> Defining:
    """Define a field, as ``define("haemoglobin", "decimal")``."""

    def act(key: str, kind: str, *, choices: list[str] | None = None, **more: Any) -> FieldDefinition:
        with app.database.writing(durable=False) as session:
            return field_definitions.define_field(
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
                limits=more.pop("limits", None),
            )

    return act


def list_codes(app: AppContext, actor: Actor, **wanted: Any) -> tuple[list[str], int]:
    """The codes of a page of patients, and how many there are in all."""
    asked: dict[str, Any] = {
        **dict.fromkeys(("project_id", "query", "sex", "sort")),
        "field_values": {},
        "offset": 0,
        "limit": 50,
        **wanted,
    }
    with app.database.reading() as session:
        page, total = service.list_patients(session, app.keys, actor, **asked)
        return [patient.code for patient in page], total
