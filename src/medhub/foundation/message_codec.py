# SPDX-License-Identifier: Apache-2.0
"""Messages between processes: values of declared types, written as JSON and segments of bytes.

A function that runs in another process declares the types of its arguments and of its result by annotations (see
``call_codec``), and both sides build the same codec from them. A decoder trusts nothing: every value has exactly the
declared type, a record has exactly the declared fields, and its ``__post_init__`` may check more. Nothing is unpickled.

Types that can be declared:

====================================  =================================================================================
``None``, bool, int, float, str       as in JSON
bytes                                 a segment of its own
datetime                              ISO 8601
``Literal``                           one of its values
``X | None``, ``X | Y``               null; or the number of the type in the union, and the value
list, tuple, Sequence, set, Mapping   of declared types; mappings have text as keys
dataclass, NamedTuple, TypedDict      an object with exactly its fields
tuple[record, ...]                    a segment of JSON, encoded and decoded once for equal tuples
pydantic model                        its own JSON, validated by the model
``MedhubError``                       the arguments of its constructor
``NDArray[dtype]``                    shape, and a segment of its items
``Any``, or nothing                   values of JSON, and bytes
====================================  =================================================================================
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from threading import Lock
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from cachetools import FIFOCache, cached

from medhub.errors import MedhubError

MAX_JSON_BYTES = 4 * 1024**2
_MAX_DIMENSIONS = 4
_RECENT_ENCODINGS = 64
_CACHED_BYTES = 256 * 1024


class Codec(NamedTuple):
    """How values of one declared type are written and read.

    Attributes
    ----------
    encode
        Value and list of segments to a value of JSON; appends to the segments.
    decode
        Value of JSON and segments to the value; raises ``ValueError`` for anything but the declared type.
    """

    encode: Callable[[Any, list[bytes]], Any]
    decode: Callable[[Any, Sequence[bytes]], Any]


@cache
def codec_of(declared: Any) -> Codec:
    """Build the codec of a declared type; ``TypeError`` for a type that cannot be sent."""
    for build in _BUILDERS:
        codec = build(declared)
        if codec is not None:
            return codec
    raise TypeError(f"values of the type {declared} cannot be sent between processes")


def pack(value: Any, segments: list[bytes]) -> Any:
    """Encode a plain value: bytes become segments, everything else is a value of JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        segments.append(bytes(value) if not isinstance(value, bytes) else value)
        return {"$bytes": len(segments) - 1}
    if isinstance(value, list | tuple):
        return [pack(item, segments) for item in value]
    if isinstance(value, dict) and "$bytes" not in value and all(isinstance(key, str) for key in value):
        return {key: pack(item, segments) for key, item in value.items()}
    raise TypeError(f"values of the type {type(value).__name__} cannot be sent between processes")


def unpack(value: Any, segments: Sequence[bytes]) -> Any:
    """Decode a plain value; ``ValueError`` when a segment is missing."""
    if isinstance(value, list):
        return [unpack(item, segments) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"$bytes"}:
            return _segment(value["$bytes"], segments)
        return {key: unpack(item, segments) for key, item in value.items()}
    return value


def _segment(number: Any, segments: Sequence[bytes]) -> bytes:
    if type(number) is not int or not 0 <= number < len(segments):
        raise ValueError("there is no such segment")
    return segments[number]


def _mismatch(declared: Any) -> ValueError:
    return ValueError(f"this is not a value of the type {getattr(declared, '__name__', declared)}")


def _build_plain(declared: Any) -> Codec | None:
    return Codec(pack, unpack) if declared in (Any, object, inspect.Parameter.empty) else None


def _build_basic(declared: Any) -> Codec | None:
    if declared not in (None, type(None), bool, int, str, float):
        return None
    declared = type(None) if declared is None else declared

    def decode(value: Any, _: Sequence[bytes]) -> Any:
        if type(value) is declared:
            return value
        if declared is float and type(value) is int:
            return float(value)
        raise _mismatch(declared)

    return Codec(lambda value, _: value, decode)


def _build_bytes(declared: Any) -> Codec | None:
    if declared is not bytes:
        return None

    def encode(value: Any, segments: list[bytes]) -> int:
        segments.append(value if type(value) is bytes else bytes(memoryview(value)))
        return len(segments) - 1

    return Codec(encode, _segment)


def _build_datetime(declared: Any) -> Codec | None:
    if declared is not datetime:
        return None

    def decode(value: Any, _: Sequence[bytes]) -> datetime:
        if type(value) is not str:
            raise _mismatch(datetime)
        return datetime.fromisoformat(value)

    return Codec(lambda value, _: value.isoformat(), decode)


