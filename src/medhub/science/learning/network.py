# SPDX-License-Identifier: Apache-2.0
"""The base class of all networks, and the object that describes one architecture to the registry."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from medhub.science.learning.safetensors_file import load_matching

HEAD_PREFIXES = ("classifier.", "dense.")
IMAGENET_SIZE = 224


class Network(nn.Module):
    """A convolutional classifier whose head reads the mean of the last feature map.

    The head is linear, or has one hidden layer with ReLU (the head of CSSS: 128 units). Either way the logits are
    linear in the mean wherever the hidden units keep their sign, so class activation maps are exact (Zhou et al., CVPR
    2016; for the hidden layer they are the gradient of Grad-CAM in closed form, Selvaraju et al., ICCV 2017).

    Attributes
    ----------
    head_prefixes
        Prefixes of the names of the head's parameters in the state dict; all other parameters are the body.
    dropout
        Share of the pooled features that is set to zero in training.
    """

    classifier: nn.Linear
    dense: nn.Linear | None = None
    dropout: float = 0.2
    head_prefixes: tuple[str, ...] = HEAD_PREFIXES

    def add_head(self, channels: int, classes: int, hidden: int) -> None:
        """Add the head; ``hidden`` is the width of the layer before the last one, or 0 for none."""
        if hidden:
            self.dense = nn.Linear(channels, hidden)
        self.classifier = nn.Linear(hidden or channels, classes)

    def in_head(self, parameter_name: str) -> bool:
        """Whether a parameter of this name belongs to the head."""
        return parameter_name.startswith(self.head_prefixes)

    @abstractmethod
    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute feature maps, from shallow to deep; the head reads the last.

        Parameters
        ----------
        images
            N x 3 x S x S, normalized; S a multiple of 32.

        Returns
        -------
        tuple[Tensor, ...]
            Each N x channels x height x width.
        """

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits, N x C."""
        return self.head(self.maps(images)[-1].mean((2, 3)))

    def head(self, pooled: Tensor) -> Tensor:
        """Compute logits, N x C, from the mean of the last map, N x D."""
        x = functional.dropout(pooled, self.dropout, self.training)
        if self.dense is not None:
            x = functional.relu(self.dense(x))
        logits: Tensor = self.classifier(x)
        return logits

    def activation(self, last: Tensor) -> Tensor:
        """Compute class activation maps, N x C x h x w, whose mean over h x w is the logits, from the last map."""
        if self.dense is None:
            return functional.conv2d(last, self.classifier.weight[:, :, None, None], self.classifier.bias)
        hidden = self.dense(last.mean((2, 3)))
        # Weights of the hidden units that are active: N x C x hidden. From them follow, for each image, the weight of
        # each channel and the offset of each class.
        active = self.classifier.weight[None] * (hidden > 0).to(hidden.dtype)[:, None, :]
        weight = active @ self.dense.weight
        offset = active @ self.dense.bias + self.classifier.bias
        maps = (weight @ last.flatten(2)).unflatten(2, last.shape[2:])
        activation: Tensor = maps + offset[:, :, None, None]
        return activation

    @property
    def body_channels(self) -> int:
        """D: channels of the last map."""
        return (self.dense if self.dense is not None else self.classifier).in_features


# Fills all but the head of a network from a file; raises Invalid if the file does not fit.
WeightLoader = Callable[[Network, Path], None]


@dataclass(frozen=True)
class PublishedWeights:
    """ImageNet weights that timm publishes for an architecture.

    Attributes
    ----------
    model
        Name of the model in timm; its state dict has the names and shapes of this project's network.
    tag
        Tag of the weights that timm loads by default; none if timm publishes no weights.
    """

    model: str
    tag: str | None = None


@dataclass(frozen=True)
class Architecture:
    """One architecture. To add one, write a file like ``hrnet.py`` and register it in ``architectures.py``.

    Attributes
    ----------
    name
        Value of ``network.architecture`` in recipes and of ``architecture`` in cards.
    builder
        Called as ``builder(classes, hidden=width)``; returns the network with random weights.
    input_size
        Side, in pixels, of the images that published weights were trained with. A recipe names its own side in
        ``preprocessing.size``.
    published
        Weights that ``timm:NAME`` fetches; none if nothing is published in this form.
    weight_loaders
        By the suffix of a file: how initial weights are read from it.
    head_prefixes
        Prefixes of the names of the head's parameters; the head is not loaded from files, and learns alone while the
        body is frozen.
    """

    name: str
    builder: Callable[..., Network]
    input_size: int = IMAGENET_SIZE
    published: PublishedWeights | None = None
    weight_loaders: Mapping[str, WeightLoader] = field(default_factory=lambda: {".safetensors": load_safetensors})
    head_prefixes: tuple[str, ...] = HEAD_PREFIXES

    def build(self, classes: int, *, hidden: int = 0) -> Network:
        """Build the network with random weights; see ``architectures.build_network``."""
        network = self.builder(classes, hidden=hidden)
        network.head_prefixes = self.head_prefixes
        return network


def load_safetensors(network: Network, path: Path) -> None:
    """Load all but the head from a safetensors file whose names and shapes must all agree (``strict=True``).

    Raises
    ------
    Invalid
        The file is not safetensors, or belongs to another architecture.
    """
    load_matching(network, path, skip=network.in_head)
