# SPDX-License-Identifier: Apache-2.0
"""Types that all routes share: pages of lists, and strings that a database can store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Header, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from medhub.foundation import clock

T = TypeVar("T")

MAX_PAGES = 1_000_000


def _printable(text: str) -> str:
    """Refuse NUL, which databases cannot store, and lone surrogates, which are not characters."""
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return text


Text = Annotated[str, AfterValidator(_printable)]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
# As long as the columns of ids; the ids of Medhub have 32 hexadecimal digits.
Id = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_printable)]
IdOrName = Line
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="The `etag` of the state on which this write is based; if the object has changed since: 409.",
    ),
]
Moment = Annotated[datetime, PlainSerializer(clock.iso, return_type=str, when_used="json")]


def streamed_body() -> None:
    """Marks a route that reads its body in parts, with limits of its own for them."""


# Other routes refuse bodies of more than ``entrypoints.middleware.MAX_BODY_BYTES``.
STREAMED_BODY = Depends(streamed_body)


class Schema(BaseModel):
    """Base class of requests and responses of the JSON API; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Page(Schema, Generic[T]):
    """One page of a list."""

    items: list[T]
    total: int
    page: int
    page_size: int


class PageQuery:
    """The page, search text and sort order that a client requests."""

    def __init__(
        self,
        page: int = 1,
        page_size: int = 50,
        query: str | None = None,
        sort: str | None = None,
        known_total: int | None = None,
    ) -> None:
        self.known_total = known_total
        self.page = page
        self.page_size = page_size
        self.query = query.strip() if query and query.strip() else None
        self.sort = sort

    @property
    def offset(self) -> int:
        """The number of items before this page."""
        return (self.page - 1) * self.page_size

    def of(self, items: list[T], total: int) -> Page[T]:
        """The page with these items."""
        return Page[T].model_construct(items=items, total=total, page=self.page, page_size=self.page_size)


async def page_query(
    page: Annotated[int, Query(ge=1, le=MAX_PAGES, description="Number of the page, from 1.")] = 1,
    page_size: Annotated[int, Query(ge=1, le=200, description="Items on a page.")] = 50,
    query: Annotated[Text | None, Query(max_length=200, description="Text to search for.")] = None,
    sort: Annotated[
        Text | None, Query(max_length=100, description="Column to sort by; a minus before it sorts descending.")
    ] = None,
    known_total: Annotated[
        int | None,
        Query(ge=0, description="Total from another page of the same list, so that it is not counted again."),
    ] = None,
) -> PageQuery:
    """The page that a request asks for; a coroutine, since FastAPI runs plain functions in another thread."""
    return PageQuery(page, page_size, query, sort, known_total)


Paging = Annotated[PageQuery, Depends(page_query)]
