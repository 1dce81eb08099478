# SPDX-License-Identifier: Apache-2.0
"""Fields that projects define: their definitions, and search and sorting by their values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid, NotFound
from medhub.foundation import ids
from medhub.foundation.database import serialize_writers
from medhub.foundation.etags import check_etag
from medhub.records.field_limits import check_limits
from medhub.records.field_values import Kind, Subject, check_definition, check_value
from medhub.records.models import FieldDefinition, Patient, Study


class FieldNotFound(NotFound):
    """There is no such field."""

    code = "field-not-found"


class FieldKeyTaken(Conflict):
    """The project already has a field with this key."""

    code = "field-key-taken"


def list_project_fields(session: Session, project_id: str, subject: Subject) -> list[FieldDefinition]:
    """The fields of the patients or studies of a project, in order."""
    return list_fields(session, [project_id], subject)


def list_fields(session: Session, project_ids: Collection[str], subject: Subject | None) -> list[FieldDefinition]:
    """The fields of several projects, in order."""
    query = select(FieldDefinition).where(FieldDefinition.project_id.in_(project_ids))
    if subject is not None:
        query = query.where(FieldDefinition.subject == subject)
    return list(session.scalars(query.order_by(FieldDefinition.position, FieldDefinition.label, FieldDefinition.id)))


def index_by_key(defined: Iterable[FieldDefinition]) -> dict[str, FieldDefinition]:
    """The fields by key; a key that projects define with different kinds is compared as text."""
    by_key: dict[str, FieldDefinition] = {}
    for definition in defined:
        known = by_key.setdefault(definition.key, definition)
        if known.kind != definition.kind:
            by_key[definition.key] = FieldDefinition(
                key=definition.key, label=definition.label, kind="text", choices=[], limits={}
            )
    return by_key


def value_column(values: Any, definition: FieldDefinition) -> ColumnElement[Any]:
    """The column expression of a field's value, typed for comparison."""
    element = values[definition.key]
    if definition.kind in {"integer", "decimal"}:
        return element.as_float()  # type: ignore[no-any-return]
    if definition.kind == "boolean":
        return element.as_boolean()  # type: ignore[no-any-return]
    return element.as_string()  # type: ignore[no-any-return]


def match_value(values: Any, definition: FieldDefinition, text: str) -> ColumnElement[bool]:
    """The condition that a field has a value, or contains it if the field is a text."""
    compared = value_column(values, definition)
    if definition.kind == "text":
        return func.lower(compared).contains(text.lower(), autoescape=True)
    if definition.kind == "choice":
        return compared == text
    return compared == check_value(text, definition)


def define_field(
    session: Session,
    actor: Actor,
    *,
    project_id: str,
    subject: Subject,
    key: str,
    label: str,
    kind: Kind,
    required: bool,
    unit: str | None,
    choices: list[str],
    position: int,
    limits: Mapping[str, Any] | None = None,
) -> FieldDefinition:
    """Define a field for the patients or studies of a project."""
    actor.require("field.define", project_id, "project")
    check_definition(key, kind, choices)
    serialize_writers(session, f"fields {project_id}")
    same_key = select(FieldDefinition.id).where(
        FieldDefinition.project_id == project_id, FieldDefinition.subject == subject, FieldDefinition.key == key
    )
    if session.scalar(same_key) is not None:
        raise FieldKeyTaken(f"There is already a field “{key}”. Choose another key.", field="key")
    definition = FieldDefinition(
        id=ids.new_id(),
        project_id=project_id,
        subject=subject,
        key=key,
        label=label,
        kind=kind,
        required=required,
        unit=unit,
        choices=choices,
        position=position,
        limits={},
    )
    definition.limits = check_limits(limits or {}, definition, check_value)
    session.add(definition)
    actor.record(session, "field.define", "field", definition.id, project_id=project_id, key=key)
    return definition


def get_field(session: Session, actor: Actor, field_id: str, action: str) -> FieldDefinition:
    """A field of one of the actor's projects."""
    definition = session.get(FieldDefinition, field_id)
    if definition is None:
        raise FieldNotFound("There is no such field, or it is not in your projects.")
    actor.require(action, definition.project_id, "field")
    return definition


def change_field(
    session: Session,
    actor: Actor,
    field_id: str,
    *,
    label: str | None = None,
    required: bool | None = None,
    unit: str | None = None,
    choices: list[str] | None = None,
    position: int | None = None,
    limits: Mapping[str, Any] | None = None,
    if_match: str | None = None,
) -> FieldDefinition:
    """Change a field; its key and kind cannot change, since values depend on them."""
    serialize_writers(session, f"field {field_id}")
    definition = get_field(session, actor, field_id, "field.define")
    check_etag(
        if_match,
        definition.etag,
        "Somebody changed this field after you opened it. Nothing was changed; compare, then save again.",
    )
    if choices is not None:
        check_definition(definition.key, definition.kind, choices)
        removed = set(definition.choices) - set(choices)
        for choice in removed:
            if _in_use(session, definition, choice):
                raise Conflict(f"“{choice}” is in use and cannot be removed.", field="choices")
        definition.choices = choices
    if limits is not None:
        definition.limits = check_limits(limits, definition, check_value)
    if label is not None:
        definition.label = label
    if required is not None:
        definition.required = required
    if unit is not None:
        definition.unit = unit or None
    if position is not None:
        definition.position = position
    actor.record(session, "field.change", "field", definition.id, project_id=definition.project_id)
    return definition


def delete_field(session: Session, actor: Actor, field_id: str) -> None:
    """Delete a field that has no values."""
    definition = get_field(session, actor, field_id, "field.define")
    if _in_use(session, definition, None):
        raise Conflict("The field has values. Clear them first; nothing was deleted.")
    session.delete(definition)
    actor.record(session, "field.delete", "field", field_id, project_id=definition.project_id)


def _in_use(session: Session, definition: FieldDefinition, choice: str | None) -> bool:
    table: type[Patient] | type[Study] = Patient if definition.subject == "patient" else Study
    value = table.fields[definition.key].as_string()
    query = select(table.id).where(table.project_id == definition.project_id, value.is_not(None))
    if choice is not None:
        query = query.where(value == choice)
    return session.scalar(query.limit(1)) is not None


def parse_pairs(pairs: list[str]) -> dict[str, str]:
    """Parse values that are written as ``key=value`` on a command line."""
    parsed = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Invalid(f"“{pair}” is not of the form key=value.", field="field")
        parsed[key.strip()] = value
    return parsed
