# SPDX-License-Identifier: Apache-2.0
"""Signing in by cookie and by token, what ends a sign-in, and what guessing leads to."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import jwt
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from medhub.accounts import authentication, sign_in_throttle
from medhub.accounts.models import FailedSignIn, SignIn, User
from medhub.accounts.passwords import verify_password
from medhub.accounts.permissions import PERMISSIONS, Role
from medhub.audit.models import AuditEntry
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base
from tests.entrypoints.conftest import ClientOf
from tests.factories.accounts import PASSWORD, People

EMAIL = "physician@lab.example"
HTTPS = "https://medhub.test"
GUESS = "not the password"


@pytest.fixture
def browser(web_app: FastAPI) -> Callable[[], TestClient]:
    """Opens a browser of its own at the server, over HTTPS."""
    return lambda: TestClient(web_app, base_url=HTTPS, raise_server_exceptions=False)


Browser = Callable[[], TestClient]


def sign_in(browser: TestClient, password: str = PASSWORD, email: str = EMAIL) -> dict[str, Any]:
    """Sign in; the token against foreign pages is sent from then on."""
    answer = browser.post("/api/auth/session", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    me: dict[str, Any] = answer.json()
    browser.headers["X-CSRF-Token"] = me["csrf_token"]
    return me


def token(nobody: TestClient, password: str = PASSWORD, email: str = EMAIL) -> str:
    answer = nobody.post("/api/auth/token", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    given: str = answer.json()["access_token"]
    return given


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


# The cookie.


def test_the_cookie_is_bound_to_this_host_and_out_of_reach_of_scripts_and_other_sites(browser: Browser) -> None:
    answer = browser().post("/api/auth/session", json={"email": EMAIL, "password": PASSWORD})
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie.key == "__Host-medhub"
    assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"].lower()) == (True, True, "strict")
    assert len(cookie.value) >= 43  # 256 bits
    assert cookie.value not in answer.text


def test_the_secret_of_the_cookie_is_stored_only_as_a_hash(browser: Browser, app: AppContext) -> None:
    client_a = browser()
    sign_in(client_a)
    secret = client_a.cookies["__Host-medhub"]
    with app.database.engine.connect() as connection:
        rows = [repr(row) for table in Base.metadata.sorted_tables for row in connection.execute(select(table))]
    assert any(hashlib.sha256(secret.encode()).hexdigest() in row for row in rows)
    assert not any(secret in row for row in rows)


def test_over_plain_http_to_another_machine_the_cookie_has_no_prefix_that_browsers_would_refuse(
    nobody: TestClient,
) -> None:
    answer = nobody.post("/api/auth/session", json={"email": EMAIL, "password": PASSWORD})
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    assert (cookie.key, cookie["secure"], cookie["httponly"]) == ("medhub", "", True)


def test_over_https_a_cookie_without_the_prefix_signs_nobody_in(browser: Browser) -> None:
    owner = browser()
    sign_in(owner)
    secret = owner.cookies["__Host-medhub"]
    other = browser()
    assert other.get("/api/auth/session", headers={"Cookie": f"medhub={secret}"}).status_code == 401
    assert other.get("/api/auth/session", headers={"Cookie": f"__Host-medhub={secret}"}).status_code == 200


@pytest.mark.parametrize("email", [EMAIL, "technologist@lab.example"])
def test_a_sign_in_ends_the_one_that_the_browser_had(
    browser: Browser, app: AppContext, people: People, email: str
) -> None:
    shared, elsewhere = browser(), browser()
    sign_in(shared)
    sign_in(elsewhere)
    earlier = shared.cookies["__Host-medhub"]
    sign_in(shared, email=email)
    assert browser().get("/api/auth/session", headers={"Cookie": f"__Host-medhub={earlier}"}).status_code == 401
    assert shared.get("/api/auth/session").json()["user"]["email"] == email
    assert elsewhere.get("/api/auth/session").status_code == 200
    with app.database.reading() as session:
        ended = select(AuditEntry.actor_id).where(AuditEntry.action == "account.sign-out")
        assert list(session.scalars(ended)) == [people.user_ids[Role.PHYSICIAN]]


def test_a_refused_sign_in_leaves_the_one_that_the_browser_has(browser: Browser) -> None:
    client_a = browser()
    sign_in(client_a)
    assert client_a.post("/api/auth/session", json={"email": EMAIL, "password": GUESS}).status_code == 401
    assert client_a.get("/api/auth/session").status_code == 200


def test_who_is_signed_in_is_told_with_roles(browser: Browser, people: People) -> None:
    client_a = browser()
    me = sign_in(client_a)
    assert me["user"] == {"id": people.user_ids[Role.PHYSICIAN], "email": EMAIL, "name": "The physician"}
    assert me["memberships"][0]["role"] == "physician"
    assert client_a.get("/api/auth/session").json() == me


@pytest.mark.parametrize("role", list(Role))
def test_the_session_lists_the_actions_that_the_role_permits(client: ClientOf, role: Role) -> None:
    (membership,) = client(role.value).get("/api/auth/session").json()["memberships"]
    assert set(membership["permissions"]) == {action for action, roles in PERMISSIONS.items() if role in roles}


# Pages of others.


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
        {"X-CSRF-Token": "ü"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "https://medhub.test.evil.test"},
    ],
)
def test_a_change_that_does_not_come_from_a_page_of_medhub_is_refused(
    browser: Browser, headers: dict[str, str]
) -> None:
    client_a = browser()
    sign_in(client_a)
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = client_a.post("/api/patients", json={"sex": "F"}, headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert client_a.get("/api/patients", headers=sent).status_code == 200  # reading changes nothing
    assert client_a.get("/api/patients").json()["total"] == 0


def test_a_change_from_a_page_of_medhub_is_done(browser: Browser) -> None:
    client_a = browser()
    sign_in(client_a)
    assert client_a.post("/api/patients", json={"sex": "F"}, headers={"Origin": HTTPS}).status_code == 201
    del client_a.headers["X-CSRF-Token"]
    assert client_a.post("/api/patients", json={"sex": "F"}).status_code == 403


def test_the_token_against_foreign_pages_is_of_one_sign_in(browser: Browser) -> None:
    client_a, client_b = browser(), browser()
    sign_in(client_a)
    client_b.headers["X-CSRF-Token"] = sign_in(client_b)["csrf_token"]
    client_a.headers["X-CSRF-Token"] = client_b.headers["X-CSRF-Token"]
    assert client_a.post("/api/patients", json={"sex": "F"}).status_code == 403


def test_an_api_client_has_no_cookie_and_needs_no_such_token(nobody: TestClient) -> None:
    headers = bearer(token(nobody)) | {"Origin": "https://evil.test"}
    assert nobody.post("/api/patients", json={"sex": "F"}, headers=headers).status_code == 201


# What ends a sign-in.


def test_a_sign_in_ends_when_the_person_signs_out(browser: Browser) -> None:
    client_a = browser()
    sign_in(client_a)
    secret = client_a.cookies["__Host-medhub"]
    answer = client_a.delete("/api/auth/session")
    assert answer.status_code == 204
    assert answer.headers["clear-site-data"] == '"cache"'
    assert "__Host-medhub" not in client_a.cookies
    client_a.cookies.set("__Host-medhub", secret)
    assert client_a.get("/api/auth/session").status_code == 401


def test_a_sign_in_ends_with_its_time(browser: Browser, web_app: FastAPI, app: AppContext) -> None:
    client_a = browser()
    sign_in(client_a)
    with app.database.writing() as session:
        for row in session.scalars(select(SignIn)):
            row.expires_at = clock.now() - timedelta(seconds=1)
    web_app.state.sign_in_cache.invalidate()
    assert client_a.get("/api/auth/session").status_code == 401


def test_a_new_password_ends_every_other_sign_in(browser: Browser, nobody: TestClient) -> None:
    client_a, client_b, api = browser(), browser(), token(nobody)
    sign_in(client_a)
    sign_in(client_b)
    assert client_b.get("/api/auth/session").status_code == 200
    new = "another password of the tests"
    wrong = client_a.post("/api/auth/password", json={"current": "not this", "new": new})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "current")
    assert client_a.post("/api/auth/password", json={"current": PASSWORD, "new": "short"}).status_code == 422
    assert client_a.post("/api/auth/password", json={"current": PASSWORD, "new": new}).status_code == 204
    assert client_a.get("/api/auth/session").status_code == 200
    assert client_b.get("/api/auth/session").status_code == 401
    assert nobody.get("/api/auth/session", headers=bearer(api)).status_code == 401
    assert nobody.post("/api/auth/token", data={"username": EMAIL, "password": PASSWORD}).status_code == 401
    sign_in(browser(), new)


def test_who_is_deactivated_is_out_at_once_and_cannot_come_back(
    browser: Browser, client: ClientOf, nobody: TestClient, people: People
) -> None:
    client_a, api = browser(), token(nobody)
    sign_in(client_a)
    user = f"/api/users/{people.user_ids[Role.PHYSICIAN]}"
    assert client("administrator").patch(user, json={"active": False}).status_code == 200
    assert client_a.get("/api/auth/session").status_code == 401
    assert nobody.get("/api/auth/session", headers=bearer(api)).status_code == 401
    answer = nobody.post("/api/auth/session", json={"email": EMAIL, "password": PASSWORD})
    assert (answer.status_code, answer.json()["detail"]) == (401, "The e-mail address or the password is not right.")
    assert client("administrator").patch(user, json={"active": True}).status_code == 200
    sign_in(browser())


def test_a_changed_role_counts_from_the_next_request(client: ClientOf, people: People) -> None:
    viewer = client("viewer")
    assert viewer.post("/api/patients", json={"sex": "F"}).status_code == 403
    user = f"/api/users/{people.user_ids[Role.VIEWER]}"
    changed = client("administrator").patch(user, json={"role": "technologist"})
    assert changed.json()["memberships"][0]["role"] == "technologist"
    assert viewer.post("/api/patients", json={"sex": "F"}).status_code == 201


# Tokens.


def claims_of(text: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return claims


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    """A token with an empty signature."""
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts) + "."


def test_a_token_is_signed_by_one_algorithm_and_names_no_person(nobody: TestClient) -> None:
    text = token(nobody)
    assert jwt.get_unverified_header(text)["alg"] == "HS256"
    assert set(claims_of(text)) == {"sub", "jti", "aud", "iat", "exp"}


FORGERIES: dict[str, Callable[[dict[str, Any], bytes], str]] = {
    "alg none": lambda claims, _: unsigned(claims, "none"),
    "alg None": lambda claims, _: unsigned(claims, "None"),
    "an empty signature": lambda claims, _: unsigned(claims, "HS256"),
    "another algorithm": lambda claims, key: jwt.encode(claims, key * 2, algorithm="HS512"),
    "another algorithm of the same key": lambda claims, key: jwt.encode(claims, key + key, algorithm="HS384"),
    "another key": lambda claims, _: jwt.encode(claims, b"k" * 32, algorithm="HS256"),
    "expired": lambda claims, key: jwt.encode(claims | {"exp": 1}, key, algorithm="HS256"),
    "without an expiry": lambda claims, key: jwt.encode(_without(claims, "exp"), key, algorithm="HS256"),
    "of another audience": lambda claims, key: jwt.encode(claims | {"aud": "other"}, key, algorithm="HS256"),
    "without an audience": lambda claims, key: jwt.encode(_without(claims, "aud"), key, algorithm="HS256"),
    "without a sign-in": lambda claims, key: jwt.encode(_without(claims, "jti"), key, algorithm="HS256"),
    "of an unknown sign-in": lambda claims, key: jwt.encode(claims | {"jti": "0" * 32}, key, algorithm="HS256"),
    "no token": lambda *_: "no token at all",
    "dots": lambda *_: "..",
}


def _without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_is_refused(nobody: TestClient, app: AppContext, forgery: str) -> None:
    good = token(nobody)
    forged = FORGERIES[forgery](claims_of(good), app.keys.derive("api-tokens"))
    answer = nobody.get("/api/patients", headers=bearer(forged))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert nobody.get("/api/patients", headers=bearer(good)).status_code == 200


def test_a_revoked_token_is_refused(nobody: TestClient) -> None:
    client_a, client_b = token(nobody), token(nobody)
    assert nobody.post("/api/auth/revoke", headers=bearer(client_a)).status_code == 204
    assert nobody.get("/api/patients", headers=bearer(client_a)).status_code == 401
    assert nobody.get("/api/patients", headers=bearer(client_b)).status_code == 200


def test_the_secret_of_a_cookie_is_no_token_and_a_token_is_no_cookie(browser: Browser, nobody: TestClient) -> None:
    client_a = browser()
    sign_in(client_a)
    assert nobody.get("/api/patients", headers=bearer(client_a.cookies["__Host-medhub"])).status_code == 401
    text = token(nobody)
    for secret in (text, claims_of(text)["jti"]):
        client_b = browser()
        client_b.cookies.set("__Host-medhub", secret)
        assert client_b.get("/api/patients").status_code == 401


# Guessing.


def attempt(client: TestClient, email: str, password: str = GUESS) -> tuple[int, str, int | None]:
    answer = client.post("/api/auth/session", json={"email": email, "password": password})
    wait = answer.headers.get("retry-after")
    return answer.status_code, answer.json().get("detail", ""), int(wait) if wait else None


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the clock that counts failures."""
    passed = [timedelta()]

    class Clock:
        @staticmethod
        def now() -> datetime:
            return clock.now() + passed[0]

    monkeypatch.setattr(sign_in_throttle, "clock", Clock)

    def pass_by(time: timedelta) -> None:
        passed[0] += time

    return pass_by


