# SPDX-License-Identifier: Apache-2.0
"""Use cases of projects and people."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from medhub.accounts.actor import Actor
from medhub.accounts.authentication import end_sign_ins
from medhub.accounts.independence import record_grant
from medhub.accounts.models import Membership, Project, User
from medhub.accounts.passwords import hash_password, verify_password
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation import clock, ids
from medhub.foundation.database import serialize_writers
from medhub.foundation.sorting import sort_clause


class UserNotFound(NotFound):
    """There is no such person in the projects of the person who asks."""

    code = "user-not-found"


class EmailTaken(Conflict):
    """Another account has this e-mail address."""

    code = "email-taken"


class ProjectNameTaken(Conflict):
    """Another project has this name."""

    code = "project-name-taken"


def add_project(session: Session, name: str, description: str = "", actor: Actor | None = None) -> Project:
    """Add a project; the person who adds it becomes its administrator."""
    name = name.strip()
    if not name:
        raise Invalid("A project needs a name.", field="name")
    serialize_writers(session, "project names")
    if session.scalar(select(Project.id).where(Project.name == name)) is not None:
        raise ProjectNameTaken(f"There is already a project named “{name}”. Choose another name.", field="name")
    project = Project(id=ids.new_id(), name=name, description=description, created_at=clock.now())
    session.add(project)
    session.flush()
    if actor is not None:
        session.add(Membership(user_id=actor.user_id, project_id=project.id, role=Role.ADMINISTRATOR))
        actor.record(session, "project.create", "project", project.id, project_id=project.id)
    return project


def get_project(session: Session, actor: Actor, project_id: str, action: str = "project.read") -> Project:
    """One of the actor's projects."""
    actor.require(action, project_id, "project")
    return session.get_one(Project, project_id)


def find_project(session: Session, id_or_name: str) -> Project:
    """Find a project by id or name; for the command line, which has all permissions."""
    project = session.scalars(
        select(Project).where((Project.id == id_or_name) | (Project.name == id_or_name))
    ).one_or_none()
    if project is None:
        names = session.scalars(select(Project.name).order_by(Project.name)).all()
        raise NotFound(
            f"There is no project “{id_or_name}”. " + (f"There are: {', '.join(names)}." if names else "Add one first.")
        )
    return project


def list_projects(
    session: Session, actor: Actor, *, query: str | None, sort: str | None, offset: int, limit: int
) -> tuple[list[Project], int]:
    """A page of the actor's projects."""
    statement = select(Project).where(Project.id.in_(actor.projects("project.read")))
    if query:
        statement = statement.where(func.lower(Project.name).contains(query.lower(), autoescape=True))
    total = session.scalar(select(func.count()).select_from(statement.subquery())) or 0
    order = sort_clause(sort, {"name": func.lower(Project.name), "created_at": Project.created_at}, "name")
    return list(session.scalars(statement.order_by(order, Project.id).offset(offset).limit(limit))), total


def change_project(
    session: Session,
    actor: Actor,
    project_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    erasure_by_two: bool | None = None,
) -> Project:
    """Change the name, the description or the rule of erasure of a project."""
    project = get_project(session, actor, project_id, "project.change")
    if name is not None and name.strip() != project.name:
        serialize_writers(session, "project names")
        if session.scalar(select(Project.id).where(Project.name == name.strip())) is not None:
            raise ProjectNameTaken(f"There is already a project named “{name}”. Choose another name.", field="name")
        project.name = name.strip()
    if description is not None:
        project.description = description
    if erasure_by_two is not None:
        project.erasure_by_two = erasure_by_two
    actor.record(session, "project.change", "project", project.id, project_id=project.id)
    return project


def delete_project(session: Session, actor: Actor, project_id: str) -> None:
    """Delete a project without records."""
    project = get_project(session, actor, project_id, "project.delete")
    try:
        session.delete(project)
        session.flush()
    except IntegrityError as error:
        raise Conflict(
            "The project still has records. Erase its patients first; the project was not deleted."
        ) from error
    actor.record(session, "project.delete", "project", project_id)


def add_user(
    session: Session,
    *,
    email: str,
    name: str,
    password: str,
    role: Role,
    project_id: str,
    actor: Actor | None = None,
) -> User:
    """Add a person with a role in a project; e-mail addresses are unique."""
    email = normalize_email(email)
    if actor is not None:
        actor.require("user.create", project_id, "project")
    password_hash = hash_password(password)  # before others wait for this
    serialize_writers(session, "e-mail addresses")
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        raise EmailTaken("There is already an account with this e-mail address.", field="email")
    user = User(id=ids.new_id(), email=email, name=name.strip(), password_hash=password_hash, created_at=clock.now())
    session.add(user)
    session.flush()
    session.add(Membership(user_id=user.id, project_id=project_id, role=Role(role)))
    session.flush()
    if actor is not None:
        record_grant(session, "account", user.id, actor.user_id)
        if role == Role.ADMINISTRATOR:
            record_grant(session, "administrator", user.id, actor.user_id)
        actor.record(session, "user.create", "user", user.id, project_id=project_id, role=role.value)
    return user


