# SPDX-License-Identifier: Apache-2.0
"""Initial weights of a training: published ImageNet weights, a file, or another classifier.

Only formats that cannot carry a program are read: safetensors, TFLite and ONNX.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from medhub.errors import Invalid, Unavailable
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, Initialization
from medhub.science.inference.classifier import Classifier
from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning.architectures import ARCHITECTURES, find_architecture
from medhub.science.learning.atomic_file import write_atomically
from medhub.science.learning.network import Architecture, Network, load_safetensors
from medhub.science.learning.onnx_weights import load_onnx, restore_normalization

HUB = "https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
_LARGEST_BYTES = 1024**3
_TIMEOUT_S = 60
_NORMALIZATION_IMAGES = 256  # from which batch normalization is restored


def initialize_weights(
    network: Network,
    architecture: str,
    source: str,
    folder: Path,
    images: NDArray[np.uint8] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Initialization:
    """Fill a network with initial weights; its head is left as it is.

    Parameters
    ----------
    network
        With random weights.
    architecture
        Its name.
    source
        ``timm:NAME``, or the path of a file of weights, or of a classifier's folder.
    folder
        Folder that a path is relative to.
    images, preprocessing
        Training images (N x S x S x 3) and their preprocessing, from which the batch normalization of a classifier is
        restored.

    Returns
    -------
    Initialization
        The entry of the model card.

    Raises
    ------
    Invalid
        The weights do not belong to this architecture, or the file is not in a supported format.
    Unavailable
        The hub cannot be reached.
    """
    chosen = find_architecture(architecture)
    if source.startswith("timm:"):
        return _load_published(network, chosen, source.removeprefix("timm:"))
    path = Path(source) if Path(source).is_absolute() else folder / source
    if (path / CARD_FILE).is_file():
        return _load_classifier(network, chosen, path, images, preprocessing)
    if not path.is_file():
        raise Invalid(f"There are no starting weights at {source}.", field="init")
    return _load_file(network, chosen, path)


def _load_published(network: Network, architecture: Architecture, name: str) -> Initialization:
    model = name.partition(".")[0]
    published = architecture.published
    if published is None or published.model != model:
        fitting = f"timm:{published.model}" if published else "a .tflite file"
        raise Invalid(f"timm:{name} does not fit {architecture.name}; {fitting} does.", field="init")
    if published.tag is None:
        available = (each.published.model for each in ARCHITECTURES.values() if each.published and each.published.tag)
        raise Invalid(
            f"There are no published weights of {model}; there are some of {', '.join(available)}.", field="init"
        )
    tagged = name if "." in name else f"{model}.{published.tag}"
    load_safetensors(network, _fetch_weights(tagged))
    return Initialization(
        name=f"{tagged}, ImageNet-1k", source=HUB.format(name=tagged), licence="as the hub's page of the model says"
    )


def _load_file(network: Network, architecture: Architecture, path: Path) -> Initialization:
    loader = architecture.weight_loaders.get(path.suffix)
    if loader is None:
        raise Invalid(
            f"{path.name}: initial weights of {architecture.name} are read from "
            f"{' and '.join(architecture.weight_loaders)} files only. Other formats may carry programs.",
            field="init",
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    loader(network, path)
    return Initialization(name=path.name, source=f"a file with the SHA-256 {digest}", licence="not stated")


def _load_classifier(
    network: Network,
    architecture: Architecture,
    folder: Path,
    images: NDArray[np.uint8] | None,
    preprocessing: Preprocessing | None,
) -> Initialization:
    classifier = Classifier.load(folder)
    card = classifier.card
    card_architecture = card.architecture.partition(" + ")[0]
    if card_architecture != architecture.name:
        raise Invalid(f"{card.name} is a {card_architecture}, and cannot start a {architecture.name}.", field="init")
    if preprocessing is not None and (preprocessing.mean, preprocessing.std) != (
        card.preprocessing.mean,
        card.preprocessing.std,
    ):
        raise Invalid(
            f"{card.name} was trained with mean {list(card.preprocessing.mean)} and std "
            f"{list(card.preprocessing.std)}. Write the same into the recipe's preprocessing.",
            field="preprocessing",
        )
    load_onnx(network, folder / MODEL_FILE)
    if images is not None and preprocessing is not None:
        restore_normalization(network, images[:: max(1, len(images) // _NORMALIZATION_IMAGES)], preprocessing)
    return Initialization(
        name=f"{card.name} {card.version}",
        source=f"the classifier with the digest {classifier.digest}",
        licence=card.licence,
    )


def _fetch_weights(name: str) -> Path:
    """The published file, fetched once into the user's cache."""
    cached = user_cache_path("medhub") / "weights" / f"{name}.safetensors"
    if cached.is_file():
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The address starts with https.
        with urllib.request.urlopen(HUB.format(name=name), timeout=_TIMEOUT_S) as response:  # noqa: S310
            data: bytes = response.read(_LARGEST_BYTES + 1)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise Unavailable(
            f"The weights cannot be fetched from {HUB.format(name=name)}. Download the file on a computer with a "
            "connection, and name it by --init."
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise Invalid("The published file is larger than expected; it was not stored.")
    write_atomically(cached, data)
    return cached