def test_guessing_waits_longer_and_longer(nobody: TestClient, time_passes: Callable[[timedelta], None]) -> None:
    for _ in range(5):
        assert attempt(nobody, EMAIL)[0] == 401
    waits = []
    for _ in range(5):
        status, detail, wait = attempt(nobody, EMAIL)
        assert status == 429
        assert wait is not None
        assert "Try again in" in detail
        waits.append(wait)
        time_passes(timedelta(seconds=wait))
        assert attempt(nobody, EMAIL)[0] == 401
    assert waits == sorted(waits)
    assert [round(wait / 60) for wait in waits] == [1, 2, 4, 8, 16]


def test_who_took_over_a_sign_in_cannot_guess_the_password_through_the_change_of_it(
    browser: Browser, app: AppContext
) -> None:
    client_a = browser()
    sign_in(client_a)
    change = {"current": GUESS, "new": "another password of the tests"}
    assert [client_a.post("/api/auth/password", json=change).status_code for _ in range(6)] == [422] * 5 + [429]
    assert client_a.post("/api/auth/password", json=change | {"current": PASSWORD}).status_code == 429
    with app.database.reading() as session:
        entries = list(session.scalars(select(AuditEntry).where(AuditEntry.action == "account.change")))
    assert [entry.outcome for entry in entries] == ["refused"] * 5


