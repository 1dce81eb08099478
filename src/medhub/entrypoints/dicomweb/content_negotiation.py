# SPDX-License-Identifier: Apache-2.0
"""Which forms of an answer a client accepts, best first (RFC 9110, 12.5.1, and PS3.18, 8.7)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from starlette.exceptions import HTTPException
from starlette.requests import Request

DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
JSON_FORMS = (DICOM_JSON, "application/json")

_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[^,;]+|[,;]')
_LONGEST = 4096
_MOST = 64


@dataclass(frozen=True)
class Accepted:
    """One form that a client accepts; of a multipart message the form of its parts."""

    media_type: str
    multipart: bool = False
    transfer_syntax: str | None = None
    weight: float = 1.0
    exceptions: tuple[Accepted, ...] = ()

    @property
    def specificity(self) -> int:
        """How closely it names a media type: 2 for a type, 1 for all types of a kind (``image/*``), 0 for any type."""
        return 0 if self.media_type == "*/*" else 1 if self.media_type.endswith("/*") else 2

    def allows(self, media_type: str) -> bool:
        """Whether a media type is meant; one that the client names more closely has the weight that it gives there."""
        return self._covers(media_type) and not any(form._covers(media_type) for form in self.exceptions)

    def _covers(self, media_type: str) -> bool:
        kind = media_type.partition("/")[0]
        return self.media_type in {media_type, f"{kind}/*", "*/*"}


def accepted(request: Request) -> list[Accepted]:
    """What the request accepts: its query parameter ``accept``, or else its header; anything where it says nothing."""
    text = request.query_params.get("accept") or request.headers.get("accept") or "*/*"
    if len(text) > _LONGEST:
        raise HTTPException(400, "The Accept header is too long.")
    forms = list(_read(text))
    usable = [replace(form, exceptions=_exceptions(form, forms)) for form in forms if form.weight > 0]
    return sorted(usable, key=lambda form: (-form.weight, -form.specificity))


def _exceptions(form: Accepted, forms: Collection[Accepted]) -> tuple[Accepted, ...]:
    """The forms that name something more closely, and thereby take it out of a wildcard (RFC 9110, 12.5.1)."""
    return tuple(
        other
        for other in forms
        if other.specificity > form.specificity
        and other.multipart == form.multipart
        and other.transfer_syntax is None
        and other.weight != form.weight
    )


def _read(text: str) -> Iterator[Accepted]:
    for member in _split(text, ",")[:_MOST]:
        media_type, *pairs = _split(member, ";")
        parameters: dict[str, str] = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            parameters[name.strip().lower()] = value.strip().strip('"')
        media_type = media_type.strip().strip('"').lower()
        multipart = media_type == "multipart/related"
        if multipart:
            # Some write the parameters of the parts' form into its quotes.
            media_type, *inner = _split(parameters.get("type", "*/*"), ";")
            for pair in inner:
                name, _, value = pair.partition("=")
                parameters.setdefault(name.strip().lower(), value.strip().strip('"'))
            media_type = media_type.strip().lower()
        yield Accepted(
            media_type or "*/*", multipart, parameters.get("transfer-syntax") or None, _weight(parameters.get("q", "1"))
        )


def _split(text: str, by: str) -> list[str]:
    """Split where a separator stands outside of quotes."""
    members = [""]
    for token in _PART.findall(text):
        if token == by:
            members.append("")
        else:
            members[-1] += token
    return [member.strip() for member in members if member.strip()] or [""]


def _weight(text: str) -> float:
    try:
        return max(0.0, min(1.0, float(text)))
    except ValueError:
        return 0.0


def choose(request: Request, offered: Collection[str]) -> str:
    """The form that the client likes best among those that are offered, in our order where it does not mind."""
    for form in accepted(request):
        for media_type in offered:
            if not form.multipart and form.allows(media_type):
                return media_type
    raise not_acceptable(offered)


def choose_json_or_xml(request: Request, *, multipart_xml: bool = True) -> str:
    """The form of attributes: JSON, or XML, which is multipart except for the result of a store (PS3.18, 8.7.3)."""
    for form in accepted(request):
        if form.media_type == DICOM_XML and form.multipart == multipart_xml:
            return DICOM_XML
        if any(not form.multipart and form.allows(media_type) for media_type in JSON_FORMS):
            return choose(request, JSON_FORMS)
    xml = f'multipart/related; type="{DICOM_XML}"' if multipart_xml else DICOM_XML
    raise not_acceptable([*JSON_FORMS, xml])


def not_acceptable(offered: Collection[str], because: str = "") -> HTTPException:
    """The refusal of a form that cannot be given, with those that can."""
    possible = f"This can be had as {', '.join(offered)}. Name one of these in the Accept header."
    return HTTPException(406, f"{because} {possible}".strip())
