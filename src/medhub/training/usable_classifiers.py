# SPDX-License-Identifier: Apache-2.0
"""Which classifiers the people of a project see and use: those of the operator, and those trained in their projects.

A classifier that was trained in a project is learned from its images, so that other projects do not see it until
somebody who belongs to both puts it into use there, or the operator installs it for everybody.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.classification import appointments
from medhub.classification.registry import Installed, all_installed, find_installed, trained_folder_of
from medhub.foundation.settings import Settings
from medhub.science.inference.card import ClassifierNotFound
from medhub.training.models import Promotion, TrainingRun


def visible_classifiers(session: Session, settings: Settings, project_ids: Collection[str]) -> list[Installed]:
    """The classifiers that people of some projects see."""
    hidden = _trained_elsewhere(session, project_ids)
    trained = trained_folder_of(settings).resolve()
    return [
        installed
        for installed in all_installed(settings)
        if installed.folder.parent != trained or installed.digest not in hidden
    ]


def find_visible(session: Session, settings: Settings, project_ids: Collection[str], digest: str) -> Installed:
    """A classifier that people of some projects see."""
    for installed in visible_classifiers(session, settings, project_ids):
        if installed.digest == digest:
            return installed
    find_installed(settings, digest)
    raise ClassifierNotFound(
        f"The classifier with the digest {digest[:8]} was trained in a project that you do not belong to.",
        classifier=digest,
    )


def require_usable(session: Session, settings: Settings, actor: Actor, project_id: str, digest: str) -> None:
    """Refuse a classifier that neither the project nor the actor may use."""
    if actor.is_command_line:
        return
    find_visible(session, settings, {project_id, *actor.projects("training.read")}, digest)


def _trained_elsewhere(session: Session, project_ids: Collection[str]) -> set[str]:
    """The digests of classifiers that were trained in other projects alone, and are not used in these."""
    runs = session.execute(select(TrainingRun.digest, TrainingRun.project_id).where(TrainingRun.digest.is_not(None)))
    trained: dict[str, set[str]] = {}
    for digest, project_id in runs:
        trained.setdefault(str(digest), set()).add(project_id)
    known = appointments.appointed_digests(session, project_ids) | set(
        session.scalars(select(Promotion.digest).where(Promotion.project_id.in_(project_ids)).distinct())
    )
    return {digest for digest, owners in trained.items() if not owners & set(project_ids)} - known
