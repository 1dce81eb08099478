# SPDX-License-Identifier: Apache-2.0
"""The table of actions: every code of the confidentiality table has one, and each does what PS3.15 says."""

from __future__ import annotations

import pytest
from pydicom import DataElement
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

from medhub.science.deid.attributes.action_selection import select_action
from medhub.science.deid.attributes.action_table import ACTIONS
from medhub.science.deid.attributes.element_context import ActionLog, ElementContext, ItemContext, ObjectContext
from medhub.science.deid.confidentiality_table import rules
from medhub.science.deid.identifying_text import IdentifyingText
from medhub.science.deid.profile import CODES, Profile
from medhub.science.deid.pseudonym import Pseudonym

BASIC = Profile(name="t", title="tests", version=1)
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def element_context(keyword: str, vr: str, value: object, sop_class: str = "") -> ElementContext:
    subject = Pseudonym(b"a key for tests only", "P-1", -7)
    run = ObjectContext(BASIC, subject, IdentifyingText(frozenset()), sop_class, 32)
    return ElementContext(run, ItemContext(), Tag(tag_for_keyword(keyword) or 0), vr, value, ActionLog())


def test_every_code_of_the_confidentiality_table_has_an_action() -> None:
    codes = {"/".join(rule.basic) for rule in rules().values()}
    codes |= {code for rule in rules().values() for code in rule.options.values()}
    assert codes <= set(ACTIONS)
    profiles = [BASIC, *(Profile(name="t", title="tests", version=1, options=(option,)) for option in CODES)]
    selected = {select_action(Tag(tag), profile).code for tag in rules() for profile in profiles}
    assert selected <= set(ACTIONS)


@pytest.mark.parametrize(
    ("code", "done", "value"),
    [("X", "removed", None), ("Z", "emptied", ""), ("D", "replaced", "REPLACED"), ("K", "kept", "CT99")],
)
def test_each_action_records_what_it_did(code: str, done: str, value: str | None) -> None:
    context = element_context("StationName", "SH", "CT99")
    result = ACTIONS[code](context, "table")
    assert [(record.name, record.done, record.rule) for record in context.log.records] == [
        ("StationName", done, "table")
    ]
    assert (result.value or "" if isinstance(result, DataElement) else None) == value


@pytest.mark.parametrize(("sop_class", "done"), [(ENHANCED_CT, "replaced"), ("1.2.840.10008.5.1.4.1.1.2", "removed")])
def test_a_combined_code_follows_what_the_object_requires(sop_class: str, done: str) -> None:
    context = element_context("DeviceSerialNumber", "LO", "SN-1", sop_class)
    ACTIONS["X/Z/D"](context, "table")
    assert [record.done for record in context.log.records] == [done]