def test_while_it_waits_even_the_right_password_is_not_tried(nobody: TestClient) -> None:
    for _ in range(5):
        attempt(nobody, EMAIL)
    assert attempt(nobody, EMAIL, PASSWORD)[0] == 429
    form = nobody.post("/api/auth/token", data={"username": EMAIL, "password": PASSWORD})
    assert (form.status_code, "retry-after" in form.headers) == (429, True)
    assert attempt(nobody, "technologist@lab.example", PASSWORD)[0] == 200  # others are not locked out with it


def test_after_the_wait_the_right_password_opens_and_the_count_begins_anew(
    nobody: TestClient, time_passes: Callable[[timedelta], None], app: AppContext
) -> None:
    for _ in range(5):
        attempt(nobody, EMAIL)
    time_passes(timedelta(minutes=2))
    assert attempt(nobody, EMAIL, PASSWORD)[0] == 200
    for _ in range(5):
        assert attempt(nobody, EMAIL)[0] == 401
    assert attempt(nobody, EMAIL)[0] == 429


def test_nothing_tells_whether_an_account_exists(nobody: TestClient) -> None:
    known = [attempt(nobody, EMAIL)[:2] for _ in range(6)]
    unknown = [attempt(nobody, "nobody@lab.example")[:2] for _ in range(6)]
    assert known == unknown
    assert [status for status, _ in known] == [401] * 5 + [429]


