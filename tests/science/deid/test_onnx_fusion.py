# SPDX-License-Identifier: Apache-2.0
"""The OCR networks compute the same values after fusion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from medhub.science.deid.onnx_fusion import InvalidNetwork, fuse_operations
from tests.factories.burned import write_line

rapidocr = pytest.importorskip("rapidocr_onnxruntime")
MODELS = Path(rapidocr.__file__).parent / "models"


def _run(model: bytes, values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: np.ndarray = session.run(None, {session.get_inputs()[0].name: values})[0]
    return outputs


@pytest.mark.parametrize(
    ("name", "shape"), [("ch_PP-OCRv4_det_infer", (1, 3, 96, 160)), ("ch_PP-OCRv4_rec_infer", (1, 3, 48, 200))]
)
def test_the_faster_network_gives_the_same_answers_with_fewer_operations(name: str, shape: tuple[int, ...]) -> None:
    model = (MODELS / f"{name}.onnx").read_bytes()
    other = fuse_operations(model)
    picture = np.zeros(shape[2:])
    write_line(picture, "Kowalska", (8, 6), 30, 220)
    values = np.broadcast_to(picture / 127.5 - 1, shape).astype(np.float32)
    before, after = _run(model, values), _run(other, values)
    assert before.max() > 0.5
    assert np.allclose(before, after, atol=1e-4)
    assert other.count(b"Clip") == 0 < model.count(b"Clip")


@pytest.mark.parametrize("bad", [b"", b"\x3a", b"no network at all", b"\xff" * 40])
def test_what_is_no_network_is_refused(bad: bytes) -> None:
    with pytest.raises(InvalidNetwork):
        fuse_operations(bad)
