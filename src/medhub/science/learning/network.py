# SPDX-License-Identifier: Apache-2.0
"""What every architecture here has in common: a stack of feature maps, and a head over the mean of the last of them."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn
from torch.nn import functional

HEAD_PARTS = ("classifier.", "dense.")


class Network(nn.Module):
    """A convolutional classifier whose head reads the mean of the last feature map.

    The head is linear, or has one hidden layer with ReLU (the head of CSSS: 128 units). Either way the logits are
    linear in the mean wherever the hidden units keep their sign, so class activation maps are exact (Zhou et al., CVPR
    2016; for the hidden layer they are the gradient of Grad-CAM in closed form, Selvaraju et al., ICCV 2017).
    """

    classifier: nn.Linear
    dense: nn.Linear | None = None
    dropout: float = 0.2

    def add_head(self, channels: int, classes: int, hidden: int) -> None:
        """Add the head; ``hidden`` is the width of the layer before the last one, or 0 for none."""
        if hidden:
            self.dense = nn.Linear(channels, hidden)
        self.classifier = nn.Linear(hidden or channels, classes)

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
        before = self.dense(last.mean((2, 3)))
        # What each hidden unit passes on: N x C x hidden, then the weight and the offset of each class for this image.
        passed = self.classifier.weight[None] * (before > 0).to(before.dtype)[:, None, :]
        weight = passed @ self.dense.weight
        offset = passed @ self.dense.bias + self.classifier.bias
        maps = (weight @ last.flatten(2)).unflatten(2, last.shape[2:])
        activation: Tensor = maps + offset[:, :, None, None]
        return activation

    @property
    def body_channels(self) -> int:
        """D: channels of the last map."""
        return (self.dense if self.dense is not None else self.classifier).in_features
