# SPDX-License-Identifier: Apache-2.0
"""From a trained network to the ``model.onnx`` that serving reads, checked against torch on real images."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medhub.errors import MedhubError
from medhub.science.inference.classifier import INPUT, OUTPUTS, session_options
from medhub.science.inference.preprocessing import Preprocessing, normalize
from medhub.science.learning.network import Network
from medhub.science.learning.novelty import Novelty

OPSET = 17
TOLERANCE = 1e-4
_SMALL = 1000  # weights with fewer numbers are left as they are


class ExportDiffers(MedhubError):
    """The exported graph does not compute what the network does; nothing was written."""

    code = "export-differs"
    title = "The exported model differs"


@dataclass(frozen=True)
class Exported:
    """A checked graph: its bytes, their SHA-256, and the greatest difference found."""

    model: bytes
    sha256: str
    difference: float


class Graph(nn.Module):
    """What is exported: logits, features, class activation maps and novelty of a batch."""

    def __init__(self, network: Network, novelty: Novelty) -> None:
        super().__init__()
        self.network = network
        self.novelty = novelty

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the four outputs named in ``science.inference.classifier``."""
        maps = self.network.maps(image)
        pooled = tuple(feature_map.mean((2, 3)) for feature_map in maps)
        # The mean of the class activation maps is the logits.
        activation = self.network.activation(maps[-1])
        return activation.mean((2, 3)), pooled[-1], activation, self.novelty(pooled)


def export(
    network: Network,
    novelty: Novelty,
    labels: tuple[str, ...],
    preprocessing: Preprocessing,
    images: NDArray[np.uint8],
    *,
    half: bool = False,
) -> Exported:
    """Export a network, and compare the result with torch.

    Parameters
    ----------
    network
        Trained.
    novelty
        Fitted.
    labels
        In the order of the logits; written into the file, so that a card with other labels is refused.
    preprocessing
        Side and normalization.
    images
        N x S x S x 3, real images to compare with.
    half
        Store the weights with 16 bits. They must have been rounded to that already (``rounded``), so that nothing
        changes by it; ONNX Runtime widens them again when it loads the file.

    Returns
    -------
    Exported

    Raises
    ------
    ExportDiffers
        An output differs by more than 1e-4 (relative to the greatest value of that output, where that is above 1).
    """
    graph = Graph(network, novelty).eval()
    graph.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's own stub lacks it.
    batch = torch.from_numpy(normalize(images, preprocessing))
    traced = _trace_graph(graph, batch[:1])
    if half:
        _store_halves(traced)
    model = _add_labels(traced, labels)
    difference = compare(graph, model, batch)
    if difference > TOLERANCE:
        raise ExportDiffers(f"The exported model differs from the trained one by {difference:.2g}.")
    return Exported(model, hashlib.sha256(model).hexdigest(), difference)


def round_weights(network: Network) -> None:
    """Round the weights of the convolutions and the head to what 16 bits hold."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.copy_(module.weight.half().float())


def _store_halves(model: onnx.ModelProto) -> None:
    """Store large weights with 16 bits, each widened by a cast that is computed once, when the file is loaded."""
    casts = []
    for weight in list(model.graph.initializer):
        if weight.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(weight)
        narrow = values.astype(np.float16)
        if values.size < _SMALL or not np.array_equal(narrow.astype(np.float32), values):
            continue
        name = f"{weight.name}/half"
        model.graph.initializer.remove(weight)
        model.graph.initializer.append(onnx.numpy_helper.from_array(narrow, name))
        casts.append(onnx.helper.make_node("Cast", [name], [weight.name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)


def _trace_graph(graph: Graph, example: Tensor) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        # The exporter by tracing says of itself that it is the older one; the newer one breaks HRNet's quantization.
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based ONNX export")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.(onnx|jit)\b")
        # Padding lists are turned around by a slice; ONNX Runtime folds it when it loads the file.
        warnings.filterwarnings("ignore", message="Constant folding - Only steps=1 can be constant folded")
        torch.onnx.export(
            graph,
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "images"} for name in (INPUT, *OUTPUTS)},
        )
        return onnx.load_model(path)


def _add_labels(model: onnx.ModelProto, labels: tuple[str, ...]) -> bytes:
    onnx.helper.set_model_props(model, {"labels": "\n".join(labels)})
    model.producer_name = "medhub"
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def compare(graph: Graph, model: bytes, batch: Tensor, batch_size: int = 16) -> float:
    """Compute the greatest difference between ONNX Runtime and torch.

    Parameters
    ----------
    graph
        The network in torch.
    model
        The exported bytes.
    batch
        N x 3 x S x S, normalized.
    batch_size
        Images at a time.

    Returns
    -------
    float
        Relative to the greatest value of an output where that is above 1, absolute elsewhere.
    """
    session = onnxruntime.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    worst = 0.0
    with torch.inference_mode():
        for first in range(0, len(batch), batch_size):
            part = batch[first : first + batch_size]
            served = session.run(list(OUTPUTS), {INPUT: part.numpy()})
            for ours, theirs in zip(graph(part), served, strict=True):
                expected = ours.numpy()
                worst = max(worst, float(np.abs(expected - theirs).max() / max(1.0, np.abs(expected).max())))
    return worst
