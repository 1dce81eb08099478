# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import contextlib
import json
import time
from datetime import timedelta
from typing import Any, Literal

import jwt
import pytest
from sqlalchemy import select, update

from medhub.accounts import authentication, service, sign_in_throttle
from medhub.accounts.authentication import Generation, SignInCache, row_of_token, sign_in
from medhub.accounts.models import FailedSignIn, SignIn, User
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.errors import NotAuthenticated, TooManyRequests
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.keys import Keys
from tests.factories.accounts import PASSWORD, People
from tests.factories.threads import together
from tests.factories.time import MovableClock

EMAIL = "physician@lab.example"
HERE = "127.0.0.1"


@pytest.fixture
def movable_clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    return MovableClock(monkeypatch)


def fail(app: AppContext, email: str = EMAIL, times: int = 1, origin: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(NotAuthenticated):
            sign_in(app, email, "not the password", "token", origin)


def claims(app: AppContext, **changes: Any) -> dict[str, Any]:
    token, _ = sign_in(app, EMAIL, PASSWORD, "token", HERE)
    body: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return {key: value for key, value in {**body, **changes}.items() if value is not None}


def test_a_right_password_opens_a_sign_in(app: AppContext, people: People) -> None:
    secret, user = sign_in(app, f"  {EMAIL.upper()} ", PASSWORD, "browser", HERE)
    assert user.id == people.user_ids[Role.PHYSICIAN]
    with app.database.reading() as session:
        actor = authentication.load_browser_actor(session, secret)
        assert session.get_one(User, user.id).last_seen_at is not None
    assert (actor.user_id, actor.roles) == (user.id, {people.project_id: Role.PHYSICIAN})


def test_what_opens_a_sign_in_is_not_stored(app: AppContext, people: People) -> None:
    secret, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    token, _ = sign_in(app, EMAIL, PASSWORD, "token", HERE)
    with app.database.reading() as session:
        rows = session.scalars(select(SignIn)).all()
    assert {row.kind for row in rows} == {"browser", "token"}
    stored = " ".join(row.id for row in rows)
    assert secret not in stored
    assert token not in stored


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "wrong"),
        (EMAIL, ""),
        (EMAIL, PASSWORD + " "),
        ("nobody@lab.example", PASSWORD),
        ("", ""),
        ("x" * 500, "y" * 500),
    ],
)
def test_everything_else_is_refused_in_the_same_words(
    app: AppContext, people: People, email: str, password: str
) -> None:
    with pytest.raises(NotAuthenticated, match=r"^The e-mail address or the password is not right\.$"):
        sign_in(app, email, password, "browser", HERE)
    with app.database.reading() as session:
        assert session.scalars(select(SignIn)).all() == []
        (entry,) = session.scalars(select(AuditEntry))
    assert (entry.action, entry.outcome, entry.actor_id) == ("account.sign-in", "refused", None)


def test_somebody_who_was_deactivated_is_refused_in_the_same_words(app: AppContext, people: People) -> None:
    with app.database.writing() as session:
        session.execute(update(User).where(User.email == EMAIL).values(active=False))
    with pytest.raises(NotAuthenticated, match="is not right"):
        sign_in(app, EMAIL, PASSWORD, "browser", HERE)


def test_a_deactivation_ends_what_is_signed_in(app: AppContext, people: People) -> None:
    token, _ = sign_in(app, EMAIL, PASSWORD, "token", HERE)
    administrator = people.actor(app, Role.ADMINISTRATOR)
    with app.database.writing() as session:
        service.change_user(session, administrator, people.user_ids[Role.PHYSICIAN], active=False)
    with pytest.raises(NotAuthenticated, match="has ended"), app.database.reading() as session:
        authentication.load_actor(session, row_of_token(app, token), "token")


def test_a_sign_in_ends_by_itself(app: AppContext, people: People, movable_clock: MovableClock) -> None:
    secret, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    movable_clock.advance(hours=app.settings.session_hours, seconds=1)
    with pytest.raises(NotAuthenticated), app.database.reading() as session:
        authentication.load_browser_actor(session, secret)
    sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    with app.database.reading() as session:  # the next sign-in clears the ended ones away
        assert len(session.scalars(select(SignIn).where(SignIn.kind == "browser")).all()) == 1


