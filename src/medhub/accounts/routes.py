# SPDX-License-Identifier: Apache-2.0
"""Routes of sign-in, people and projects."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Form, Path, Query, Request, Response

from medhub.accounts import authentication, service
from medhub.accounts.access import (
    COOKIE,
    PUBLIC,
    SECURE_COOKIE,
    Call,
    allow,
    csrf_token,
    origin_of,
    secret_in_cookie,
)
from medhub.accounts.actor import Actor
from medhub.accounts.models import Project
from medhub.accounts.passwords import new_password
from medhub.accounts.permissions import Role
from medhub.accounts.schemas import (
    Me,
    OwnMembership,
    PasswordChange,
    ProjectChange,
    ProjectCreate,
    ProjectOut,
    RoleChange,
    SignInRequest,
    Token,
    UserBrief,
    UserChange,
    UserCreate,
    UserCreated,
    UserOut,
)
from medhub.foundation.app_context import AppContext
from medhub.foundation.http import Id, Page, Paging, Text

auth = APIRouter(prefix="/api/auth", tags=["sign in"])
people = APIRouter(prefix="/api/users", tags=["people"])
projects = APIRouter(prefix="/api/projects", tags=["projects"])

ItemId = Annotated[Id, Path(description="Id of the object.")]


def _accepts_secure_cookie(request: Request) -> bool:
    """Whether browsers return a Secure cookie: with HTTPS, and on the same machine."""
    return request.url.scheme == "https" or request.url.hostname in {"127.0.0.1", "localhost", "::1"}


def _build_me(app: AppContext, actor: Actor) -> Me:
    return Me(
        user=UserBrief(id=actor.user_id, email=actor.email, name=actor.name),
        csrf_token=csrf_token(app, actor.sign_in_id),
        memberships=[
            OwnMembership.of(project_id, actor.project_names[project_id], role)
            for project_id, role in sorted(actor.roles.items(), key=lambda item: actor.project_names[item[0]].lower())
        ],
    )


async def _sign_in(
    request: Request, email: str, password: str, kind: authentication.Kind, previous: str | None = None
) -> str:
    """Sign in on one of a few reserved threads, so that many attempts do not block other requests."""
    app: AppContext = request.app.state.app_context
    secret, _user = await to_thread.run_sync(
        authentication.sign_in,
        app,
        email,
        password,
        kind,
        origin_of(request),
        previous,
        limiter=request.app.state.password_limiter,
    )
    return secret


@auth.post("/session", dependencies=[PUBLIC], summary="Sign in with a browser")
async def open_session(request: Request, response: Response, given: SignInRequest) -> Me:
    """Check an e-mail address and a password, and set the cookie of the sign-in; the browser's earlier sign-in ends."""
    app: AppContext = request.app.state.app_context
    previous = secret_in_cookie(request)
    secret = await _sign_in(request, given.email, given.password, "browser", previous)
    if previous is not None:
        request.app.state.sign_in_cache.invalidate()
    actor = await to_thread.run_sync(_load_browser_actor, app, secret)
    secure = _accepts_secure_cookie(request)
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        secret,
        max_age=app.settings.session_hours * 3600,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return _build_me(app, actor)


def _load_browser_actor(app: AppContext, secret: str) -> Actor:
    with app.database.reading() as session:
        return authentication.load_browser_actor(session, secret)


@auth.get("/session", summary="Who is signed in")
def read_session(call: Annotated[Call, allow("account.read")]) -> Me:
    """The person, the roles, and the CSRF token that every change must send."""
    return _build_me(call.app, call.actor)


@auth.delete("/session", status_code=204, summary="Sign out")
def close_session(call: Annotated[Call, allow("account.read")], response: Response) -> None:
    """End the sign-in; its cookie is no longer valid."""
    with call.writing() as session:
        authentication.sign_out(session, call.actor)
    call.sign_in_cache.invalidate()
    response.headers["Clear-Site-Data"] = '"cache"'
    response.delete_cookie(SECURE_COOKIE, secure=True, httponly=True, samesite="strict")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@auth.post("/password", status_code=204, summary="Change your password")
def change_password(call: Annotated[Call, allow("account.change")], given: PasswordChange) -> None:
    """Change your own password; all your other sign-ins end."""
    authentication.check_own_password(call.app, call.actor, given.current)
    with call.writing() as session:
        service.change_own_password(session, call.actor, given.current, given.new)
    call.sign_in_cache.invalidate()


@auth.post("/token", dependencies=[PUBLIC], summary="Get a token for an API client")
async def open_token(
    request: Request,
    username: Annotated[Text, Form(max_length=254, description="The e-mail address.")],
    password: Annotated[Text, Form(max_length=256)],
    grant_type: Annotated[Text, Form(pattern="^password$")] = "password",
    scope: Annotated[Text, Form(max_length=200, description="Not used.")] = "",
) -> Token:
    """The OAuth2 password form; the token is sent as ``Authorization: Bearer``."""
    app: AppContext = request.app.state.app_context
    token = await _sign_in(request, username, password, "token")
    return Token(access_token=token, expires_in=app.settings.token_minutes * 60)


@auth.post("/revoke", status_code=204, summary="Revoke the token in use")
def revoke(call: Annotated[Call, allow("account.read")]) -> None:
    """End the sign-in of this request."""
    with call.writing() as session:
        authentication.sign_out(session, call.actor)
    call.sign_in_cache.invalidate()


