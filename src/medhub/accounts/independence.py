# SPDX-License-Identifier: Apache-2.0
"""Whether two people are independent of each other, for decisions that need two.

A second person who was given the account, the password or the role of an administrator by the first one may be the
first one again. So may two people who both have their accounts from a third.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.accounts.models import AccountGrant
from medhub.errors import NotAllowed
from medhub.foundation import clock, ids

GrantKind = Literal["account", "administrator", "password"]


class SecondPersonNeeded(NotAllowed):
    """A decision needs a second person who is independent of the first."""

    code = "second-person-needed"


def record_grant(session: Session, kind: GrantKind, user_id: str, by_id: str | None) -> None:
    """Note what a person was given, and by whom; ``by_id`` is empty for the command line."""
    if by_id == user_id:
        return
    session.add(AccountGrant(id=ids.new_id(), user_id=user_id, by_id=by_id or None, kind=kind, at=clock.now()))


def require_independent(session: Session, first_id: str, second_id: str, days: int, action: str) -> None:
    """Raise unless neither person could be acting for the other; ``days`` is how long a grant counts."""
    if first_id == second_id:
        raise SecondPersonNeeded("You requested this yourself; another person must decide.", action=action)
    since = clock.now() - timedelta(days=days)
    first, second = _grants_of(session, first_id), _grants_of(session, second_id)
    if any(grant.by_id == second_id for grant in first if grant.kind == "administrator") or any(
        grant.by_id == first_id for grant in second if grant.kind == "administrator"
    ):
        raise SecondPersonNeeded(
            "One of you made the other an administrator, so you do not count as two independent people. Ask another "
            "administrator, or have the operator confirm the role with `medhub user role`.",
            action=action,
        )
    if _givers(session, first_id, since) & _givers(session, second_id, since):
        raise SecondPersonNeeded(
            f"In the last {days} days one of you, or the same third person, gave the other an account, a password or "
            "the role of an administrator, so you do not count as two independent people. Ask another administrator, "
            "or have the operator confirm the role with `medhub user role`.",
            action=action,
        )


def _grants_of(session: Session, user_id: str) -> list[AccountGrant]:
    """What a person was given since the operator last confirmed the person."""
    grants = list(
        session.scalars(select(AccountGrant).where(AccountGrant.user_id == user_id).order_by(AccountGrant.at.desc()))
    )
    confirmed = next((grant.at for grant in grants if grant.by_id is None), None)
    return [grant for grant in grants if confirmed is None or grant.at > confirmed]


def _givers(session: Session, user_id: str, since: datetime) -> set[str]:
    """The person, those who lately gave the person something, those who gave these something, and so on."""
    known, remaining = {user_id}, [user_id]
    while remaining:
        for grant in _grants_of(session, remaining.pop()):
            if grant.at >= since and grant.by_id is not None and grant.by_id not in known:
                known.add(grant.by_id)
                remaining.append(grant.by_id)
    return known
