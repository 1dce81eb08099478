# SPDX-License-Identifier: Apache-2.0
"""Which classifier reads the images of a pathway in a project: in use, with its predictions shown, or in the shadow."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.classification.models import Appointment
from medhub.classification.registry import Installed, all_installed, find_installed, get_classifier
from medhub.errors import Conflict, Invalid
from medhub.foundation import clock, ids
from medhub.foundation.database import serialize_writers
from medhub.foundation.settings import Settings
from medhub.records.pathway import Pathway, all_pathways

Part = Literal["in use", "shadow"]
IN_USE: Part = "in use"
SHADOW: Part = "shadow"


class LabelsDiffer(Invalid):
    """The classifier's labels are not those that the pathway counts."""

    code = "labels-differ"


class AlreadyAppointed(Conflict):
    """The classifier has this part already."""

    code = "already-appointed"


class NothingBefore(Conflict):
    """There is no earlier classifier to go back to."""

    code = "nothing-before"


def lock(session: Session, project_id: str, pathway: Pathway) -> None:
    """Let changes of the classifiers of a pathway in a project run one after the other."""
    serialize_writers(session, f"pathway {pathway.name} of {project_id}")


def current(session: Session, project_id: str, pathway: str, part: Part) -> Appointment | None:
    """The appointment to a part now; without one in use, the pathway's own classifier is in use."""
    chosen = select(Appointment).where(
        Appointment.project_id == project_id,
        Appointment.pathway == pathway,
        Appointment.part == part,
        Appointment.until.is_(None),
    )
    return session.scalars(chosen).one_or_none()


def history(session: Session, project_id: str, pathway: str) -> list[Appointment]:
    """The appointments to the parts of a pathway in a project, the latest first."""
    chosen = select(Appointment).where(Appointment.project_id == project_id, Appointment.pathway == pathway)
    return list(session.scalars(chosen.order_by(Appointment.since.desc(), Appointment.id.desc())))


def of_classifier(session: Session, digest: str, project_ids: Collection[str]) -> list[Appointment]:
    """Which parts a classifier has and had in some projects, the latest first."""
    chosen = select(Appointment).where(Appointment.digest == digest, Appointment.project_id.in_(project_ids))
    return list(session.scalars(chosen.order_by(Appointment.since.desc(), Appointment.id.desc())))


def appointed_digests(session: Session, project_ids: Collection[str]) -> set[str]:
    """The digests of the classifiers that have or had a part in some projects."""
    return set(session.scalars(select(Appointment.digest).where(Appointment.project_id.in_(project_ids)).distinct()))


def digest_in_use(session: Session, settings: Settings, project_id: str, pathway: Pathway) -> str:
    """The digest of the classifier that is in use on a pathway in a project."""
    appointed = current(session, project_id, pathway.name, IN_USE)
    return appointed.digest if appointed is not None else get_classifier(settings, pathway.classifier).digest


def by_digest(session: Session, settings: Settings, project_ids: Collection[str]) -> dict[tuple[str, Part], list[str]]:
    """The pathways on which each classifier has each part now in some projects, each pathway once."""
    statement = select(Appointment).where(Appointment.project_id.in_(project_ids), Appointment.until.is_(None))
    appointed = {(row.project_id, row.pathway, row.part): row.digest for row in session.scalars(statement)}
    pathways: dict[tuple[str, Part], list[str]] = {}
    parts: tuple[Part, Part] = (IN_USE, SHADOW)
    for pathway in all_pathways(settings).values():
        for part in parts:
            digests = {appointed.get((project_id, pathway.name, part)) for project_id in project_ids}
            if part == IN_USE and None in digests:
                digests.add(_own_digest(settings, pathway))
            for digest in digests - {None}:
                if digest is not None:
                    pathways.setdefault((digest, part), []).append(pathway.name)
    return pathways


def _own_digest(settings: Settings, pathway: Pathway) -> str | None:
    """The digest of the pathway's own classifier, if it is installed; it need not be loaded for that."""
    return next(
        (installed.digest for installed in all_installed(settings) if installed.folder.name == pathway.classifier), None
    )