def _build_literal(declared: Any) -> Codec | None:
    if get_origin(declared) is not Literal:
        return None
    options = frozenset((type(option), option) for option in get_args(declared))

    def decode(value: Any, _: Sequence[bytes]) -> Any:
        if not isinstance(value, str | int | bool | None) or (type(value), value) not in options:
            raise _mismatch(declared)
        return value

    return Codec(lambda value, _: value, decode)


def _build_union(declared: Any) -> Codec | None:
    if get_origin(declared) not in (Union, types.UnionType):
        return None
    members = [member for member in get_args(declared) if member is not type(None)]
    is_optional = len(members) < len(get_args(declared))
    codecs = [codec_of(member) for member in members]
    classes = [get_origin(member) or member for member in members]

    def encode(value: Any, segments: list[bytes]) -> Any:
        if value is None and is_optional:
            return None
        if len(codecs) == 1:
            return codecs[0].encode(value, segments)
        for number, member in enumerate(classes):
            if isinstance(value, member):
                return [number, codecs[number].encode(value, segments)]
        raise TypeError(f"a {type(value).__name__} is not a value of the type {declared}")

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if value is None and is_optional:
            return None
        if len(codecs) == 1:
            return codecs[0].decode(value, segments)
        if type(value) is not list or len(value) != 2 or type(value[0]) is not int or not 0 <= value[0] < len(codecs):
            raise _mismatch(declared)
        return codecs[value[0]].decode(value[1], segments)

    return Codec(encode, decode)


def _build_collection(declared: Any) -> Codec | None:
    origin = get_origin(declared)
    if not isinstance(origin, type) or not issubclass(origin, Collection) or issubclass(origin, Mapping):
        return None
    items = get_args(declared)
    if issubclass(origin, tuple) and not (len(items) == 2 and items[1] is ...):
        return _build_fixed_tuple(declared, items)
    if issubclass(origin, tuple) and _is_record(items[0]):
        return _build_record_tuple(items[0])
    item = codec_of(items[0])
    result: Any = tuple if issubclass(origin, tuple) else origin if origin in (set, frozenset) else list

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if type(value) is not list:
            raise _mismatch(declared)
        return result([item.decode(entry, segments) for entry in value])

    return Codec(lambda value, segments: [item.encode(entry, segments) for entry in value], decode)


def _build_fixed_tuple(declared: Any, members: Sequence[Any]) -> Codec:
    codecs = [codec_of(member) for member in members]

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if type(value) is not list or len(value) != len(codecs):
            raise _mismatch(declared)
        return tuple([codec.decode(entry, segments) for codec, entry in zip(codecs, value, strict=True)])

    return Codec(
        lambda value, segments: [codec.encode(entry, segments) for codec, entry in zip(codecs, value, strict=True)],
        decode,
    )


def _build_mapping(declared: Any) -> Codec | None:
    origin = get_origin(declared)
    if not isinstance(origin, type) or not issubclass(origin, Mapping) or get_args(declared)[0] is not str:
        return None
    item = codec_of(get_args(declared)[1])

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if type(value) is not dict:
            raise _mismatch(declared)
        return {key: item.decode(entry, segments) for key, entry in value.items()}

    return Codec(lambda value, segments: {key: item.encode(entry, segments) for key, entry in value.items()}, decode)


def _is_record(declared: Any) -> bool:
    """Whether a type has named fields: a dataclass, NamedTuple or TypedDict."""
    if not isinstance(declared, type):
        return False
    return dataclasses.is_dataclass(declared) or hasattr(declared, "_fields") or typing.is_typeddict(declared)


def _field_codecs(declared: Any) -> dict[str, Codec]:
    hints = typing.get_type_hints(declared)
    if dataclasses.is_dataclass(declared):
        names = [entry.name for entry in dataclasses.fields(declared) if entry.init]
    else:
        names = list(getattr(declared, "_fields", hints))
    return {name: codec_of(hints[name]) for name in names}


def _build_record(declared: Any) -> Codec | None:
    if not _is_record(declared):
        return None
    codecs = _field_codecs(declared)
    encoders = [(name, codec.encode) for name, codec in codecs.items()]
    decoders = [(name, codec.decode) for name, codec in codecs.items()]
    names = codecs.keys()

    def encode(value: Any, segments: list[bytes]) -> dict[str, Any]:
        if typing.is_typeddict(declared):
            return {name: encode_field(value[name], segments) for name, encode_field in encoders}
        return {name: encode_field(getattr(value, name), segments) for name, encode_field in encoders}

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if type(value) is not dict or value.keys() != names:
            raise _mismatch(declared)
        return declared(**{name: decode_field(value[name], segments) for name, decode_field in decoders})

    return Codec(encode, decode)


