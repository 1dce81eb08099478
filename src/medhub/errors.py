# SPDX-License-Identifier: Apache-2.0
"""The exception hierarchy.

::

    MedhubError
    ├── NotAuthenticated      nobody is signed in, or the sign-in has ended
    ├── NotAllowed            the person who is signed in may not do this
    ├── NotFound              the object does not exist, or this person may not know of it
    ├── Conflict              the state of the object does not allow this
    ├── Invalid               the input is not valid
    ├── TooManyRequests       try again later
    └── Unavailable           a required component does not answer

An error has a message for the person and facts; never a status code of a protocol, and never anything that identifies
a patient. Each protocol maps the hierarchy once: ``entrypoints/problems.py`` for HTTP, ``entrypoints/cli.py``
for exit codes.
"""

from __future__ import annotations

from typing import ClassVar


class MedhubError(Exception):
    """Base class of all errors that Medhub raises."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request failed"
    temporary: ClassVar[bool] = False
    """Whether the same request may succeed later without a change by a person."""

    def __init__(self, message: str, **facts: object) -> None:
        """Set the message for the person and the facts for the caller."""
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __reduce__(self) -> tuple[object, ...]:
        """Include the facts when pickled."""
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
    """The person who is signed in may not do this."""

    code = "not-allowed"
    title = "Not allowed"


class NotFound(MedhubError):
    """The object does not exist, or this person may not know of it."""

    code = "not-found"
    title = "Not found"


class Conflict(MedhubError):
    """The state of the object does not allow this."""

    code = "conflict"
    title = "Not possible now"


class Invalid(MedhubError):
    """The input is not valid."""

    code = "invalid"
    title = "Not valid"


class TooManyRequests(MedhubError):
    """Too many attempts; the fact ``retry_after_s`` says when to try again."""

    code = "too-many-requests"
    title = "Too many attempts"


class Unavailable(MedhubError):
    """A required component does not answer."""

    code = "unavailable"
    title = "Not available now"
    temporary = True
