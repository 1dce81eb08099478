# SPDX-License-Identifier: Apache-2.0
"""Which profile a project de-identifies by: one that ships, or its own; every version that ever held is kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid
from medhub.foundation import clock, ids
from medhub.ingest.models import ProjectProfile
from medhub.science.deid.profile import DEFAULT_PROFILE, PROFILES, Profile, read_profile

MOST_TEXT = 100_000


@dataclass(frozen=True)
class ProjectProfileChoice:
    """The profile that holds for a project."""

    profile: Profile
    digest: str
    text: str
    keep_identity: bool = False
    row: ProjectProfile | None = None


def shipped_text(name: str) -> str:
    """The text of a profile that ships; ``Invalid`` names those that there are."""
    paths = {path.stem: path for path in sorted(PROFILES.glob("*.toml"))}
    if name not in paths:
        raise Invalid(f"There is no profile “{name}”. There are: {', '.join(paths)}.", field="name")
    return paths[name].read_text(encoding="utf-8")


def profile_of(session: Session, project_id: str) -> ProjectProfileChoice:
    """The profile that a project chose last, or the one that holds where none was chosen."""
    row = session.scalars(
        select(ProjectProfile)
        .where(ProjectProfile.project_id == project_id)
        .order_by(ProjectProfile.chosen_at.desc(), ProjectProfile.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        text = shipped_text(DEFAULT_PROFILE)
        return ProjectProfileChoice(read_profile(text), _digest(text), text)
    return ProjectProfileChoice(read_profile(row.text, row.name), row.digest, row.text, row.keep_identity, row)


def profiles_of(session: Session, actor: Actor, project_id: str) -> tuple[ProjectProfileChoice, list[ProjectProfile]]:
    """The profile that holds for a project, and all that it ever chose, newest first."""
    actor.require("project.read", project_id, "project")
    rows = session.scalars(
        select(ProjectProfile)
        .where(ProjectProfile.project_id == project_id)
        .order_by(ProjectProfile.chosen_at.desc(), ProjectProfile.id.desc())
    )
    return profile_of(session, project_id), list(rows)


def choose_profile(
    session: Session,
    actor: Actor,
    project_id: str,
    *,
    name: str | None = None,
    text: str | None = None,
    keep_identity: bool = False,
) -> ProjectProfileChoice:
    """Have a project de-identify by another profile from now on; what lies there already stays as it is."""
    actor.require("profile.choose", project_id, "project")
    if (name is None) == (text is None):
        raise Invalid("Say either the name of a profile that ships, or the text of your own.", field="name")
    if text is None:
        text = shipped_text(name or "")
    if len(text) > MOST_TEXT:
        raise Invalid(f"The profile has {len(text):,} characters; at most {MOST_TEXT:,} are taken.", field="text")
    profile, digest = read_profile(text), _digest(text)
    other = session.scalars(
        select(ProjectProfile.id)
        .where(
            ProjectProfile.project_id == project_id,
            ProjectProfile.name == profile.name,
            ProjectProfile.version == profile.version,
            ProjectProfile.digest != digest,
        )
        .limit(1)
    ).one_or_none()
    if other is not None:
        raise Conflict(
            f"There was a profile {profile.name} {profile.version} with another text here, which objects name. "
            f"Give this one the version {profile.version + 1}, or another name.",
            field="text",
        )
    row = ProjectProfile(
        id=ids.new_id(),
        project_id=project_id,
        name=profile.name,
        version=profile.version,
        digest=digest,
        text=text,
        keep_identity=keep_identity,
        by=actor.name[:120],
        chosen_at=clock.now(),
    )
    session.add(row)
    session.flush()
    actor.record(
        session,
        "profile.choose",
        "project",
        project_id,
        project_id=project_id,
        profile=profile.name,
        version=profile.version,
        digest=digest,
        keep_identity=keep_identity,
    )
    return ProjectProfileChoice(profile, digest, text, keep_identity, row)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
