# SPDX-License-Identifier: Apache-2.0
"""Calls of functions in another process: arguments and results of the types that the function declares."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from medhub.foundation.message_codec import Codec, codec_of, pack, unpack


class CallCodec(NamedTuple):
    """How calls of one function are written and read.

    Attributes
    ----------
    parameters
        The parameters in order; ``None`` for a function without annotations, whose values are plain ones.
    result
        Its result.
    """

    parameters: dict[str, Codec] | None
    result: Codec


@cache
def codec_of_call(function: Callable[..., Any]) -> CallCodec:
    """Build the codec of the calls of a function; ``TypeError`` when a declared type cannot be sent."""
    hints = typing.get_type_hints(function)
    if not hints:
        return CallCodec(None, codec_of(Any))
    parameters = inspect.signature(function).parameters
    if any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in parameters.values()):
        raise TypeError(f"the parameters of {function.__qualname__} are not declared one by one")
    return CallCodec({name: codec_of(hints.get(name, Any)) for name in parameters}, codec_of(hints.get("return", Any)))


def encode_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], segments: list[bytes]
) -> Any:
    """Encode the arguments of a call; those that have defaults may be left out."""
    parameters = codec_of_call(function).parameters
    if parameters is None:
        return [pack(list(args), segments), pack(dict(kwargs), segments)]
    named = {**dict(zip(parameters, args, strict=False)), **kwargs}
    if len(named) != len(args) + len(kwargs) or not named.keys() <= parameters.keys():
        raise TypeError(f"{function.__qualname__} has other parameters")
    return {name: parameters[name].encode(value, segments) for name, value in named.items()}


def call_with_arguments(function: Callable[..., Any], encoded: Any, segments: Sequence[bytes]) -> Any:
    """Decode the arguments of a call, and call the function."""
    parameters = codec_of_call(function).parameters
    if parameters is None:
        args, kwargs = unpack(encoded, segments)
        return function(*args, **kwargs)
    return function(**{name: parameters[name].decode(value, segments) for name, value in encoded.items()})