def find_user(session: Session, email: str) -> User:
    """Find a person by e-mail address; for the command line, which has all permissions."""
    user = session.scalars(select(User).where(User.email == normalize_email(email))).one_or_none()
    if user is None:
        raise UserNotFound("There is no account with this e-mail address. `medhub user add` adds one.")
    return user


def reset_password(session: Session, email: str, password: str) -> User:
    """Set a new password for a person, and end all sign-ins of the person."""
    user = find_user(session, email)
    user.password_hash = hash_password(password)
    end_sign_ins(session, user.id)
    return user


def assign_role(session: Session, email: str, project_id: str, role: Role) -> User:
    """Set the role of a person in a project."""
    user = find_user(session, email)
    membership = session.get(Membership, (user.id, project_id))
    if membership is None:
        session.add(Membership(user_id=user.id, project_id=project_id, role=role))
    else:
        membership.role = role
    # The operator knows the person: earlier grants by other people do not make a second person dependent any more.
    record_grant(session, "administrator" if role == Role.ADMINISTRATOR else "account", user.id, None)
    return user


def normalize_email(email: str) -> str:
    """Normalize an e-mail address for comparison."""
    email = email.strip().lower()
    local, at, host = email.partition("@")
    if not local or not at or not host or any(c.isspace() for c in email) or len(email) > 254:
        raise Invalid("That is not an e-mail address.", field="email")
    return email


def list_users(
    session: Session,
    actor: Actor,
    *,
    query: str | None,
    role: Role | None,
    active: bool | None,
    project_id: str | None,
    sort: str | None,
    offset: int,
    limit: int,
) -> tuple[list[User], int]:
    """A page of the people in the projects that the actor administers."""
    projects = actor.projects("user.read", project_id)
    member = select(Membership.user_id).where(Membership.project_id.in_(projects))
    if role is not None:
        member = member.where(Membership.role == role)
    statement = select(User).where(User.id.in_(member))
    if active is not None:
        statement = statement.where(User.active == active)
    if query:
        lowered = query.lower()
        statement = statement.where(
            func.lower(User.name).contains(lowered, autoescape=True) | User.email.contains(lowered, autoescape=True)
        )
    total = session.scalar(select(func.count()).select_from(statement.subquery())) or 0
    columns = {
        "name": func.lower(User.name),
        "email": User.email,
        "created_at": User.created_at,
        "last_seen_at": User.last_seen_at,
        "active": User.active,
    }
    page = statement.order_by(sort_clause(sort, columns, "name"), User.id).offset(offset).limit(limit)
    return list(session.scalars(page.options(_with_memberships()))), total


def get_user(session: Session, actor: Actor, user_id: str, action: str = "user.read") -> User:
    """A person in a project that the actor administers."""
    user = session.scalars(select(User).where(User.id == user_id).options(_with_memberships())).one_or_none()
    if user is None or not any(actor.may(action, m.project_id) for m in user.memberships):
        raise UserNotFound("There is no such person in your projects.")
    return user


def _with_memberships() -> selectinload:  # type: ignore[valid-type]
    return selectinload(User.memberships).joinedload(Membership.project)


def _require_in_all_projects(actor: Actor, user: User, action: str) -> None:
    """Require a permission in all projects of a person, for changes that affect the account."""
    if not all(actor.may(action, m.project_id) for m in user.memberships):
        raise NotAllowed(
            "This person belongs to projects that you do not administer. "
            "Remove the person from your project instead, or ask the other administrator.",
            action=action,
        )


def change_user(
    session: Session,
    actor: Actor,
    user_id: str,
    *,
    name: str | None = None,
    email: str | None = None,
    active: bool | None = None,
    password: str | None = None,
) -> User:
    """Change an account; a new password or a deactivation ends all sign-ins of the person."""
    user = get_user(session, actor, user_id, "user.change")
    _require_in_all_projects(actor, user, "user.change")
    changed = []
    if name is not None and name.strip() != user.name:
        user.name = name.strip()
        changed.append("name")
    if email is not None and normalize_email(email) != user.email:
        serialize_writers(session, "e-mail addresses")
        if session.scalar(select(User.id).where(User.email == normalize_email(email))) is not None:
            raise EmailTaken("There is already an account with this e-mail address.", field="email")
        user.email = normalize_email(email)
        changed.append("email")
    if active is not None and active != user.active:
        if not active:
            _require_other_administrator(session, user)
        user.active = active
        changed.append("active")
    if password is not None:
        user.password_hash = hash_password(password)
        record_grant(session, "password", user.id, actor.user_id)
        changed.append("password")
    if not user.active or password is not None:
        end_sign_ins(session, user.id)
    actor.record(session, "user.change", "user", user.id, project_id=_shared_project(actor, user), changed=changed)
    return user


