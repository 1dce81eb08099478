# SPDX-License-Identifier: Apache-2.0
"""What every route has in common: pages of lists, and strings that a database can hold."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

from medhub.foundation import clock

T = TypeVar("T")

MOST_PAGES = 1_000_000


def _printable(text: str) -> str:
    """Refuse what no database column holds (NUL) and what is no character at all (lone surrogates)."""
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode") from error
    return text


Text = Annotated[str, AfterValidator(_printable)]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Id = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
Moment = Annotated[datetime, PlainSerializer(clock.iso, return_type=str, when_used="json")]


class Schema(BaseModel):
    """What the JSON API sends and takes: unknown members are refused, so that a typing error is noticed."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class Page(Schema, Generic[T]):
    """One page of a list."""

    items: list[T]
    total: int
    page: int
    page_size: int


class PageQuery:
    """Which page of a list is asked for, searched and sorted how."""

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
        """How many items lie before this page."""
        return (self.page - 1) * self.page_size

    def of(self, items: list[T], total: int) -> Page[T]:
        """The page with these items."""
        return Page[T].model_construct(items=items, total=total, page=self.page, page_size=self.page_size)


async def page_query(
    page: Annotated[int, Query(ge=1, le=MOST_PAGES, description="Number of the page, from 1.")] = 1,
    page_size: Annotated[int, Query(ge=1, le=200, description="Items on a page.")] = 50,
    query: Annotated[Text | None, Query(max_length=200, description="Text to search for.")] = None,
    sort: Annotated[
        Text | None, Query(max_length=100, description="Column to sort by; with a minus before it, descending.")
    ] = None,
    known_total: Annotated[
        int | None,
        Query(ge=0, description="The total as another page of the same list gave it; it is not counted once more."),
    ] = None,
) -> PageQuery:
    """The page that a request asks for; a coroutine, since FastAPI sends plain functions to another thread."""
    return PageQuery(page, page_size, query, sort, known_total)


Paging = Annotated[PageQuery, Depends(page_query)]
