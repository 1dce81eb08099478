# SPDX-License-Identifier: Apache-2.0
"""What every architecture here has in common: a stack of feature maps, and a linear head over the last of them."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn


class Network(nn.Module):
    """A convolutional classifier whose head is linear over the mean of the last feature map.

    That shape makes class activation maps exact (Zhou et al., CVPR 2016), and gives the export one thing to know.
    """

    classifier: nn.Linear
    dropout: float = 0.2

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
        pooled = self.maps(images)[-1].mean((2, 3))
        logits: Tensor = self.classifier(nn.functional.dropout(pooled, self.dropout, self.training))
        return logits
