# SPDX-License-Identifier: Apache-2.0
"""A classifier is a folder, ``model.onnx`` and ``card.toml``; this reads images with it, by ONNX Runtime alone.

The graph has one input, ``image`` (N x 3 x S x S), and four outputs:

- ``logits`` (N x C), before the card's temperature and offsets;
- ``features`` (N x D), pooled over the image;
- ``activation`` (N x C x h x w), class activation maps (Zhou et al., CVPR 2016): their mean over h x w is ``logits``;
- ``novelty`` (N), the distance of the image from the training data, which the card's limit is for.
"""

from __future__ import annotations

import ctypes
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from medhub.errors import Unavailable
from medhub.science.inference.card import (
    CARD_FILE,
    MODEL_FILE,
    ClassifierBroken,
    ClassifierNotFound,
    ModelCard,
    load_card,
)
from medhub.science.inference.preprocessing import prepare

INPUT = "image"
OUTPUTS = ("logits", "features", "activation", "novelty")
_RANKS = {"logits": 2, "features": 2, "activation": 4, "novelty": 1}


@dataclass(frozen=True)
class ClassifierOutput:
    """What a classifier read in one image.

    Attributes
    ----------
    probabilities
        Calibrated probability of each label, in the card's order; their sum is 1.
    novelty
        Distance of the image from the training data; no unit.
    novel
        Whether that distance is above the card's limit.
    evidence
        h x w in 0..1, what in the image speaks for the likeliest label; lies over the whole image.
    milliseconds
        Time of preparing and running.
    """

    probabilities: dict[str, float]
    novelty: float
    novel: bool
    evidence: NDArray[np.float32]
    milliseconds: float


class Classifier:
    """A loaded classifier. It may be used by several threads at once."""

    def __init__(self, card: ModelCard, digest: str, session: onnxruntime.InferenceSession) -> None:
        self.card = card
        self.digest = digest
        self._session = session

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Load the classifier that lies in a folder, and check the model against its card.

        Parameters
        ----------
        folder
            The folder with ``card.toml`` and ``model.onnx``.

        Returns
        -------
        Classifier

        Raises
        ------
        ClassifierNotFound
            There is no folder, or one of the two files is missing.
        ClassifierBroken
            The card cannot be read, the model is not ONNX, or the two do not belong together.
        """
        card = load_card(folder)
        try:
            model = (folder / MODEL_FILE).read_bytes()
        except FileNotFoundError as error:
            raise ClassifierNotFound(
                f'The classifier "{folder.name}" is not whole: its folder has no {MODEL_FILE}.', classifier=folder.name
            ) from error
        same = hashlib.sha256(model).hexdigest() == card.model_sha256
        del model
        if not same:
            raise ClassifierBroken(
                f"{MODEL_FILE} is not the file that {CARD_FILE} was written for: their checksums differ.",
                classifier=folder.name,
            )
        try:
            # From the file: given bytes, the runtime keeps a second copy of them for as long as the session lives.
            path = str(folder / MODEL_FILE)
            session = onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common base below Exception.
            raise ClassifierBroken(f"{MODEL_FILE} cannot be loaded by ONNX Runtime.", classifier=folder.name) from error
        _check_graph(session, card)
        _release_memory()
        return cls(card, digest(folder), session)

    def classify(self, image: NDArray[np.uint8]) -> ClassifierOutput:
        """Read one image.

        Parameters
        ----------
        image
            Height x width x 3, uint8, RGB, of any size.

        Returns
        -------
        Reading

        Raises
        ------
        medhub.errors.Invalid
            The array is not an RGB image of 8 bits.
        medhub.errors.Unavailable
            The model could not be run.
        """
        start = time.perf_counter()
        logits, activation, distance = self.run(image)
        offsets = np.array(self.card.offsets or 0.0)
        probabilities = softmax(logits / self.card.temperature + offsets)
        # So that the mean of the maps, divided by the temperature, is what the probabilities come from.
        maps = activation + (offsets * self.card.temperature).astype(np.float32)[..., None, None]
        evidence = evidence_of(maps, int(probabilities.argmax()))
        return ClassifierOutput(
            probabilities=dict(zip(self.card.labels, probabilities.tolist(), strict=True)),
            novelty=distance,
            # Written so that a distance that is not a number counts as novel.
            novel=not distance <= self.card.novelty.limit,
            evidence=evidence,
            milliseconds=(time.perf_counter() - start) * 1000,
        )

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32], float]:
        """Run the network over one image, before anything is calibrated.

        Parameters
        ----------
        image
            Height x width x 3, uint8, RGB, of any size.

        Returns
        -------
        tuple[NDArray[np.float64], NDArray[np.float32], float]
            Logits, C; class activation maps, C x h x w; distance from the training data.

        Raises
        ------
        medhub.errors.Invalid
            The array is not an RGB image of 8 bits.
        medhub.errors.Unavailable
            The model could not be run.
        """
        array = prepare(image, self.card.preprocessing)
        try:
            logits, activation, novelty = self._session.run(["logits", "activation", "novelty"], {INPUT: array})
        except Exception as error:  # As above.
            raise Unavailable("The classifier could not be run.", classifier=self.card.name) from error
        distance = self._distance(float(novelty[0]), image.shape[1] / image.shape[0])
        return np.asarray(logits[0], np.float64), np.asarray(activation[0], np.float32), distance

    def _distance(self, distance: float, shape: float) -> float:
        """The distance of an image of such a width by height: beyond the limit where no training image was so long."""
        limits = self.card.novelty
        if limits.shapes is None:
            return distance
        beyond = max(shape / limits.shapes[1], limits.shapes[0] / shape)
        return max(distance, limits.limit * beyond) if beyond > 1 else distance


def digest(folder: Path) -> str:
    """Compute the digest that names a classifier in predictions and reports.

    It is the SHA-256 of the listing that ``sha256sum`` prints for the two files, so anyone can recompute it::

        cd models/NAME && sha256sum card.toml model.onnx | sha256sum

    Parameters
    ----------
    folder
        The folder with ``card.toml`` and ``model.onnx``.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    names = (CARD_FILE, MODEL_FILE)
    listing = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    return hashlib.sha256(listing.encode()).hexdigest()


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits into probabilities along the last axis, without overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def evidence_of(activation: NDArray[np.float32], index: int) -> NDArray[np.float32]:
    """Compute where in the image the evidence for one label lies.

    Class activation maps (Zhou et al., CVPR 2016) are known up to an offset that all labels share, since a softmax
    ignores it. The mean over the labels is therefore taken away; what is left above zero speaks for this label more
    than for the others. It is shown from the place with least to the place with most of it.

    Parameters
    ----------
    activation
        C x h x w class activation maps.
    index
        Index of the label.

    Returns
    -------
    NDArray[np.float32]
        h x w, 0..1; all 0 where no place speaks for the label more than another.
    """
    above = np.maximum(activation[index] - activation.mean(axis=0), 0)
    above = above - above.min()
    greatest = float(above.max())
    evidence: NDArray[np.float32] = (above / greatest if greatest > 0 else above).astype(np.float32)
    return evidence


