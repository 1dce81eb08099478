# SPDX-License-Identifier: Apache-2.0
"""What a training starts from: published ImageNet weights, a file, or nothing. Only safetensors and TFLite are read."""

from __future__ import annotations

import hashlib
import json
import struct
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path

from medhub.errors import Invalid, Unavailable
from medhub.science.inference.card import CARD_FILE, MODEL_FILE, Initialization
from medhub.science.inference.classifier import Classifier
from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning.architectures import ARCHITECTURES
from medhub.science.learning.mobilenetv2 import MobileNetV2
from medhub.science.learning.network import HEAD_PARTS, Network
from medhub.science.learning.onnx_weights import load_folded, restore_normalization
from medhub.science.learning.packaging import write_whole
from medhub.science.learning.tflite_weights import load_start

HUB = "https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
# The tag of the weights that timm itself would take for a name.
TAGS = {
    "hrnet_w18_small": "hrnet_w18_small.gluon_in1k",
    "hrnet_w18_small_v2": "hrnet_w18_small_v2.gluon_in1k",
    "hrnet_w18": "hrnet_w18.ms_aug_in1k",
    "hrnet_w32": "hrnet_w32.ms_in1k",
    "mobilenetv2_050": "mobilenetv2_050.lamb_in1k",
    "mobilenetv2_100": "mobilenetv2_100.ra_in1k",
    "mobilenetv2_140": "mobilenetv2_140.ra_in1k",
}
_LARGEST = 1024**3
_TIMEOUT_S = 60
_LOOKED_AT = 256  # images by which batch normalization is put back


def initialize_weights(
    network: Network,
    architecture: str,
    source: str,
    folder: Path,
    images: NDArray[np.uint8] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Initialization:
    """Fill a network with starting weights; its head is left as it is.

    Parameters
    ----------
    network
        Just built.
    architecture
        Its name.
    source
        ``timm:NAME``, or the path of a ``.safetensors`` or ``.tflite`` file, or of a classifier's folder.
    folder
        What a path is relative to.
    images, preprocessing
        Images that will be learned from (N x S x S x 3), and how; a classifier's batch normalization is put back by
        them.

    Returns
    -------
    Start
        What the card says of it.

    Raises
    ------
    Invalid
        The weights do not belong to this architecture, or the file is not what it says.
    Unavailable
        The hub cannot be reached.
    """
    if source.startswith("timm:"):
        name = source.removeprefix("timm:")
        model = name.partition(".")[0]
        published = ARCHITECTURES[architecture].published
        if published != model:
            fitting = f"timm:{published}" if published else "a .tflite file"
            raise Invalid(f"{source} does not fit {architecture}; {fitting} does.", field="init")
        if model not in TAGS:
            raise Invalid(
                f"There are no published weights of {model}; there are some of {', '.join(TAGS)}.", field="init"
            )
        tagged = name if "." in name else TAGS[model]
        path = _fetched(tagged)
        load_weights(network, path)
        return Initialization(
            name=f"{tagged}, ImageNet-1k", source=HUB.format(name=tagged), licence="as the hub's page of the model says"
        )
    path = Path(source) if Path(source).is_absolute() else folder / source
    if (path / CARD_FILE).is_file():
        return _begin_with(Classifier.load(path), path, network, architecture, images, preprocessing)
    if not path.is_file():
        raise Invalid(f"There are no starting weights at {source}.", field="init")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".tflite":
        if not isinstance(network, MobileNetV2):
            raise Invalid("A TFLite file can start mobilenetv2-folded only.", field="init")
        load_start(path, network)
    elif path.suffix == ".safetensors":
        load_weights(network, path)
    else:
        raise Invalid(
            f"{path.name}: weights are read from .safetensors (and an ImageNet MobileNetV2 from .tflite) only, since "
            "other formats can carry programs.",
            field="init",
        )
    return Initialization(name=path.name, source=f"a file with the SHA-256 {digest}", licence="not stated")


def _begin_with(
    classifier: Classifier,
    path: Path,
    network: Network,
    architecture: str,
    images: NDArray[np.uint8] | None,
    preprocessing: Preprocessing | None,
) -> Initialization:
    card = classifier.card
    known = card.architecture.partition(" + ")[0]
    if known != architecture:
        raise Invalid(f"{card.name} is a {known}, and cannot start a {architecture}.", field="init")
    if preprocessing is not None and (preprocessing.mean, preprocessing.std) != (
        card.preprocessing.mean,
        card.preprocessing.std,
    ):
        raise Invalid(
            f"{card.name} was trained with mean {list(card.preprocessing.mean)} and std "
            f"{list(card.preprocessing.std)}. Write the same into the recipe's preprocessing.",
            field="preprocessing",
        )
    load_folded(path / MODEL_FILE, network)
    if images is not None and preprocessing is not None:
        restore_normalization(network, images[:: max(1, len(images) // _LOOKED_AT)], preprocessing)
    return Initialization(
        name=f"{card.name} {card.version}",
        source=f"the classifier with the digest {classifier.digest}",
        licence=card.licence,
    )


def load_weights(network: Network, path: Path) -> None:
    """Load all but the head from a safetensors file whose names and shapes must all agree (``strict=True``).

    Raises
    ------
    Invalid
        The file is not safetensors, or belongs to another architecture.
    """
    weights = read_safetensors(path)
    own = network.state_dict()
    body = {name: value for name, value in weights.items() if not name.startswith(HEAD_PARTS)}
    head = {name: value for name, value in own.items() if name.startswith(HEAD_PARTS)}
    try:
        network.load_state_dict(body | head, strict=True)
    except RuntimeError as error:
        raise Invalid(f"{path.name} holds the weights of another architecture.", field="init") from error


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises
    ------
    Invalid
        It is damaged, or something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (SafetensorError, struct.error, json.JSONDecodeError, KeyError, ValueError, OSError) as error:
        raise Invalid(f"{path.name} is damaged, or is no safetensors file: {error}.") from error


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all.

    Raises
    ------
    Unavailable
        The disk is full or cannot be written; whatever was there before is still there.
    """
    write_whole(path, safetensors_bytes(tensors, metadata))


def safetensors_bytes(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file."""
    from safetensors.torch import save

    data: bytes = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)
    return data


def _fetched(name: str) -> Path:
    """The published file, fetched once into the user's cache."""
    kept = user_cache_path("medhub") / "weights" / f"{name}.safetensors"
    if kept.is_file():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The address begins with https.
        with urllib.request.urlopen(HUB.format(name=name), timeout=_TIMEOUT_S) as answer:  # noqa: S310
            data: bytes = answer.read(_LARGEST + 1)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise Unavailable(
            f"The weights cannot be fetched from {HUB.format(name=name)}. Fetch the file yourself where there is a "
            "connection, and name it by --init."
        ) from error
    if len(data) > _LARGEST:
        raise Invalid("The published file is larger than any that is expected; it was not kept.")
    write_whole(kept, data)
    return kept
