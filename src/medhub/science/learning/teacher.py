# SPDX-License-Identifier: Apache-2.0
"""A classifier that another network learns from."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional

from medhub.errors import Invalid
from medhub.science.inference.card import MODEL_FILE, load_card
from medhub.science.inference.classifier import INPUT, Classifier, session_options


@dataclass(frozen=True)
class TeacherTargets:
    """What a teacher says of a batch.

    Attributes
    ----------
    logits
        N x C.
    features
        N x D, the mean of its last feature map.
    """

    logits: Tensor
    features: Tensor

    def to(self, device: torch.device) -> TeacherTargets:
        """Move it to a device."""
        return TeacherTargets(self.logits.to(device), self.features.to(device))


class Teacher:
    """Tells what a classifier says of batches as training sees them, varied and mixed."""

    def __init__(self, folder: Path, labels: tuple[str, ...]) -> None:
        self.digest = Classifier.load(folder).digest  # loading checks that the folder is whole
        card = load_card(folder)
        self.name, self.model_sha256 = f"{card.name} {card.version}", card.model_sha256
        if set(card.labels) != set(labels):
            raise Invalid(
                f"The teacher {card.name} knows the labels {list(card.labels)}; the data have {list(labels)}.",
                field="distillation.teacher",
            )
        self._order = [card.labels.index(label) for label in labels]
        self._preprocessing = card.preprocessing
        self._session = onnxruntime.InferenceSession(
            (folder / MODEL_FILE).read_bytes(), session_options(), providers=["CPUExecutionProvider"]
        )
        (self.width,) = (out.shape[1] for out in self._session.get_outputs() if out.name == "features")
        self._guard = threading.Lock()

    def __call__(self, images: Tensor) -> TeacherTargets:
        """Read N x 3 x S x S, 0..1; the logits are in the order of the labels."""
        preprocessing = self._preprocessing
        side = (preprocessing.size, preprocessing.size)
        if images.shape[2:] != side:
            images = functional.interpolate(images, side, mode="bilinear", antialias=True)
        mean, std = (
            np.asarray(values, np.float32).reshape(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std)
        )
        batch = (images.numpy() * 255 - mean) / std
        with self._guard:
            logits, features = self._session.run(
                ["logits", "features"], {INPUT: np.ascontiguousarray(batch, np.float32)}
            )
        return TeacherTargets(
            torch.from_numpy(np.asarray(logits)[:, self._order]), torch.from_numpy(np.asarray(features))
        )
