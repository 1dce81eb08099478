# SPDX-License-Identifier: Apache-2.0
"""Whatever the API's document allows, and what it forbids, is sent with the token of each role."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from medhub.accounts.permissions import Role
from medhub.entrypoints.problems import MEDIA_TYPE
from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import Isolation
from tests.conftest import ROOT
from tests.factories.accounts import make_people
from tests.factories.api_calls import CALLS, World
from tests.factories.app_contexts import open_app_on
from tests.factories.cases import use_classifier

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 3

# As the server prints it: tests/test_architecture.py holds the two together.
DOCUMENT = json.loads((ROOT / "web" / "openapi.json").read_text())
OPERATIONS: dict[str, APIOperation[Any, Any, Any, Any]] = {
    f"{operation.method.upper()} {operation.path}": operation
    for operation in (
        cast(Any, result).ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    )
}


def has_input(route: str) -> bool:
    """Whether there is anything that could be sent wrongly."""
    method, _, path = route.partition(" ")
    described = DOCUMENT["paths"][path][method.lower()]
    return "parameters" in described or "requestBody" in described


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, isolation: Isolation
) -> Iterator[AppContext]:
    with open_app_on(request, request.param, tmp_path_factory.mktemp("schemathesis"), isolation, "schemathesis") as app:
        yield app


@pytest.fixture(scope="module")
def world(app: AppContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_classifier(monkeypatch)
        yield World(app, make_people(app), tmp_path_factory.mktemp("web"))


def put_real_ids(world: World, route: str, case: Case[Any]) -> None:
    """Have the case name things that there are, so that it goes further than "there is no such thing"."""
    real = CALLS[route](world, True, "administrator@lab.example")
    names = re.findall(r"{(\w+)}", case.path)
    pattern = re.sub(r"{(\w+)}", r"([^/?]+)", case.path) + r"(\?.*)?"
    match = re.fullmatch(pattern, real.path)
    assert match is not None
    for name, value in zip(names, match.groups(), strict=False):
        case.path_parameters[name] = value
    known = {"project_id": world.people.project_id, "patient_id": world.patient_id, "study_id": world.study_id}
    for parameters in (case.query, case.body):
        if isinstance(parameters, dict):
            for name in parameters.keys() & known.keys():
                parameters[name] = known[name]


def send(world: World, case: Case[Any], role: Role) -> None:
    """Send a case as a person of a role, and hold the answer against the document."""
    headers = {"Authorization": world.client(f"{role}@lab.example").headers["Authorization"]}
    with asgi.get_client(cast(Any, world.web_app)) as session:
        response = case.call(session=session, app=world.web_app, headers=headers)
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400:
        assert response.headers["content-type"] == [MEDIA_TYPE]
    if "/api/auth/" in case.path:
        world.forget_clients()


@pytest.mark.parametrize(
    ("route", "mode"),
    [(route, GenerationMode.POSITIVE) for route in OPERATIONS]
    + [(route, GenerationMode.NEGATIVE) for route in OPERATIONS if has_input(route)],
)
def test_every_answer_is_as_the_document_says(world: World, route: str, mode: GenerationMode) -> None:
    cases = OPERATIONS[route].as_strategy(generation_mode=mode)

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def run(case: Case[Any]) -> None:
        send(world, case, Role.ADMINISTRATOR)
        world.require_no_field()
        put_real_ids(world, route, case)
        for role in Role:
            send(world, case, role)

    run()


def test_every_operation_of_the_document_was_sent() -> None:
    others = {route.partition("?")[0] for route in CALLS} - set(OPERATIONS)
    # DICOMweb is described by its standard; tests/entrypoints/test_dicomweb.py sends what that forbids.
    # /api/peers is the old address of /api/dicom-nodes, and served by the same functions.
    undescribed = {route for route in others if not re.search(r" /(dicom-web|api/peers|wado)(/|$)", route)}
    assert undescribed == {"GET /api/openapi.json", "GET /{path:path}"}
    renamed = {route.replace("/api/peers", "/api/dicom-nodes") for route in others if " /api/peers" in route}
    assert renamed == {route for route in OPERATIONS if " /api/dicom-nodes" in route}
    assert set(OPERATIONS) <= set(CALLS)
