# SPDX-License-Identifier: Apache-2.0
"""SQL conditions on cases that depend on the pathways: what waits for a person, and what waits for a signature."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.foundation.settings import Settings
from medhub.records.models import Image
from medhub.records.pathway import all_pathways
from medhub.review.models import Case, Verdict
from medhub.review.rules import waiting_roles


def awaits_actor(settings: Settings, actor: Actor) -> Any:
    """The condition that a case waits for the actor: an act of the actor's role leads to the next stage."""
    conditions = []
    for pathway in all_pathways(settings).values():
        for stage in pathway.stages:
            roles = waiting_roles(pathway, stage.name)
            projects = [project for project, role in actor.roles.items() if role in roles]
            if projects:
                conditions.append(
                    (Case.pathway == pathway.name) & (Case.stage == stage.name) & Case.project_id.in_(projects)
                )
    condition: Any = Case.id.is_(None)
    for stage_condition in conditions:
        condition = condition | stage_condition
    return condition & Case.superseded.is_(False)


def waits_for_signature(settings: Settings) -> Any:
    """The condition that every image of a case has a verdict and only the signature waits."""
    stages: Any = Case.id.is_(None)
    for pathway in all_pathways(settings).values():
        for stage in pathway.stages:
            act = pathway.act(stage.name, "sign")
            if act is not None and "verdicts" in act.needs:
                stages = stages | ((Case.pathway == pathway.name) & (Case.stage == stage.name))
    pictures = select(Image.id).where(Image.study_id == Case.study_id, Image.shown_as == "image").correlate(Case)
    verdict = select(Verdict.image_id).where(Verdict.case_id == Case.id, Verdict.image_id == Image.id)
    unread = pictures.where((Image.state == "waiting") | ~verdict.correlate(Case, Image).exists())
    return stages & Case.superseded.is_(False) & pictures.exists() & ~unread.exists()
