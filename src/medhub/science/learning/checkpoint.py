# SPDX-License-Identifier: Apache-2.0
"""The checkpoint of a training: one file that cannot carry a program.

``state.safetensors`` holds every tensor (network, average, best weights, optimizer), and in its metadata, as JSON, the
epoch, the curves, and the fingerprint of the training. It is written after each epoch, completely or not at all.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medhub.errors import Invalid
from medhub.science.learning.safetensors_file import read_safetensors, write_safetensors

STATE_FILE = "state.safetensors"
Tensors = dict[str, Tensor]


@dataclass
class State:
    """A training after an epoch.

    Attributes
    ----------
    fingerprint
        Digest of recipe, data and initial weights; no other training may continue from here.
    epoch
        Number of complete epochs.
    curves
        Figures of each epoch.
    best
        The least validation loss, and its epoch.
    """

    fingerprint: str
    epoch: int
    curves: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int] = (float("inf"), 0)
    network: Tensors = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)
    best_weights: Tensors = field(default_factory=dict)
    optimizer: Tensors = field(default_factory=dict)


# Prefix of the tensors in the file: attribute of the state.
_GROUPS = {"network": "network", "average": "average", "chosen": "best_weights", "optimizer": "optimizer"}


def save(folder: Path, state: State) -> None:
    """Write a checkpoint.

    Raises
    ------
    Unavailable
        The disk is full; the previous checkpoint is unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        # Cloned: tensors may share memory (before the first average differs, for example), which the format forbids.
        f"{group}/{name}": value.clone()
        for group, attribute in _GROUPS.items()
        for name, value in getattr(state, attribute).items()
    }
    facts = {"made_of": state.fingerprint, "epoch": state.epoch, "curves": state.curves, "best": list(state.best)}
    write_safetensors(folder / STATE_FILE, tensors, {"training": json.dumps(facts)})


def load(folder: Path, fingerprint: str) -> State | None:
    """Read the checkpoint of a training, if there is one.

    Parameters
    ----------
    folder
        Folder of the checkpoint.
    fingerprint
        Digest of the training that is to continue.

    Returns
    -------
    State | None

    Raises
    ------
    Invalid
        The checkpoint is damaged, or belongs to another recipe, other data or other initial weights.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    tensors = read_safetensors(path)
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            facts = json.loads(json.loads(file.read(length))["__metadata__"]["training"])
        state = State(facts["made_of"], int(facts["epoch"]), facts["curves"], (facts["best"][0], facts["best"][1]))
    except (KeyError, ValueError, TypeError, IndexError, struct.error) as error:
        raise Invalid(f"{STATE_FILE} is damaged. Delete it to start again.") from error
    if state.fingerprint != fingerprint:
        raise Invalid(
            "The checkpoint in this folder belongs to another training: the recipe, the data or the initial weights "
            "differ. Use another folder, or delete the checkpoint to start again."
        )
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        if group not in _GROUPS:
            raise Invalid(f"{STATE_FILE} is damaged. Delete it to start again.")
        getattr(state, _GROUPS[group])[rest] = value
    return state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The state of an optimizer as named tensors."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Restore the state of an optimizer."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def copy_weights(network: nn.Module) -> Tensors:
    """Copy the present weights of a network."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
