# SPDX-License-Identifier: Apache-2.0
"""The failures that everyone may raise, drawn as a tree.

::

    MedhubError
    ├── NotAuthenticated      nobody is signed in, or the sign-in has ended
    ├── NotAllowed            somebody is signed in who may not do this
    ├── NotFound              there is no such thing, or not for this person
    ├── Conflict              the thing is in a state that does not allow this
    ├── Invalid               what was given cannot be accepted
    ├── TooManyRequests       try again later
    └── Unavailable           a part that is needed does not answer

An error carries a sentence for the person, and facts; never a status code of a protocol and never anything that
identifies a patient. Each protocol maps the tree once: ``entrypoints/problems.py`` for HTTP, ``entrypoints/cli.py``
for exit codes.
"""

from __future__ import annotations

from typing import ClassVar


class MedhubError(Exception):
    """Any failure that Medhub raises on purpose."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request failed"

    def __init__(self, message: str, **facts: object) -> None:
        """Keep the sentence for the person, and the facts for the caller."""
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with the facts."""
        return _rebuild, (type(self), self.message, self.facts)


def _rebuild(kind: type[MedhubError], message: str, facts: dict[str, object]) -> MedhubError:
    error = kind.__new__(kind)
    MedhubError.__init__(error, message, **facts)
    return error


class NotAuthenticated(MedhubError):
    """Nobody is signed in, or the sign-in has ended."""

    code = "not-authenticated"
    title = "Sign in first"


class NotAllowed(MedhubError):
    """Somebody is signed in who may not do this."""

    code = "not-allowed"
    title = "Not allowed"


class NotFound(MedhubError):
    """There is no such thing, or not for this person."""

    code = "not-found"
    title = "Not found"


class Conflict(MedhubError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    title = "Not possible now"


class Invalid(MedhubError):
    """What was given cannot be accepted."""

    code = "invalid"
    title = "Not valid"


class TooManyRequests(MedhubError):
    """Too many attempts; the fact ``retry_after_s`` says when to try again."""

    code = "too-many-requests"
    title = "Too many attempts"


class Unavailable(MedhubError):
    """A part that is needed does not answer."""

    code = "unavailable"
    title = "Not available now"