@pytest.mark.parametrize("kind", ["browser", "token"])
def test_a_sign_in_of_a_clock_that_was_ahead_has_ended(
    app: AppContext, people: People, movable_clock: MovableClock, kind: Literal["browser", "token"]
) -> None:
    movable_clock.advance(days=1)
    sign_in(app, EMAIL, PASSWORD, kind, HERE)
    movable_clock.advance(days=-1)
    with app.database.reading() as session:
        row_id = session.scalars(select(SignIn.id).where(SignIn.kind == kind)).one()
    with pytest.raises(NotAuthenticated), app.database.reading() as session:
        authentication.load_actor(session, row_id, kind)
    authentication.delete_ended_sign_ins(app)
    movable_clock.advance(days=1)
    with pytest.raises(NotAuthenticated), app.database.reading() as session:
        authentication.load_actor(session, row_id, kind)


def test_a_clock_that_is_set_by_seconds_ends_no_sign_in(
    app: AppContext, people: People, movable_clock: MovableClock
) -> None:
    secret, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    movable_clock.advance(seconds=-30)
    authentication.delete_ended_sign_ins(app)
    with app.database.reading() as session:
        assert authentication.load_browser_actor(session, secret).email == EMAIL


def test_a_browsers_secret_is_no_token_and_a_tokens_row_no_secret(app: AppContext, people: People) -> None:
    secret, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    token, _ = sign_in(app, EMAIL, PASSWORD, "token", HERE)
    for act in (
        lambda session: authentication.load_actor(session, row_of_token(app, token), "browser"),
        lambda session: authentication.load_browser_actor(session, row_of_token(app, token)),
        lambda _session: row_of_token(app, secret),
    ):
        with pytest.raises(NotAuthenticated), app.database.reading() as session:
            act(session)


def test_signing_out_ends_this_sign_in_and_no_other(app: AppContext, people: People) -> None:
    first, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    second, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    with app.database.reading() as session:
        actor = authentication.load_browser_actor(session, first)
    with app.database.writing() as session:
        authentication.sign_out(session, actor)
    with app.database.reading() as session:
        assert authentication.load_browser_actor(session, second).user_id == actor.user_id
    with pytest.raises(NotAuthenticated), app.database.reading() as session:
        authentication.load_browser_actor(session, first)


def test_a_new_password_ends_every_other_sign_in(app: AppContext, people: People) -> None:
    mine, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    other, _ = sign_in(app, EMAIL, PASSWORD, "browser", HERE)
    with app.database.reading() as session:
        actor = authentication.load_browser_actor(session, mine)
    with app.database.writing() as session:
        service.change_own_password(session, actor, PASSWORD, "another password of mine")
    with app.database.reading() as session:
        assert authentication.load_browser_actor(session, mine).user_id == actor.user_id
    with pytest.raises(NotAuthenticated), app.database.reading() as session:
        authentication.load_browser_actor(session, other)
    fail(app)
    sign_in(app, EMAIL, "another password of mine", "browser", HERE)


def unsigned(body: dict[str, Any]) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(body)}."


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # of the forger's own algorithms
def test_only_a_token_of_this_installation_and_algorithm_is_believed(app: AppContext, people: People) -> None:
    key = app.keys.derive("api-tokens")
    good = claims(app)
    assert row_of_token(app, jwt.encode(good, key, "HS256")) == good["jti"]
    forged = [
        unsigned(good),
        jwt.encode(good, key, "HS384"),
        jwt.encode(good, key, "HS512"),
        jwt.encode(good, Keys(b"\x08" * 32).derive("api-tokens"), "HS256"),
        jwt.encode(good, app.keys.derive("csrf"), "HS256"),
        jwt.encode({**good, "aud": "another"}, key, "HS256"),
        jwt.encode({**good, "exp": clock.now() - timedelta(seconds=1)}, key, "HS256"),
        *(
            jwt.encode({k: v for k, v in good.items() if k != left_out}, key, "HS256")
            for left_out in good
            if left_out != "iat"
        ),
        "",
        "a.b.c",
        "é" * 40,
    ]
    for token in forged:
        with pytest.raises(NotAuthenticated, match="not valid or has expired"):
            row_of_token(app, token)


