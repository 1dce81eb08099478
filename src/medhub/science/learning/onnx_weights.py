# SPDX-License-Identifier: Apache-2.0
"""Initial weights of a network from the ``model.onnx`` of a classifier of the same architecture.

In the exported file, batch normalization is folded into the convolutions, so it cannot be loaded. It is restored in two
steps, neither of which changes the result of the network in evaluation: first as a normalization that only adds the
folded bias; then with the mean and the variance of each layer's input on real images, so that training continues as it
would have. Convolutions are matched in the order in which they run, and every shape must agree.
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


def load_onnx(network: Network, path: Path) -> None:
    """Load all but the head of an exported network.

    Parameters
    ----------
    network
        Its head is left as it is.
    path
        A ``model.onnx`` of the same architecture.

    Raises
    ------
    Invalid
        The file holds another architecture.
    """
    own, read = _list_convolutions(network), read_convolutions(path)
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
            _set_statistics(normalization, torch.zeros(len(bias)), torch.full((len(bias),), 1 - normalization.eps))
            normalization.weight.fill_(1)
            normalization.bias.copy_(torch.from_numpy(bias))


def restore_normalization(network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing) -> None:
    """Set each batch normalization to the mean and variance of its input on images; the output stays the same.

    Parameters
    ----------
    network
        As ``load_onnx`` left it; put into evaluation mode.
    images
        N x S x S x 3, some of the training images.
    preprocessing
        Side and normalization.
    """
    sums: dict[nn.Module, tuple[Tensor, Tensor, int]] = {}

    def add_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        total, squares, count = sums.get(module, (torch.zeros(1), torch.zeros(1), 0))
        sums[module] = (
            total + values.sum((0, 2, 3)),
            squares + values.square().sum((0, 2, 3)),
            count + values.numel() // values.shape[1],
        )

    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [layer.register_forward_pre_hook(add_input) for layer in layers]
    network.eval()
    with torch.inference_mode():
        for first in range(0, len(images), _BATCH):
            network.maps(torch.from_numpy(normalize(images[first : first + _BATCH], preprocessing)))
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for layer in layers:
            if layer not in sums:  # part of the network, but not run
                continue
            total, squares, count = sums[layer]
            mean = total.clone() / count
            variance = (squares.clone() / count - mean.square()).clamp(min=0)
            # y = x + b is y = spread * (x - mean) / spread + (b + mean).
            layer.bias.add_(mean.float())
            layer.weight.copy_((variance.float() + layer.eps).sqrt())
            _set_statistics(layer, mean.float(), variance.float())


def _set_statistics(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    if layer.running_mean is None or layer.running_var is None:
        raise Invalid("The network's batch normalization has no running mean.", field="init")
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
    stored = {tensor.name: tensor for tensor in graph.initializer}
    # Weights of 16 bits are widened by a cast.
    widened = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    convolutions = []
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        names = [widened.get(name, name) for name in node.input[1:]]
        if len(names) != 2 or any(name not in stored for name in names):
            raise Invalid(f"{path.name} holds no weights of this project's exporter.", field="init")
        weight, bias = (onnx.numpy_helper.to_array(stored[name]).astype(np.float32) for name in names)
        convolutions.append((weight, bias))
    return convolutions


def _list_convolutions(network: Network) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """List convolutions in the order in which they run, each with the batch normalization that reads its output."""
    order: list[nn.Conv2d] = []
    sources: dict[int, nn.Conv2d] = {}  # by the id of the output
    outputs: list[Tensor] = []  # holds the outputs, so that no id is used twice
    normalizations: dict[nn.Conv2d, nn.BatchNorm2d] = {}

    def record_output(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        convolution = cast(nn.Conv2d, module)
        order.append(convolution)
        sources[id(output)] = convolution
        outputs.append(output)

    def record_input(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in sources:
            normalizations[sources[id(inputs[0])]] = cast(nn.BatchNorm2d, module)

    modules = list(network.modules())
    hooks = [module.register_forward_hook(record_output) for module in modules if isinstance(module, nn.Conv2d)]
    hooks += [
        module.register_forward_pre_hook(record_input) for module in modules if isinstance(module, nn.BatchNorm2d)
    ]
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        network.maps(torch.zeros(1, 3, _SIDE, _SIDE))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return [(module, normalizations.get(module)) for module in order]
