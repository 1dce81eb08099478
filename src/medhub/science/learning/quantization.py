# SPDX-License-Identifier: Apache-2.0
"""Static quantization to 8 bits (Jacob et al., CVPR 2018), kept only where it costs little accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from medhub.science.inference.classifier import INPUT, session_options
from medhub.science.inference.preprocessing import Preprocessing, normalize

INT8_FILE = "model-int8.onnx"
_OBSERVED = 200
_BATCH = 8


def quantize(model: bytes, images: NDArray[np.uint8], preprocessing: Preprocessing) -> bytes:
    """Quantize the convolutions and matrix products of a graph to 8 bits, except those of the novelty score.

    Parameters
    ----------
    model
        The exported graph, with weights of 32 bits.
    images
        N x S x S x 3, training images on which the ranges of the activations are observed.
    preprocessing
        The preprocessing of the classifier.

    Returns
    -------
    bytes
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    samples = images[:: max(1, len(images) // _OBSERVED)]

    class Observed(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime publishes no types.
        def __init__(self) -> None:
            self.batches: Iterator[dict[str, NDArray[np.float32]]] = (
                {INPUT: normalize(samples[first : first + _BATCH], preprocessing)}
                for first in range(0, len(samples), _BATCH)
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        original, preprocessed, quantized = (Path(folder) / name for name in ("model.onnx", "prepared.onnx", INT8_FILE))
        original.write_bytes(model)
        # Symbolic shapes break on HRNet's sums; ordinary inference of shapes is enough.
        quant_pre_process(str(original), str(preprocessed), skip_symbolic_shape=True)
        quantize_static(
            str(preprocessed),
            str(quantized),
            Observed(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return quantized.read_bytes()


def logits_of(model: bytes, images: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Compute the logits of a graph, N x C."""
    session = onnxruntime.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    batches = [
        session.run(["logits"], {INPUT: normalize(images[first : first + _BATCH], preprocessing)})[0]
        for first in range(0, len(images), _BATCH)
    ]
    result: NDArray[np.float64] = np.concatenate(batches).astype(np.float64)
    return result