def _release_memory() -> None:
    """Have the C library give back what reading a model left free: of HRNet-W18-small twice the size of its file."""
    with suppress(OSError, AttributeError):  # other C libraries than glibc have no such function
        ctypes.CDLL(None).malloc_trim(0)


def session_options() -> onnxruntime.SessionOptions:
    """Say how ONNX Runtime runs here: on the calling thread alone."""
    options = onnxruntime.SessionOptions()
    # One thread a classification: several run side by side in one server, and two threads on two busy cores are slower.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _check_graph(session: onnxruntime.InferenceSession, card: ModelCard) -> None:
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    if set(inputs) != {INPUT}:
        raise ClassifierBroken(f'{MODEL_FILE} has the inputs {sorted(inputs)}; it must have one, "{INPUT}".')
    if missing := [name for name in OUTPUTS if name not in outputs]:
        raise ClassifierBroken(f"{MODEL_FILE} lacks the outputs {missing}.")
    for name, rank in _RANKS.items():
        if len(outputs[name].shape) != rank:
            raise ClassifierBroken(f'Output "{name}" of {MODEL_FILE} has {len(outputs[name].shape)} axes, not {rank}.')
    side, count = card.preprocessing.size, len(card.labels)
    _check_axes(inputs[INPUT], {1: 3, 2: side, 3: side}, "the card's preprocessing")
    _check_axes(outputs["logits"], {1: count}, "the card's labels")
    _check_axes(outputs["activation"], {1: count}, "the card's labels")
    if inputs[INPUT].type != "tensor(float)":
        raise ClassifierBroken(f'Input "{INPUT}" of {MODEL_FILE} is {inputs[INPUT].type}, not tensor(float).')
    written = session.get_modelmeta().custom_metadata_map.get("labels")
    if written is not None and written.split("\n") != list(card.labels):
        raise ClassifierBroken(f"The labels in {MODEL_FILE} are not those of {CARD_FILE}.")


def _check_axes(node: Any, sizes: dict[int, int], owner: str) -> None:
    for axis, size in sizes.items():
        actual = node.shape[axis] if axis < len(node.shape) else None
        # A name instead of a number is an axis that the graph leaves open.
        if not isinstance(actual, str) and actual != size:
            raise ClassifierBroken(
                f'"{node.name}" of {MODEL_FILE} has {actual} on axis {axis}; by {owner} it is {size}.'
            )