def test_a_token_is_revoked_at_once(app: AppContext, people: People) -> None:
    token, _ = sign_in(app, EMAIL, PASSWORD, "token", HERE)
    row_id = row_of_token(app, token)
    with app.database.reading() as session:
        actor = authentication.load_actor(session, row_id, "token")
    with app.database.writing() as session:
        authentication.sign_out(session, actor)
    with pytest.raises(NotAuthenticated), app.database.reading() as session:
        authentication.load_actor(session, row_of_token(app, token), "token")


def test_guessing_at_an_account_is_slowed_down(app: AppContext, people: People, movable_clock: MovableClock) -> None:
    fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT)
    waits = []
    for _ in range(3):
        with pytest.raises(TooManyRequests) as caught:
            sign_in(app, EMAIL, PASSWORD, "token", HERE)  # not even the right password helps now
        waits.append(caught.value.facts["retry_after_s"])
        movable_clock.advance(seconds=float(str(waits[-1])) + 1)
        fail(app)
    assert [round(int(str(wait)) / 60) for wait in waits] == [1, 2, 4]
    movable_clock.advance(hours=2)
    sign_in(app, EMAIL, PASSWORD, "token", HERE)


def test_the_lock_is_of_one_account_and_says_nothing_of_whether_it_exists(app: AppContext, people: People) -> None:
    for email in (EMAIL, "nobody@lab.example"):
        fail(app, email, times=sign_in_throttle.FREE_FAILURES_ACCOUNT)
        with pytest.raises(TooManyRequests, match="Try again in"):
            sign_in(app, email, PASSWORD, "token", HERE)
    sign_in(app, "technologist@lab.example", PASSWORD, "token", HERE)


def test_a_good_sign_in_forgets_the_failures_before_it(app: AppContext, people: People) -> None:
    fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT - 1)
    sign_in(app, EMAIL, PASSWORD, "token", HERE)
    fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT - 1)
    sign_in(app, EMAIL, PASSWORD, "token", HERE)


def test_failures_are_forgotten_after_a_day(app: AppContext, people: People, movable_clock: MovableClock) -> None:
    fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT - 1)
    movable_clock.advance(hours=25)
    fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT - 1)
    sign_in(app, EMAIL, PASSWORD, "token", HERE)


def test_one_address_that_guesses_at_many_accounts_is_slowed_down(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in_throttle, "FREE_FAILURES_ORIGIN", 8)
    for number in range(8):
        fail(app, f"person{number}@lab.example")
    with pytest.raises(TooManyRequests):
        sign_in(app, EMAIL, PASSWORD, "token", HERE)
    sign_in(app, EMAIL, PASSWORD, "token", "10.0.0.9")


def test_failures_at_the_same_moment_are_all_counted(app: AppContext, people: People) -> None:
    def guess() -> str:
        try:
            sign_in(app, EMAIL, "not the password", "token", HERE)
        except (NotAuthenticated, TooManyRequests) as error:
            return error.code
        return "in"

    assert "in" not in together(*[guess] * 8)
    with app.database.reading() as session:
        rows = session.scalars(select(FailedSignIn)).all()
        refused = len(session.scalars(select(AuditEntry).where(AuditEntry.outcome == "refused")).all())
    assert sorted({row.failures for row in rows}) == [refused]
    assert refused >= sign_in_throttle.FREE_FAILURES_ACCOUNT
    with pytest.raises(TooManyRequests):
        sign_in(app, EMAIL, PASSWORD, "token", HERE)


def test_neither_address_nor_account_is_stored_with_the_failures(app: AppContext, people: People) -> None:
    fail(app)
    with app.database.reading() as session:
        rows = session.scalars(select(FailedSignIn)).all()
    assert len(rows) == 3
    assert all(len(row.key) == 64 and set(row.key) <= set("0123456789abcdef") for row in rows)


