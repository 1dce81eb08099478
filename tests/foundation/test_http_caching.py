# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from medhub.foundation.http_caching import ByteCache, cacheable_response, is_unchanged


def asked(**headers: str) -> Request:
    scope: dict[str, Any] = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    scope["headers"] = [(name.replace(b"_", b"-"), value) for name, value in scope["headers"]]
    return Request(scope)


@pytest.mark.parametrize("given", ['"abc"', 'W/"abc"', '"x", "abc"', '"x",W/"abc" ', ' "abc"'])
def test_a_browser_that_has_the_content_is_known(given: str) -> None:
    assert is_unchanged(asked(if_none_match=given), "abc")


@pytest.mark.parametrize("given", ["", "abc", '"abcd"', '"ab"', '"x", "y"'])
def test_a_browser_that_has_other_content_is_not(given: str) -> None:
    assert not is_unchanged(asked(if_none_match=given), "abc")
    assert not is_unchanged(asked(), "abc")


def test_content_goes_out_with_its_tag_and_may_be_kept_by_its_reader_alone() -> None:
    response = cacheable_response(asked(), "abc", b"picture", "image/webp")
    assert (response.status_code, response.body) == (200, b"picture")
    assert response.headers["etag"] == '"abc"'
    assert response.headers["cache-control"].startswith("private")
    assert response.headers["x-content-type-options"] == "nosniff"


def test_unchanged_content_is_not_sent_again() -> None:
    for response in (
        cacheable_response(asked(if_none_match='"abc"'), "abc", b"picture", "image/webp"),
        cacheable_response(asked(), "abc", None, "image/webp"),
    ):
        assert (response.status_code, response.body) == (304, b"")
        assert response.headers["etag"] == '"abc"'


def test_the_content_that_was_not_used_for_longest_is_dropped() -> None:
    recent = ByteCache(8)
    for key in "abcd":
        recent.put(key, key.encode() * 2)
    assert recent.get("a") == b"aa"  # used again, so that b is the oldest now
    recent.put("e", b"ee")
    assert [key for key in "abcde" if recent.get(key) is not None] == ["a", "c", "d", "e"]


def test_one_large_piece_does_not_drive_out_all_the_rest() -> None:
    recent = ByteCache(100)
    recent.put("small", b"x" * 25)
    recent.put("large", b"x" * 26)
    assert recent.get("small") is not None
    assert recent.get("large") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=60))
def test_never_more_is_kept_than_was_allowed(acts: list[tuple[str, int]]) -> None:
    recent = ByteCache(100)
    first: dict[str, bytes] = {}
    for key, size in acts:
        if recent.get(key) is None:
            first[key] = bytes(size)
        recent.put(key, bytes(size))
        cached = {k: content for k in "abcdef" if (content := recent.get(k)) is not None}
        assert sum(map(len, cached.values())) <= 100
        assert all(content == first[k] for k, content in cached.items())