@people.get("", summary="People")
def list_users(
    call: Annotated[Call, allow("user.read")],
    paging: Paging,
    role: Role | None = None,
    active: bool | None = None,
    project_id: Annotated[Id | None, Query()] = None,
) -> Page[UserOut]:
    """The people in the projects that you administer."""
    visible = call.actor.projects("user.read", project_id)
    with call.reading() as session:
        users, total = service.list_users(
            session,
            call.actor,
            query=paging.query,
            role=role,
            active=active,
            project_id=project_id,
            sort=paging.sort,
            offset=paging.offset,
            limit=paging.page_size,
        )
        return paging.of([UserOut.of(user, visible) for user in users], total)


@people.post("", status_code=201, summary="Add a person")
def create_user(call: Annotated[Call, allow("user.create")], given: UserCreate) -> UserCreated:
    """Add a person with a role in a project."""
    project_id = call.actor.choose_project("user.create", given.project_id or given.project)
    generated = None if given.password else new_password()
    with call.writing() as session:
        user = service.add_user(
            session,
            email=given.email,
            name=given.name,
            password=given.password or generated or "",
            role=given.role,
            project_id=project_id,
            actor=call.actor,
        )
        session.expire(user, ["memberships"])
        out = UserOut.of(service.get_user(session, call.actor, user.id), call.actor.projects("user.read"))
        return UserCreated(**out.model_dump(), generated_password=generated)


@people.get("/{id}", summary="One person")
def read_user(call: Annotated[Call, allow("user.read")], id: ItemId) -> UserOut:
    """A person in a project that you administer."""
    with call.reading() as session:
        return UserOut.of(service.get_user(session, call.actor, id), call.actor.projects("user.read"))


@people.patch("/{id}", summary="Change a person")
def change_user(call: Annotated[Call, allow("user.change")], id: ItemId, given: UserChange) -> UserOut:
    """Change name, e-mail address, password or role, or deactivate; omitted values stay."""
    with call.writing() as session:
        account = given.model_dump(exclude={"role", "project_id"}, exclude_none=True)
        if account:
            service.change_user(session, call.actor, id, **account)
        if given.role is not None:
            project_id = call.actor.choose_project("user.change", given.project_id)
            service.set_role(session, call.actor, id, project_id, given.role)
        user = service.get_user(session, call.actor, id)
        out = UserOut.of(user, call.actor.projects("user.read"))
    call.sign_in_cache.invalidate()
    return out


@people.delete("/{id}", status_code=204, summary="Delete a person")
def delete_user(call: Annotated[Call, allow("user.delete")], id: ItemId) -> None:
    """Delete an account without recorded acts on patient data; deactivate other accounts instead."""
    with call.writing() as session:
        service.delete_user(session, call.actor, id)
    call.sign_in_cache.invalidate()


@people.put("/{id}/memberships/{project_id}", summary="Give a role in a project")
def put_membership(
    call: Annotated[Call, allow("user.change")], id: ItemId, project_id: ItemId, given: RoleChange
) -> UserOut:
    """Set the role of a person in a project."""
    with call.writing() as session:
        user = service.set_role(session, call.actor, id, project_id, given.role)
        out = UserOut.of(user, call.actor.projects("user.read"))
    call.sign_in_cache.invalidate()
    return out


@people.delete("/{id}/memberships/{project_id}", status_code=204, summary="Remove from a project")
def delete_membership(call: Annotated[Call, allow("user.change")], id: ItemId, project_id: ItemId) -> None:
    """Remove a person from a project."""
    with call.writing() as session:
        service.remove_role(session, call.actor, id, project_id)
    call.sign_in_cache.invalidate()


def _project_out(actor: Actor, project: Project) -> ProjectOut:
    return ProjectOut(
        id=project.id,
        name=project.name,
        description=project.description,
        erasure_by_two=project.erasure_by_two,
        created_at=project.created_at,
        my_role=actor.roles.get(project.id, Role.ADMINISTRATOR),
    )


@projects.get("", summary="Projects")
def list_projects(call: Annotated[Call, allow("project.read")], paging: Paging) -> Page[ProjectOut]:
    """The projects that you belong to."""
    with call.reading() as session:
        page, total = service.list_projects(
            session, call.actor, query=paging.query, sort=paging.sort, offset=paging.offset, limit=paging.page_size
        )
        return paging.of([_project_out(call.actor, project) for project in page], total)


@projects.post("", status_code=201, summary="Add a project")
def create_project(call: Annotated[Call, allow("project.create")], given: ProjectCreate) -> ProjectOut:
    """Add a project and become its administrator."""
    with call.writing() as session:
        project = service.add_project(session, given.name, given.description, call.actor)
        out = _project_out(call.actor, project)
    call.sign_in_cache.invalidate()
    return out


@projects.get("/{id}", summary="One project")
def read_project(call: Annotated[Call, allow("project.read")], id: ItemId) -> ProjectOut:
    """A project that you belong to."""
    with call.reading() as session:
        return _project_out(call.actor, service.get_project(session, call.actor, id))


@projects.patch("/{id}", summary="Change a project")
def change_project(call: Annotated[Call, allow("project.change")], id: ItemId, given: ProjectChange) -> ProjectOut:
    """Change the name, the description or the rule of erasure of a project."""
    with call.writing() as session:
        project = service.change_project(
            session,
            call.actor,
            id,
            name=given.name,
            description=given.description,
            erasure_by_two=given.erasure_by_two,
        )
        out = _project_out(call.actor, project)
    call.sign_in_cache.invalidate()
    return out


@projects.delete("/{id}", status_code=204, summary="Delete a project")
def delete_project(call: Annotated[Call, allow("project.delete")], id: ItemId) -> None:
    """Delete a project without records."""
    with call.writing() as session:
        service.delete_project(session, call.actor, id)
    call.sign_in_cache.invalidate()