def _build_record_tuple(declared: Any) -> Codec:
    """Build the codec of a tuple of records: many messages repeat an equal one, as the images of a series do."""
    codecs = _field_codecs(declared)
    names = list(codecs)

    # A result refers to its tuple, so that no other tuple has the same id while the result is cached.
    @cached(FIFOCache(maxsize=_RECENT_ENCODINGS), key=id, lock=Lock())
    def encode_once(value: tuple[Any, ...]) -> tuple[tuple[Any, ...], bytes]:
        rows = [[codecs[name].encode(getattr(record, name), []) for name in names] for record in value]
        return value, json.dumps(rows).encode()

    def encode(value: tuple[Any, ...], segments: list[bytes]) -> int:
        segments.append(encode_once(value)[1])
        return len(segments) - 1

    def parse(text: bytes) -> tuple[Any, ...]:
        rows = json.loads(text)
        if type(rows) is not list or any(type(row) is not list or len(row) != len(names) for row in rows):
            raise _mismatch(declared)
        return tuple(
            [
                declared(**{name: codecs[name].decode(entry, ()) for name, entry in zip(names, row, strict=True)})
                for row in rows
            ]
        )

    parse_once = lru_cache(maxsize=_RECENT_ENCODINGS)(parse)

    def decode(value: Any, segments: Sequence[bytes]) -> tuple[Any, ...]:
        text = _segment(value, segments)
        if len(text) > MAX_JSON_BYTES:
            raise _mismatch(declared)
        return parse_once(text) if len(text) <= _CACHED_BYTES else parse(text)

    return Codec(encode, decode)


def _build_model(declared: Any) -> Codec | None:
    validate = getattr(declared, "model_validate_json", None)
    if validate is None:
        return None
    validate_once = lru_cache(maxsize=16)(validate)

    def decode(value: Any, _: Sequence[bytes]) -> Any:
        if type(value) is not str:
            raise _mismatch(declared)
        return validate_once(value)

    return Codec(lambda value, _: value.model_dump_json(), decode)


def _build_error(declared: Any) -> Codec | None:
    if not (isinstance(declared, type) and issubclass(declared, MedhubError)):
        return None
    hints = typing.get_type_hints(declared.__init__)
    parameters = inspect.signature(declared).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise TypeError(f"the constructor of {declared.__name__} does not declare its facts")
    codecs = {name: codec_of(hints[name]) for name in parameters}

    def encode(value: Any, segments: list[bytes]) -> dict[str, Any]:
        return {
            name: codec.encode(value.message if name == "message" else value.facts[name], segments)
            for name, codec in codecs.items()
        }

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if type(value) is not dict or value.keys() != codecs.keys():
            raise _mismatch(declared)
        return declared(**{name: codec.decode(value[name], segments) for name, codec in codecs.items()})

    return Codec(encode, decode)


def _build_array(declared: Any) -> Codec | None:
    """Build the codec of an array of numpy, which this module does not import."""
    array: Any = get_origin(declared)
    if getattr(array, "__module__", "") != "numpy" or array.__name__ != "ndarray":
        return None
    dtype_class = get_args(declared)[1]
    (scalar,) = get_args(dtype_class)
    if not isinstance(scalar, type):
        raise TypeError("an array that is sent between processes has a declared type of item")
    dtype = get_origin(dtype_class)(scalar)

    def encode(value: Any, segments: list[bytes]) -> list[Any]:
        if value.dtype != dtype:
            raise TypeError(f"this is not an array of {dtype}")
        segments.append(value.tobytes())
        return [list(value.shape), len(segments) - 1]

    def decode(value: Any, segments: Sequence[bytes]) -> Any:
        if type(value) is not list or len(value) != 2 or type(value[0]) is not list:
            raise _mismatch(declared)
        shape, data = value[0], _segment(value[1], segments)
        if len(shape) > _MAX_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
            raise _mismatch(declared)
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError("the items do not fill the shape")
        return array(tuple(shape), dtype, buffer=data)

    return Codec(encode, decode)


_BUILDERS: tuple[Callable[[Any], Codec | None], ...] = (
    _build_plain,
    _build_basic,
    _build_bytes,
    _build_datetime,
    _build_literal,
    _build_union,
    _build_array,
    _build_collection,
    _build_mapping,
    _build_record,
    _build_model,
    _build_error,
)