def test_the_hash_is_computed_for_unknown_accounts_too(nobody: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str | None] = []

    def noted(password: str, password_hash: str | None) -> bool:
        tried.append(password_hash)
        return verify_password(password, password_hash)

    monkeypatch.setattr(authentication, "verify_password", noted)
    attempt(nobody, "nobody@lab.example")
    attempt(nobody, EMAIL)
    assert [known is not None for known in tried] == [False, True]


def test_an_address_that_guesses_at_many_accounts_is_slowed_down_too(
    nobody: TestClient, app: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in_throttle, "FREE_FAILURES_ORIGIN", 6)
    statuses = [attempt(nobody, f"person-{number}@lab.example")[0] for number in range(8)]
    assert statuses == [401] * 6 + [429] * 2


def test_what_is_kept_of_failures_names_nobody(nobody: TestClient, app: AppContext) -> None:
    attempt(nobody, "secret-name@lab.example")
    with app.database.reading() as session:
        keys = [row.key for row in session.scalars(select(FailedSignIn))]
    assert len(keys) == 3
    assert all(len(key) == 64 and "secret" not in key for key in keys)


def test_passwords_are_kept_as_argon2id_hashes(client: ClientOf, app: AppContext) -> None:
    created = client("administrator").post("/api/users", json={"email": "N@lab.example", "name": "N", "role": "viewer"})
    assert created.status_code == 201
    chosen = created.json()["generated_password"]
    assert len(chosen.replace("-", "")) == 20
    with app.database.reading() as session:
        user = session.scalars(select(User).where(User.email == "n@lab.example")).one()
    assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "generated_password" not in client("administrator").get(f"/api/users/{user.id}").json()
