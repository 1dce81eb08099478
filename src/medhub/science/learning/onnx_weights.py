# SPDX-License-Identifier: Apache-2.0
"""The weights of a classifier's ``model.onnx``, as the start of a network of the same architecture.

In the exported file batch normalization is folded into the convolutions, so there is nothing left of it to load. It is
put back in two steps, neither of which changes what the network computes in evaluation: first as one that does nothing
but add the folded bias; then, from images, with the mean and the variance that each layer really meets, so that
training goes on as it would have. Convolutions are matched in the order in which they run, and every shape must agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medhub.errors import Invalid
from medhub.science.inference.preprocessing import Preprocessing, normalize
from medhub.science.learning.network import Network

Floats = NDArray[np.float32]
_SIDE = 64
_BATCH = 16


def load_folded(path: Path, network: Network) -> None:
    """Load all but the head of an exported network.

    Parameters
    ----------
    path
        A ``model.onnx`` of the same architecture.
    network
        Its head is left as it is.

    Raises
    ------
    Invalid
        The file holds another architecture.
    """
    own, read = _convolutions(network), read_convolutions(path)
    # The head is one more, where it is a convolution.
    fits = len(own) <= len(read) <= len(own) + 1 and all(
        tuple(convolution.weight.shape) == weight.shape and len(bias) == len(weight)
        for (convolution, _), (weight, bias) in zip(own, read, strict=False)
    )
    if not fits:
        raise Invalid(f"{path.parent.name}/{path.name} holds the weights of another architecture.", field="init")
    with torch.no_grad():
        for (convolution, normalization), (weight, bias) in zip(own, read, strict=False):
            convolution.weight.copy_(torch.from_numpy(weight))
            if normalization is None:
                if convolution.bias is None:
                    raise Invalid(f"{path.name} has a bias where the network has none.", field="init")
                convolution.bias.copy_(torch.from_numpy(bias))
                continue
            if convolution.bias is not None:
                convolution.bias.zero_()
            _normalize_by(normalization, torch.zeros(len(bias)), torch.full((len(bias),), 1 - normalization.eps))
            normalization.weight.fill_(1)
            normalization.bias.copy_(torch.from_numpy(bias))


def restore_normalization(network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing) -> None:
    """Give each batch normalization the mean and variance that it meets on images; what is computed stays the same.

    Parameters
    ----------
    network
        As ``load_folded`` left it; put into evaluation mode.
    images
        N x S x S x 3, some of those that will be learned from.
    preprocessing
        Side and normalization.
    """
    met: dict[nn.Module, tuple[Tensor, Tensor, int]] = {}

    def look(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].double()
        count = values.numel() // values.shape[1]
        total, squares, seen = met.get(module, (torch.zeros(1), torch.zeros(1), 0))
        met[module] = (total + values.sum((0, 2, 3)), squares + values.square().sum((0, 2, 3)), seen + count)

    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    network.eval()
    with torch.inference_mode():
        for first in range(0, len(images), _BATCH):
            network.maps(torch.from_numpy(normalize(images[first : first + _BATCH], preprocessing)))
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for layer in layers:
            if layer not in met:  # made, but not run
                continue
            total, squares, seen = met[layer]
            mean = total.clone() / seen
            variance = (squares.clone() / seen - mean.square()).clamp(min=0)
            # y = x + b is y = spread * (x - mean) / spread + (b + mean).
            layer.bias.add_(mean.float())
            layer.weight.copy_((variance.float() + layer.eps).sqrt())
            _normalize_by(layer, mean.float(), variance.float())


def _normalize_by(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    if layer.running_mean is None or layer.running_var is None:
        raise Invalid("The network's batch normalization remembers no mean.", field="init")
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)


def read_convolutions(path: Path) -> list[tuple[Floats, Floats]]:
    """Read weights (out x in x height x width) and biases (out) of all convolutions in the order in which they run.

    Raises
    ------
    Invalid
        The file is no ONNX file, or one of its convolutions has no weights or no bias in it.
    """
    try:
        graph = onnx.load_model_from_string(path.read_bytes()).graph
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise Invalid(f"{path.name} cannot be read as ONNX.", field="init") from error
    stored = {one.name: one for one in graph.initializer}
    # Weights of 16 bits are widened by a cast.
    widened = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    found = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        names = [widened.get(name, name) for name in node.input[1:]]
        if len(names) != 2 or any(name not in stored for name in names):
            raise Invalid(f"{path.name} holds no weights of this project's exporter.", field="init")
        weight, bias = (onnx.numpy_helper.to_array(stored[name]).astype(np.float32) for name in names)
        found.append((weight, bias))
    return found


def _convolutions(network: Network) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """List convolutions in the order in which they run, each with the batch normalization that reads it."""
    order: list[nn.Conv2d] = []
    given: dict[int, nn.Conv2d] = {}
    kept: list[Tensor] = []  # so that no number is given to two tensors
    normalized: dict[nn.Conv2d, nn.BatchNorm2d] = {}

    def ran(module: nn.Module, _: tuple[Tensor, ...], result: Tensor) -> None:
        convolution = cast(nn.Conv2d, module)
        order.append(convolution)
        given[id(result)] = convolution
        kept.append(result)

    def reads(module: nn.Module, values: tuple[Tensor, ...]) -> None:
        if id(values[0]) in given:
            normalized[given[id(values[0])]] = cast(nn.BatchNorm2d, module)

    hooks = [one.register_forward_hook(ran) for one in network.modules() if isinstance(one, nn.Conv2d)]
    hooks += [one.register_forward_pre_hook(reads) for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        network.maps(torch.zeros(1, 3, _SIDE, _SIDE))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return [(module, normalized.get(module)) for module in order]
