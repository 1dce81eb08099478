# SPDX-License-Identifier: Apache-2.0
"""A classifier folder small enough for a test: three labels that stand for how red, green or blue an image is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.science.optional_packages import need

need("onnx")

import onnx  # noqa: E402  # Only where it is there; see need.
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

LABELS = ("red", "green", "blue")
SIDE = 32
LIMIT = 2.0


def model(*, labels: tuple[str, ...] = LABELS, side: int = SIDE, outputs: int = 4) -> bytes:
    """The activation maps are the channels themselves; the novelty is the range of the greatest channel, 0..4."""
    maps = helper.make_tensor_value_info("activation", TensorProto.FLOAT, ["n", len(labels), side // 8, side // 8])
    given = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(labels)]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(labels)]),
        maps,
        helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["n"]),
    ]
    nodes = [
        helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Mul", ["small", "factor"], ["activation"]),
        helper.make_node("ReduceMean", ["activation"], ["logits"], axes=[2, 3], keepdims=0),
        helper.make_node("Identity", ["logits"], ["features"]),
        helper.make_node("ReduceMax", ["small"], ["high"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("ReduceMin", ["small"], ["low"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["high", "low"], ["range"]),
        helper.make_node("Mul", ["range", "two"], ["novelty"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(5, np.float32), "factor"),
        numpy_helper.from_array(np.array(2, np.float32), "two"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, side, side])
    graph = helper.make_graph(nodes, "tiny", [image], given[:outputs], constants)
    graph_model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(graph_model, {"labels": "\n".join(labels)})
    onnx.checker.check_model(graph_model)
    data: bytes = graph_model.SerializeToString()
    return data


def card_text(sha256: str, **changes: str) -> str:
    lines = {
        "name": '"tiny"',
        "version": '"1"',
        "title": '"How red an image is"',
        "architecture": '"none"',
        "licence": '"Apache-2.0"',
        "labels": '["red", "green", "blue"]',
        "model_sha256": f'"{sha256}"',
        "temperature": "1.0",
        "intended_use": '"tests"',
        "not_for": '["anything else"]',
        "trained_with": '"nothing"',
    }
    preprocessing = {"size": str(SIDE), "mean": "[127.5, 127.5, 127.5]", "std": "[127.5, 127.5, 127.5]"}
    novelty = {"limit": str(LIMIT), "quantile": "0.99", "method": '"range"', "basis": '"chosen"'}
    for name, value in changes.items():
        part = preprocessing if name in preprocessing else novelty if name in novelty else lines
        part[name] = value
    sections = [lines, preprocessing, novelty]
    heads = ["", "[preprocessing]\n", "[novelty]\n"]
    return "".join(
        head + "".join(f"{name} = {value}\n" for name, value in section.items() if value)
        for head, section in zip(heads, sections, strict=True)
    )


def folder(at: Path, data: bytes | None = None, **changes: str) -> Path:
    at.mkdir(parents=True)
    data = model() if data is None else data
    (at / "model.onnx").write_bytes(data)
    (at / "card.toml").write_text(card_text(hashlib.sha256(data).hexdigest(), **changes), encoding="utf-8")
    return at


def uniform_image(red: int, green: int, blue: int, side: int = 40) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (side, side, 3)).copy()
