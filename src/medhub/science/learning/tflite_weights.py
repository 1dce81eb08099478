# SPDX-License-Identifier: Apache-2.0
"""Initial weights of a float network from an int8 TFLite MobileNetV2 that was trained on ImageNet.

The file comes from the test data of google-coral (``tf2_mobilenet_v2_1.0_224_ptq.tflite``, Apache-2.0): TensorFlow 2
weights, quantized after training (Jacob et al., CVPR 2018: ``real = scale * (int - zero_point)``, weights with
zero point 0 and one scale a channel, biases int32). Batch normalization is folded in, and the padding is TensorFlow's
SAME, so the network is built with ``folded=True, same_padding=True``. The input is RGB, ``x / 127.5 - 1``.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medhub.errors import Invalid

IMAGENET_OUTPUTS = 1001  # index 0 is "background"
_CONVOLUTIONS = 53  # with the head


def load_tflite(network: nn.Module, path: Path) -> None:
    """Load all but the head of an ImageNet MobileNetV2 into a network.

    Parameters
    ----------
    network
        A MobileNetV2 built with ``folded=True, same_padding=True``; its head is left as it is.
    path
        The ``.tflite`` file.

    Raises
    ------
    Invalid
        The file is not such a MobileNetV2.
    """
    _copy_convolutions(read_convolutions(path)[: _CONVOLUTIONS - 1], _list_convolutions(network))


def load_imagenet(network: nn.Module, path: Path) -> None:
    """Load an ImageNet MobileNetV2 with its head of 1,001 outputs, to check the conversion.

    Parameters
    ----------
    network
        A MobileNetV2 built with 1,001 classes and ``folded=True, same_padding=True``.
    path
        The ``.tflite`` file.

    Raises
    ------
    Invalid
        The file is not such a MobileNetV2.
    """
    convolutions = read_convolutions(path)
    _copy_convolutions(convolutions[:-1], _list_convolutions(network))
    weight, bias = convolutions[-1]
    head = network.get_submodule("classifier")
    with torch.no_grad():
        head.get_parameter("weight").copy_(torch.from_numpy(weight[:, :, 0, 0]))
        head.get_parameter("bias").copy_(torch.from_numpy(bias))


def read_convolutions(path: Path) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Read weights and biases of all convolutions in the order in which they run.

    The names of the tensors mislead; the order of the operators does not.

    Parameters
    ----------
    path
        The ``.tflite`` file.

    Returns
    -------
    list[tuple[NDArray[np.float32], NDArray[np.float32]]]
        Weights as out x in x height x width (in = 1 for depthwise), biases as out.

    Raises
    ------
    Invalid
        The file is not an int8 MobileNetV2.
    """
    import tflite  # Imported here: only this conversion needs the package.

    try:
        model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        graph = model.Subgraphs(0)
        convolutions = []
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            code = model.OperatorCodes(operator.OpcodeIndex())
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            if kind not in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
                continue
            depthwise = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
            inputs = operator.InputsAsNumpy()
            weight = _dequantize(model, graph.Tensors(int(inputs[1])), axis=3 if depthwise else 0)
            bias = _dequantize(model, graph.Tensors(int(inputs[2])), axis=0)
            # OHWI of a convolution and 1HWC of a depthwise one, both to OIHW.
            convolutions.append((weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2), bias))
    except (IndexError, AttributeError, TypeError, ValueError, struct.error) as error:
        raise Invalid(f"{path.name} is not an int8 TFLite MobileNetV2: {error}.") from error
    if len(convolutions) != _CONVOLUTIONS:
        raise Invalid(f"{path.name} has {len(convolutions)} convolutions; MobileNetV2 has {_CONVOLUTIONS}.")
    return convolutions


def _dequantize(model: Any, tensor: Any, axis: int) -> NDArray[np.float32]:
    import tflite

    types = {tflite.TensorType.INT8: np.int8, tflite.TensorType.INT32: np.int32}
    quantization = tensor.Quantization()
    if np.any(quantization.ZeroPointAsNumpy()):
        raise ValueError("weights with a zero point")
    integers = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), types[tensor.Type()])
    integers = integers.reshape([int(size) for size in tensor.ShapeAsNumpy()])
    scale = np.asarray(quantization.ScaleAsNumpy(), np.float32)
    shape = [1] * integers.ndim
    shape[axis] = len(scale)
    values: NDArray[np.float32] = integers.astype(np.float32) * scale.reshape(shape)
    return values


def _list_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    # Modules are listed in the order in which they were created, which is the order in which they run.
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def _copy_convolutions(
    sources: list[tuple[NDArray[np.float32], NDArray[np.float32]]], targets: list[nn.Conv2d]
) -> None:
    with torch.no_grad():
        for target, (weight, bias) in zip(targets, sources, strict=True):
            if target.bias is None:
                raise Invalid("Folded weights need a network without batch normalization.")
            if tuple(target.weight.shape) != weight.shape:
                raise Invalid(f"A convolution of {weight.shape} does not fit into one of {tuple(target.weight.shape)}.")
            target.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            target.bias.copy_(torch.from_numpy(bias))