def set_role(session: Session, actor: Actor, user_id: str, project_id: str, role: Role) -> User:
    """Set the role of a person in a project."""
    actor.require("user.change", project_id, "project")
    user = get_user(session, actor, user_id, "user.change")
    was_administrator = any(m.project_id == project_id and m.role == Role.ADMINISTRATOR for m in user.memberships)
    if role == Role.ADMINISTRATOR and not was_administrator:
        record_grant(session, "administrator", user.id, actor.user_id)
    for membership in user.memberships:
        if membership.project_id == project_id:
            if membership.role == Role.ADMINISTRATOR and role != Role.ADMINISTRATOR:
                _require_other_administrator(session, user, project_id)
            membership.role = role
            break
    else:
        session.add(Membership(user_id=user.id, project_id=project_id, role=role))
    session.flush()
    session.expire(user, ["memberships"])
    actor.record(session, "user.change", "user", user.id, project_id=project_id, role=role.value)
    return get_user(session, actor, user_id)


def remove_role(session: Session, actor: Actor, user_id: str, project_id: str) -> None:
    """Remove a person from a project."""
    actor.require("user.change", project_id, "project")
    user = get_user(session, actor, user_id, "user.change")
    _require_other_administrator(session, user, project_id)
    if all(membership.project_id == project_id for membership in user.memberships):
        # Nobody could administer the account any more, and its e-mail address could not be used again.
        raise Conflict("This is the person's only project. Deactivate or delete the account instead.")
    session.execute(delete(Membership).where(Membership.user_id == user.id, Membership.project_id == project_id))
    actor.record(session, "user.change", "user", user.id, project_id=project_id, role=None)


def delete_user(session: Session, actor: Actor, user_id: str) -> None:
    """Delete an account without recorded acts on patient data; other accounts can only be deactivated."""
    user = get_user(session, actor, user_id, "user.delete")
    _require_in_all_projects(actor, user, "user.delete")
    if user.id == actor.user_id:
        raise Conflict("You cannot delete your own account. Ask another administrator.")
    _require_other_administrator(session, user)
    has_acted = session.scalar(
        select(AuditEntry.seq)
        .where(AuditEntry.actor_id == user.id, AuditEntry.patient_id.is_not(None), AuditEntry.outcome == "done")
        .limit(1)
    )
    if has_acted is not None:
        raise Conflict(
            "This person has worked on patient data, and the account must stay to identify the person in the audit "
            "log. Deactivate it instead, so that nobody can sign in with it."
        )
    project_id = _shared_project(actor, user)
    session.delete(user)
    actor.record(session, "user.delete", "user", user_id, project_id=project_id)


def _shared_project(actor: Actor, user: User) -> str | None:
    return next((m.project_id for m in user.memberships if m.project_id in actor.roles), None)


def _require_other_administrator(session: Session, user: User, project_id: str | None = None) -> None:
    """Require that a project has another active administrator; changes of its administrators wait for each other."""
    for membership in sorted(user.memberships, key=lambda membership: membership.project_id):
        if membership.role != Role.ADMINISTRATOR or (project_id is not None and membership.project_id != project_id):
            continue
        serialize_writers(session, f"administrators of {membership.project_id}")
        others = session.scalar(
            select(func.count())
            .select_from(Membership)
            .join(User, User.id == Membership.user_id)
            .where(
                Membership.project_id == membership.project_id,
                Membership.role == Role.ADMINISTRATOR,
                Membership.user_id != user.id,
                User.active,
            )
        )
        if not others:
            raise Conflict("A project needs an active administrator, and this is the last one. Appoint another first.")


def change_own_password(session: Session, actor: Actor, current: str, new: str) -> None:
    """Change the actor's own password, and end all other sign-ins."""
    user = session.get_one(User, actor.user_id)
    if not verify_password(current, user.password_hash):
        raise Invalid("The current password is not right.", field="current")
    user.password_hash = hash_password(new)
    end_sign_ins(session, user.id, except_id=actor.sign_in_id)
    actor.record(session, "account.change", "account", user.id, changed=["password"])


def user_names(session: Session, user_ids: Iterable[str]) -> dict[str, str]:
    """The names of people by id."""
    unique_ids = set(user_ids)
    if not unique_ids:
        return {}
    return dict(session.execute(select(User.id, User.name).where(User.id.in_(unique_ids))).all())


def has_users(session: Session) -> bool:
    """Whether anybody has an account."""
    return session.scalar(select(User.id).limit(1)) is not None


def list_members(session: Session, project_ids: frozenset[str]) -> frozenset[str]:
    """The ids of everybody in some projects."""
    return frozenset(session.scalars(select(Membership.user_id).where(Membership.project_id.in_(project_ids))))
