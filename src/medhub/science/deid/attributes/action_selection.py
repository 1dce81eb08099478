# SPDX-License-Identifier: Apache-2.0
"""Which action applies to an attribute: profile, table E.1-1 with the options in force, or our own rules."""

from __future__ import annotations

from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag
from pydicom.tag import BaseTag

from medhub.science.deid.confidentiality_table import OVERLAYS, Rule, rule_of
from medhub.science.deid.profile import Profile

_ENCRYPTED_ATTRIBUTES = 0x04000500
# Referenced Study and Performed Procedure Step Sequence: their UIDs are replaced as everywhere else.
_REFERENCES = frozenset((0x00081110, 0x00081111))
_CODES_OF_SPECIAL = {"keep": "K", "remove": "X", "empty": "Z", "replace": "D", "clean": "C"}


class SelectedAction(NamedTuple):
    """An action code and why it applies.

    Attributes
    ----------
    code
        Key of ``actions.ACTIONS``.
    reason
        What the manifest gives as the rule.
    option
        Option of the profile that decided; empty if none did.
    """

    code: str
    reason: str
    option: str = ""


def select_action(tag: BaseTag, profile: Profile) -> SelectedAction:
    """Select the action for an attribute.

    Parameters
    ----------
    tag
        Of the attribute.
    profile
        The rules in force.

    Returns
    -------
    SelectedAction
        The first that applies: private attributes; the profile's rule for this attribute; encrypted attributes;
        attributes that the standard does not know; the table with the options of the profile; attributes that the
        table does not name.
    """
    if tag.is_private:
        return SelectedAction("private", "table: X")
    special = profile.special_of(tag)
    if special is not None:
        return SelectedAction(_CODES_OF_SPECIAL[special.action], f"profile: {special.reason}")
    if tag == _ENCRYPTED_ATTRIBUTES:
        return SelectedAction("discard", "encrypted attributes cannot be checked")
    if tag in _REFERENCES:
        return SelectedAction("U", "references stay, with replaced UIDs")
    rule = rule_of(tag)
    if rule is not None:
        return _action_of_row(rule, profile)
    if not dictionary_has_tag(tag) and tag.group not in OVERLAYS:
        return SelectedAction("discard", "the standard does not define it")
    return SelectedAction("unlisted", "")


def _action_of_row(rule: Rule, profile: Profile) -> SelectedAction:
    """Apply the options of a profile to a row; an option that keeps wins over one that cleans."""
    in_force = [(name, rule.options[name]) for name in profile.options if name in rule.options]
    for code in ("K", "C"):
        for name, option_code in in_force:
            if option_code == code:
                return SelectedAction(code, f"option {name}", name)
    basic = "/".join(rule.basic)
    return SelectedAction(basic, f"table: {basic}")
