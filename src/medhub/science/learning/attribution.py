# SPDX-License-Identifier: Apache-2.0
"""Evaluation of the evidence maps that are shown with predictions.

The maps are class activation maps, which need no gradients. They are compared with Grad-CAM (Selvaraju et al., ICCV
2017) and with the maps of a network with random weights (Adebayo et al., NeurIPS 2018), and evaluated by the deletion
and insertion of the regions that they mark (Petsiuk et al., BMVC 2018).
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from medhub.science.inference.card import ExplanationCheck
from medhub.science.inference.classifier import evidence_of
from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning.network import Network
from medhub.science.learning.network_outputs import normalize_batch

STEPS = 10
IMAGES = 60
Maps = NDArray[np.float32]


def grad_cam(network: Network, batch: Tensor, label: int) -> Maps:
    """Compute the Grad-CAM map of one image for one label, before the ReLU.

    Parameters
    ----------
    network
        In evaluation mode.
    batch
        1 x 3 x S x S, normalized.
    label
        Index of the label.

    Returns
    -------
    Maps
        h x w.
    """
    last = network.maps(batch)[-1].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.head(last.mean((2, 3)))[0, label], last)
    weight = gradient.sum((2, 3), keepdim=True)
    heatmap: Maps = (weight * last).sum(1)[0].detach().numpy()
    return heatmap


def explain(
    network: Network, images: NDArray[np.uint8], preprocessing: Preprocessing, seed: int = 42
) -> ExplanationCheck:
    """Evaluate the evidence maps of a network.

    Parameters
    ----------
    network
        The trained network, on the CPU.
    images
        N x S x S x 3; up to 60 of them are used.
    preprocessing
        The preprocessing of the classifier.
    seed
        Seed of the random weights and of the random order.

    Returns
    -------
    ExplanationCheck
    """
    network.eval()
    samples = images[:: max(1, len(images) // IMAGES)][:IMAGES]
    random = _copy_with_random_weights(network, seed)
    generator = np.random.default_rng(seed)
    agreement, sanity = [], []
    scores: dict[str, list[float]] = {"deletion": [], "insertion": [], "deletion 0": [], "insertion 0": []}
    for image in samples:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        batch = normalize_batch(pixels, preprocessing)
        with torch.inference_mode():
            last = network.maps(batch)[-1]
            activation = network.activation(last)[0].numpy()
            other = random.activation(random.maps(batch)[-1])[0].numpy()
        label = int(activation.mean((1, 2)).argmax())
        agreement.append(_correlation(activation[label], grad_cam(network, batch, label)))
        sanity.append(_correlation(evidence_of(activation, label), evidence_of(other, label)))
        order = np.argsort(-evidence_of(activation, label), axis=None)
        shuffled = generator.permutation(order)
        shape = activation.shape[1:]
        for name, cells in (("", order), (" 0", shuffled)):
            scores["deletion" + name].append(
                _probe_probability(network, pixels, cells, shape, label, preprocessing, uncover=False)
            )
            scores["insertion" + name].append(
                _probe_probability(network, pixels, cells, shape, label, preprocessing, uncover=True)
            )
    means = {name: round(float(np.mean(values)), 4) for name, values in scores.items()}
    return ExplanationCheck(
        n=len(samples),
        grad_cam=round(float(np.mean(agreement)), 4),
        random_weights=round(float(np.mean(sanity)), 4),
        deletion=means["deletion"],
        deletion_by_chance=means["deletion 0"],
        insertion=means["insertion"],
        insertion_by_chance=means["insertion 0"],
    )


def _copy_with_random_weights(network: Network, seed: int) -> Network:
    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in other.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                spread = float(module.weight.std()) if module.weight.numel() > 1 else 1.0
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * spread)
    return other.eval()


def _correlation(first: Maps, second: Maps) -> float:
    a, b = (heatmap.ravel().astype(np.float64) for heatmap in (first, second))
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / length, -1, 1)) if length > 1e-12 else 0.0


def _probe_probability(
    network: Network,
    pixels: Tensor,
    cells: NDArray[np.intp],
    shape: tuple[int, ...],
    label: int,
    preprocessing: Preprocessing,
    *,
    uncover: bool,
) -> float:
    """Mean probability of the label while cells are replaced one after another by the blurred image, or the reverse."""
    side = pixels.shape[2]
    small = functional.interpolate(pixels, (max(1, side // 16), max(1, side // 16)), mode="area")
    blurred = functional.interpolate(small, (side, side), mode="bilinear")
    steps = np.linspace(0, len(cells), min(STEPS, len(cells)) + 1).round().astype(int)
    masks = torch.zeros(len(steps), 1, *shape)
    for index, count in enumerate(steps):
        masks[index].view(-1)[torch.from_numpy(cells[:count].copy())] = 1
    masks = functional.interpolate(masks, (side, side), mode="nearest")
    if not uncover:
        masks = 1 - masks
    batch = normalize_batch(pixels * masks + blurred * (1 - masks), preprocessing)
    with torch.inference_mode():
        probability = functional.softmax(network(batch), 1)[:, label]
    return float(probability.mean())
