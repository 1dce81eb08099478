# SPDX-License-Identifier: Apache-2.0
"""Fusion of operations in the OCR networks, so that they compute the same function in half the time.

As published, the networks spend two thirds of their time on single additions and multiplications. Algebraic
transformations reduce this: hard swish in four operations becomes two, which onnxruntime fuses with the convolution
before them; a factor and a summand after a convolution become part of its weights; x + x h becomes x (1 + h). Nothing
is quantized or retrained.

Files are read and written in the protocol buffers format directly, since the package ``onnx`` is not a dependency of
the server.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Fields of ModelProto, GraphProto, NodeProto, AttributeProto and TensorProto (onnx.proto3).
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_TYPE, _NODE_ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_TENSOR = 5
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 8, 9
_FLOAT = 1
_FIXED = {1: 8, 5: 4}

_Value = int | bytes
_Fields = list[tuple[int, int, _Value]]


class InvalidNetwork(ValueError):
    """The bytes are not a network in the supported form."""


@dataclass
class _Node:
    """An operation; fields other than type, inputs and outputs stay as they were read."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    rest: _Fields = field(default_factory=list)


def fuse_operations(model: bytes) -> bytes:
    """Rewrite a network so that it computes the same function in less time.

    Parameters
    ----------
    model
        An ONNX file.

    Returns
    -------
    bytes
        An ONNX file; of networks without any of these patterns, the same operations.

    Raises
    ------
    InvalidNetwork
        When the file cannot be read.
    """
    try:
        fields = list(_decode_fields(model))
        graph = next(list(_decode_fields(_as_bytes(value))) for number, _, value in fields if number == _MODEL_GRAPH)
        network = _Graph(graph)
        network.fuse_hard_swish()
        network.fuse_gates()
        network.fuse_scales()
        encode = network.encode(graph)
    except (StopIteration, IndexError, KeyError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise InvalidNetwork(f"this network cannot be read ({type(error).__name__})") from error
    return _encode_fields([(n, w, encode if n == _MODEL_GRAPH else value) for n, w, value in fields])


class _Graph:
    """Operations and constants of a network."""

    def __init__(self, graph: _Fields) -> None:
        self.nodes: list[_Node] = []
        self.constants: dict[str, NDArray[np.float32]] = {}
        self._verbatim: list[_Node] = []
        self._new_constants: dict[str, NDArray[np.float32]] = {}
        self._outputs = {
            _decode_text(_first_field(_as_bytes(value), 1)) for number, _, value in graph if number == _GRAPH_OUTPUT
        }
        for number, _, value in graph:
            if number == _GRAPH_NODE:
                node = _decode_node(_as_bytes(value))
                (self._verbatim if node.kind == "Constant" else self.nodes).append(node)
                if node.kind == "Constant":
                    attribute = next(_as_bytes(value) for number, _, value in node.rest if number == _NODE_ATTRIBUTE)
                    self._add_constant(node.outputs[0], _first_field(attribute, _ATTRIBUTE_TENSOR))
            elif number == _GRAPH_INITIALIZER:
                self._add_constant(_decode_text(_first_field(_as_bytes(value), _TENSOR_NAME)), _as_bytes(value))

    def _add_constant(self, name: str, tensor: _Value | None) -> None:
        array = _decode_tensor(_as_bytes(tensor)) if tensor is not None else None
        if array is not None:
            self.constants[name] = array

    def fuse_hard_swish(self) -> None:
        """Fuse x clip(x + 3, 0, 6) / 6, in four operations, into x times the hard sigmoid of x."""
        for last in [node for node in self.nodes if node.kind == "Div"]:
            times = self._find_producer(last, "Mul")
            clip = self._find_producer(times, "Clip")
            plus = self._find_producer(clip, "Add")
            if times is None or clip is None or plus is None or self._scalar(last) != 6 or self._scalar(plus) != 3:
                continue
            source = next(name for name in plus.inputs if name not in self.constants)
            bounds = [self.constants.get(name) for name in clip.inputs[1:]]
            inner = all(len(self._consumers(node.outputs[0])) == 1 for node in (times, clip, plus))
            if source not in times.inputs or [None if b is None else float(b) for b in bounds] != [0, 6] or not inner:
                continue
            gate = f"{last.outputs[0]}.gate"
            rest = [_encode_attribute("alpha", 1 / 6), _encode_attribute("beta", 0.5)]
            self._replace(
                last, _Node("HardSigmoid", [source], [gate], rest), _Node("Mul", [source, gate], last.outputs)
            )
            self._remove_nodes(times, clip, plus)

    def fuse_gates(self) -> None:
        """Fuse x + x h, with a small h, into x times (1 + h): one pass over x instead of two."""
        for plus in [node for node in self.nodes if node.kind == "Add"]:
            times = self._find_producer(plus, "Mul")
            if times is None or len(self._consumers(times.outputs[0])) != 1:
                continue
            source = next(name for name in plus.inputs if name != times.outputs[0])
            gates = [name for name in times.inputs if name != source]
            if source in self.constants or len(gates) != 1 or gates[0] in self.constants:
                continue
            more = f"{gates[0]}.more"
            unit = self._add_new_constant(np.ones(1, np.float32))
            self._replace(plus, _Node("Add", [gates[0], unit], [more]), _Node("Mul", [source, more], plus.outputs))
            self._remove_nodes(times)

    def fuse_scales(self) -> None:
        """Move a factor and a summand into the convolution before them, or make a convolution of them."""
        for node in [node for node in self.nodes if node.kind == "Conv"]:
            while (after := self._sole_consumer(node)) is not None and after.kind in ("Mul", "Add"):
                number = self._scalar(after)
                if number is None or node.inputs[1] not in self.constants:
                    break
                weights = self.constants[node.inputs[1]]
                bias = self.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(len(weights), np.float32)
                weights, bias = (weights * number, bias * number) if after.kind == "Mul" else (weights, bias + number)
                node.inputs[1:] = [self._add_new_constant(weights), self._add_new_constant(bias)]
                node.outputs = after.outputs
                self._remove_nodes(after)
        for times in [node for node in self.nodes if node.kind == "Mul"]:
            plus, factor = self._sole_consumer(times), self._scalar(times)
            summand = self._scalar(plus) if plus is not None and plus.kind == "Add" else None
            source = next((name for name in times.inputs if name not in self.constants), "")
            channels = self._count_channels(source)
            if plus is None or factor is None or summand is None or not channels:
                continue
            scale = self._add_new_constant(np.full((channels, 1, 1, 1), factor, np.float32))
            shift = self._add_new_constant(np.full(channels, summand, np.float32))
            rest = [_encode_attribute("group", channels), _encode_attribute("kernel_shape", [1, 1])]
            self._replace(times, _Node("Conv", [source, scale, shift], plus.outputs, rest))
            self._remove_nodes(plus)

    def encode(self, graph: _Fields) -> bytes:
        """Encode the graph with the present operations."""
        used = {name for node in self.nodes for name in node.inputs} | self._outputs
        constants_in_use = [node for node in self._verbatim if node.outputs[0] in used]
        new = [_encode_constant(name, array) for name, array in self._new_constants.items() if name in used]
        nodes = [(_GRAPH_NODE, 2, _encode_node(node)) for node in (*constants_in_use, *new, *self.nodes)]
        return _encode_fields([*nodes, *(graph_field for graph_field in graph if graph_field[0] != _GRAPH_NODE)])

    def _find_producer(self, node: _Node | None, kind: str) -> _Node | None:
        """Find the operation of a kind whose result is an input of this one."""
        if node is None:
            return None
        return next(
            (candidate for candidate in self.nodes if candidate.kind == kind and candidate.outputs[0] in node.inputs),
            None,
        )

    def _consumers(self, name: str) -> list[_Node]:
        return [node for node in self.nodes if name in node.inputs]

    def _sole_consumer(self, node: _Node) -> _Node | None:
        users = self._consumers(node.outputs[0])
        return users[0] if len(users) == 1 and node.outputs[0] not in self._outputs else None

    def _scalar(self, node: _Node) -> float | None:
        """Return the constant number that an operation of two inputs adds, multiplies or divides by."""
        numbers = [self.constants[name] for name in node.inputs if name in self.constants]
        return float(numbers[0].ravel()[0]) if len(node.inputs) == 2 and len(numbers) == 1 == numbers[0].size else None

    def _count_channels(self, name: str) -> int:
        """Number of channels of a result: that of the convolution that it derives from elementwise."""
        producer = next((node for node in self.nodes if name in node.outputs), None)
        if producer is None or producer.kind not in ("Conv", "Mul", "HardSigmoid"):
            return 0
        if producer.kind == "Conv":
            return len(self.constants[producer.inputs[1]]) if producer.inputs[1] in self.constants else 0
        return self._count_channels(producer.inputs[0])

    def _add_new_constant(self, array: NDArray[np.float32]) -> str:
        name = f"medhub.{len(self._new_constants)}"
        self._new_constants[name] = self.constants[name] = np.ascontiguousarray(array, np.float32)
        return name

    def _replace(self, node: _Node, *others: _Node) -> None:
        at = next(number for number, candidate in enumerate(self.nodes) if candidate is node)
        self.nodes[at : at + 1] = others

    def _remove_nodes(self, *nodes: _Node) -> None:
        self.nodes = [candidate for candidate in self.nodes if not any(candidate is node for node in nodes)]


def _decode_node(data: bytes) -> _Node:
    node = _Node("", [], [])
    for number, wire, value in _decode_fields(data):
        if number == _NODE_INPUT:
            node.inputs.append(_decode_text(value))
        elif number == _NODE_OUTPUT:
            node.outputs.append(_decode_text(value))
        elif number == _NODE_TYPE:
            node.kind = _decode_text(value)
        elif number != _NODE_NAME:  # new operations have no unique names
            node.rest.append((number, wire, value))
    return node


def _encode_node(node: _Node) -> bytes:
    ends: _Fields = [(_NODE_INPUT, 2, name.encode()) for name in node.inputs]
    ends += [(_NODE_OUTPUT, 2, name.encode()) for name in node.outputs]
    return _encode_fields([*ends, (_NODE_TYPE, 2, node.kind.encode()), *node.rest])


def _encode_constant(name: str, array: NDArray[np.float32]) -> _Node:
    tensor: _Fields = [(_TENSOR_DIMS, 0, size) for size in array.shape]
    tensor += [(_TENSOR_TYPE, 0, _FLOAT), (_TENSOR_RAW, 2, array.astype("<f4").tobytes())]
    value = _encode_fields([(1, 2, b"value"), (_ATTRIBUTE_TENSOR, 2, _encode_fields(tensor)), (20, 0, 4)])
    return _Node("Constant", [], [name], [(_NODE_ATTRIBUTE, 2, value)])


def _encode_attribute(name: str, value: float | list[int]) -> tuple[int, int, _Value]:
    """Encode an attribute of an operation: a float, an integer, or a list of integers."""
    message: _Fields = [(1, 2, name.encode())]
    if isinstance(value, list):
        message += [*((8, 0, number) for number in value), (20, 0, 7)]
    elif isinstance(value, int):
        message += [(3, 0, value), (20, 0, 2)]
    else:
        message += [(2, 5, struct.pack("<f", value)), (20, 0, 1)]
    return _NODE_ATTRIBUTE, 2, _encode_fields(message)


def _decode_tensor(tensor: bytes) -> NDArray[np.float32] | None:
    """Decode a tensor of 32-bit floats; ``None`` for other types."""
    sizes: list[int] = []
    raw, kind = b"", 0
    for number, wire, value in _decode_fields(tensor):
        if number == _TENSOR_DIMS:
            sizes += [value] if isinstance(value, int) else [size for size, _ in _decode_varints(value)]
        elif number == _TENSOR_TYPE:
            kind = int(value)
        elif number == _TENSOR_RAW or (number == _TENSOR_FLOATS and wire in (2, 5)):
            raw += _as_bytes(value)
    if kind != _FLOAT:
        return None
    return np.frombuffer(raw, "<f4").reshape(sizes)


def _first_field(data: bytes, field_number: int) -> _Value:
    return next(value for number, _, value in _decode_fields(data) if number == field_number)


def _as_bytes(value: _Value) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidNetwork("a field is a number instead of a message")
    return value


def _decode_text(value: _Value) -> str:
    return _as_bytes(value).decode()


def _decode_fields(data: bytes) -> Iterator[tuple[int, int, _Value]]:
    """Decode the fields of a message: number, wire type, and value (bytes for fixed lengths)."""
    at = 0
    while at < len(data):
        key, at = _decode_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _decode_varint(data, at)
            yield number, wire, value
            continue
        if wire == 2:
            length, at = _decode_varint(data, at)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise InvalidNetwork("a field has an unknown wire type")
        if at + length > len(data):
            raise InvalidNetwork("it is truncated")
        yield number, wire, data[at : at + length]
        at += length


def _decode_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _decode_varints(data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        value, at = _decode_varint(data, at)
        yield value, at


def _encode_fields(fields: _Fields) -> bytes:
    out = bytearray()
    for number, wire, value in fields:
        _write_varint(out, number << 3 | wire)
        if isinstance(value, int):
            _write_varint(out, value)
            continue
        if wire == 2:
            _write_varint(out, len(value))
        out += value
    return bytes(out)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