def check_labels(pathway: Pathway, labels: tuple[str, ...]) -> None:
    """Refuse a classifier that says what the pathway does not know, or cannot say what it counts."""
    counted = set(pathway.labels) - set(pathway.not_counted)
    if unknown := sorted(set(labels) - set(pathway.labels)):
        raise LabelsDiffer(f"The pathway {pathway.name} has no label {', '.join(unknown)}.", field="digest")
    if missing := sorted(counted - set(labels)):
        raise LabelsDiffer(
            f"The classifier cannot say {', '.join(missing)}, which the pathway {pathway.name} counts.", field="digest"
        )


def appoint(
    session: Session, actor: Actor, settings: Settings, project_id: str, pathway: Pathway, digest: str, part: Part
) -> tuple[Appointment, Installed]:
    """Give a classifier a part on a pathway in a project, instead of the present one; it reads new images from now."""
    installed = find_installed(settings, digest)
    check_labels(pathway, installed.card.labels)
    lock(session, project_id, pathway)
    before = current(session, project_id, pathway.name, part)
    in_use = digest_in_use(session, settings, project_id, pathway)
    if digest == in_use or (before is not None and before.digest == digest):
        raise AlreadyAppointed(f"{installed.card.name} reads the images of {pathway.name} already.")
    shadow = current(session, project_id, pathway.name, SHADOW)
    if part == IN_USE and shadow is not None and shadow.digest == digest:
        shadow.until = clock.now()
    appointed = _put(session, actor, project_id, pathway, (installed.card.name, digest), part, before, before)
    return appointed, installed


def _put(
    session: Session,
    actor: Actor,
    project_id: str,
    pathway: Pathway,
    classifier: tuple[str, str],
    part: Part,
    ends: Appointment | None,
    replaces: Appointment | None,
) -> Appointment:
    moment = clock.now()
    if ends is not None:
        ends.until = moment
    session.flush()
    appointed = Appointment(
        id=ids.new_id(),
        project_id=project_id,
        pathway=pathway.name,
        part=part,
        classifier=classifier[0],
        digest=classifier[1],
        since=moment,
        by_id=actor.user_id,
        by=actor.name,
        replaces_id=replaces.id if replaces is not None else None,
    )
    session.add(appointed)
    session.flush()
    return appointed


def end_shadow(session: Session, actor: Actor, project_id: str, pathway: Pathway) -> Appointment:
    """End the shadow mode of a pathway in a project; the predictions so far stay."""
    actor.require("classifier.shadow", project_id, "project")
    lock(session, project_id, pathway)
    shadow = current(session, project_id, pathway.name, SHADOW)
    if shadow is None:
        raise NothingBefore(f"No classifier reads in the shadow on {pathway.name}.")
    shadow.until = clock.now()
    actor.record(session, "classifier.end-shadow", "pathway", pathway.name, project_id=project_id, digest=shadow.digest)
    return shadow


def can_roll_back(session: Session, settings: Settings, project_id: str, pathway: Pathway) -> bool:
    """Whether another classifier was in use before."""
    now = current(session, project_id, pathway.name, IN_USE)
    return now is not None and (now.replaces_id is not None or now.digest != _own_digest(settings, pathway))


def roll_back(session: Session, actor: Actor, settings: Settings, project_id: str, pathway: Pathway) -> Appointment:
    """Bring back the classifier that was in use in a project before this one; done again, the one before that."""
    actor.require("classifier.roll-back", project_id, "project")
    lock(session, project_id, pathway)
    now = current(session, project_id, pathway.name, IN_USE)
    own = get_classifier(settings, pathway.classifier)
    if now is None or (now.replaces_id is None and now.digest == own.digest):
        raise NothingBefore(f"No other classifier was in use on {pathway.name} before.")
    before = session.get(Appointment, now.replaces_id) if now.replaces_id is not None else None
    if before is not None:
        installed = find_installed(settings, before.digest)
        check_labels(pathway, installed.card.labels)
        name, digest = before.classifier, before.digest
        earlier = session.get(Appointment, before.replaces_id) if before.replaces_id is not None else None
    else:
        name, digest, earlier = own.card.name, own.digest, None
    appointed = _put(session, actor, project_id, pathway, (name, digest), IN_USE, now, earlier)
    actor.record(
        session,
        "classifier.roll-back",
        "pathway",
        pathway.name,
        project_id=project_id,
        digest=digest,
        instead_of=now.digest,
    )
    return appointed
