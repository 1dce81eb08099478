# SPDX-License-Identifier: Apache-2.0
"""The table of permissions: the roles that may do each action. Everything else is forbidden."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """The role of a person in a project."""

    PATIENT = "patient"
    TECHNOLOGIST = "technologist"
    PHYSICIAN = "physician"
    PHARMACIST = "pharmacist"
    RESEARCHER = "researcher"
    VIEWER = "viewer"
    ADMINISTRATOR = "administrator"


_CARE = frozenset({Role.TECHNOLOGIST, Role.PHYSICIAN, Role.ADMINISTRATOR})
_READERS = frozenset(Role) - {Role.PATIENT}
_ANYONE = frozenset(Role)
_ADMINISTRATOR = frozenset({Role.ADMINISTRATOR})
_RESEARCH = frozenset({Role.RESEARCHER, Role.ADMINISTRATOR})

# Actions on the own account are allowed without any project, for example to sign out.
OWN_ACCOUNT_ACTIONS = frozenset({"account.read", "account.change"})

PERMISSIONS: dict[str, frozenset[Role]] = {
    # All members, including patients.
    "account.read": _ANYONE,
    "account.change": _ANYONE,
    "project.read": _ANYONE,
    "pathway.read": _ANYONE,
    # Projects and people.
    "project.create": _ADMINISTRATOR,
    "project.change": _ADMINISTRATOR,
    "project.delete": _ADMINISTRATOR,
    "user.read": _ADMINISTRATOR,
    "user.create": _ADMINISTRATOR,
    "user.change": _ADMINISTRATOR,
    "user.delete": _ADMINISTRATOR,
    "audit.read": _ADMINISTRATOR,
    # Records.
    "patient.read": _READERS,
    "patient.create": _CARE,
    "patient.change": _CARE,
    "patient.delete": _ADMINISTRATOR,
    "patient.erase": _ADMINISTRATOR,
    "erasure.read": _ADMINISTRATOR,
    "identity.read": _CARE,
    "identity.change": _CARE,
    "study.read": _READERS,
    "study.create": _CARE,
    "study.change": _CARE,
    "study.delete": _ADMINISTRATOR,
    "field.read": _READERS,
    "field.define": frozenset({Role.TECHNOLOGIST, Role.PHYSICIAN, Role.RESEARCHER, Role.ADMINISTRATOR}),
    "dashboard.read": _READERS,
    # Images. Each pathway restricts who uploads, gives verdicts and signs.
    "image.read": _READERS,
    "image.upload": _CARE,
    "image.delete": frozenset({Role.TECHNOLOGIST, Role.ADMINISTRATOR}),
    "image.move": frozenset({Role.TECHNOLOGIST, Role.ADMINISTRATOR}),
    "arrival.read": _CARE,
    "arrival.resolve": frozenset({Role.TECHNOLOGIST, Role.ADMINISTRATOR}),
    "profile.choose": _ADMINISTRATOR,
    "profile.preview": frozenset({Role.TECHNOLOGIST, Role.RESEARCHER, Role.ADMINISTRATOR}),
    "worklist.read": _CARE,
    "worklist.change": _CARE,
    "peer.read": _ADMINISTRATOR,
    "peer.change": _ADMINISTRATOR,
    "classifier.read": _READERS,
    # Review and reports.
    "case.read": _READERS,
    "verdict.give": frozenset({Role.PHYSICIAN, Role.PHARMACIST, Role.TECHNOLOGIST, Role.ADMINISTRATOR}),
    "case.sign": frozenset({Role.PHYSICIAN, Role.PHARMACIST, Role.TECHNOLOGIST, Role.ADMINISTRATOR}),
    "case.correct": frozenset({Role.PHYSICIAN}),
    "report.read": _READERS,
    # Exports.
    "export.read": _RESEARCH,
    "export.create": _RESEARCH,
    "export.clear": _ADMINISTRATOR,
    # Training and promotion of classifiers.
    "dataset.read": _RESEARCH,
    "dataset.create": _RESEARCH,
    "training.read": _RESEARCH,
    "training.run": _RESEARCH,
    "classifier.shadow": _RESEARCH,
    "promotion.request": _RESEARCH,
    "promotion.decide": _ADMINISTRATOR,
    "limits.change": _ADMINISTRATOR,
    "classifier.roll-back": _ADMINISTRATOR,
}


def permitted_actions(role: Role) -> list[str]:
    """The actions that a role permits in its project, sorted."""
    return sorted(action for action, roles in PERMISSIONS.items() if role in roles)