def test_guesses_at_one_address_lock_nobody_out_at_another(
    app: AppContext, people: People, movable_clock: MovableClock
) -> None:
    for _ in range(36):
        with contextlib.suppress(TooManyRequests):
            fail(app)
        movable_clock.advance(minutes=45)
    with contextlib.suppress(TooManyRequests):
        fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT)
    with pytest.raises(TooManyRequests):
        sign_in(app, EMAIL, PASSWORD, "token", HERE)
    sign_in(app, EMAIL, PASSWORD, "token", "10.0.0.9")


def test_guesses_from_many_addresses_leave_one_attempt_to_each(app: AppContext, people: People) -> None:
    for number in range(sign_in_throttle.FREE_FAILURES_ALL_ORIGINS):
        fail(app, origin=f"10.0.1.{number}")
    fail(app, origin="10.0.2.1")
    with pytest.raises(TooManyRequests):
        fail(app, origin="10.0.2.1")
    sign_in(app, EMAIL, PASSWORD, "token", "10.0.0.9")


def test_single_typing_errors_at_a_shared_address_do_not_add_up(
    app: AppContext, people: People, movable_clock: MovableClock
) -> None:
    for number in range(20 * 4):
        fail(app, f"person{number % 60}@lab.example")
        movable_clock.advance(hours=24 / 20)
    sign_in(app, EMAIL, PASSWORD, "token", HERE)


def test_failures_decay_by_whole_intervals_and_keep_the_rest(
    app: AppContext, people: People, movable_clock: MovableClock
) -> None:
    for _ in range(12):
        fail(app)
        movable_clock.advance(minutes=50)  # less than an interval: six a day would otherwise never decay
    with app.database.reading() as session:
        key = sign_in_throttle.failure_keys(app.keys, EMAIL, HERE).account_at_origin
        assert session.get_one(FailedSignIn, key).failures == 3


def test_a_clock_that_was_ahead_locks_nobody(app: AppContext, people: People, movable_clock: MovableClock) -> None:
    movable_clock.advance(hours=24)
    fail(app, times=sign_in_throttle.FREE_FAILURES_ACCOUNT)
    movable_clock.advance(hours=-24)
    sign_in(app, EMAIL, PASSWORD, "token", HERE)


def test_old_failures_are_deleted(app: AppContext, people: People, movable_clock: MovableClock) -> None:
    fail(app)
    movable_clock.advance(hours=23)
    sign_in_throttle.delete_old_failures(app)
    with app.database.reading() as session:
        assert len(session.scalars(select(FailedSignIn)).all()) == 3
    movable_clock.advance(hours=2)
    sign_in_throttle.delete_old_failures(app)
    with app.database.reading() as session:
        assert session.scalars(select(FailedSignIn)).all() == []


@pytest.mark.parametrize("free", [5, 50])
def test_waits_grow_to_an_hour_and_no_further(free: int) -> None:
    waits = [sign_in_throttle.wait_time(failures, free) for failures in range(200)]
    assert waits == sorted(waits)
    assert waits[free - 1] == timedelta(0) < waits[free] == timedelta(minutes=1)
    assert max(waits) == timedelta(hours=1)


def test_what_is_believed_of_a_sign_in_is_forgotten_when_rights_change(
    app: AppContext, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = people.actor(app, Role.PHYSICIAN)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    cache = SignInCache()
    cache.put("row", actor, cache.generation)
    assert cache.get("row") is actor
    assert cache.get("other") is None
    now[0] += authentication.CACHE_S + 0.01
    assert cache.get("row") is None
    cache.put("row", actor, cache.generation)
    cache.invalidate()
    assert cache.get("row") is None
    # What another process changes counts at once, and what was read before a change is not believed after it.
    shared = bytearray(Generation.BYTES)
    here, there = SignInCache(Generation(shared)), SignInCache(Generation(shared))
    before = here.generation
    here.put("row", actor, before)
    there.invalidate()
    assert here.get("row") is None
    here.put("row", actor, before)
    assert here.get("row") is None
