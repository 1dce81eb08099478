# SPDX-License-Identifier: Apache-2.0
"""Where a training can be taken up again: one file, without anything in it that could run as code.

``state.safetensors`` holds every tensor (network, average, best, optimizer), and in its head, as JSON, the rest: epoch,
curves, and what the training was of. It is written after each epoch, whole or not at all.
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
    """A training after a whole epoch.

    Attributes
    ----------
    made_of
        Digest of recipe, data and starting point: another training does not go on from here.
    epoch
        Whole epochs behind it.
    curves
        What each epoch gave.
    best
        The least validation loss, and its epoch.
    """

    made_of: str
    epoch: int
    curves: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int] = (float("inf"), 0)
    network: Tensors = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)
    chosen: Tensors = field(default_factory=dict)
    optimizer: Tensors = field(default_factory=dict)


_GROUPS = ("network", "average", "chosen", "optimizer")


def save(folder: Path, state: State) -> None:
    """Write a checkpoint.

    Raises
    ------
    Unavailable
        The disk is full; the one before is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{group}/{name}": value for group in _GROUPS for name, value in getattr(state, group).items()}
    # Tensors that share their memory (before the first average differs, say) must be written each for itself.
    tensors = {name: value.clone() for name, value in tensors.items()}
    facts = {"made_of": state.made_of, "epoch": state.epoch, "curves": state.curves, "best": list(state.best)}
    write_safetensors(folder / STATE_FILE, tensors, {"training": json.dumps(facts)})


def load(folder: Path, made_of: str) -> State | None:
    """Read the checkpoint of a training, if there is one.

    Parameters
    ----------
    folder
        Where it lies.
    made_of
        What the training that wants to go on is of.

    Returns
    -------
    State | None

    Raises
    ------
    Invalid
        The checkpoint is damaged, or belongs to another recipe, other data or another start.
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
        raise Invalid(f"{STATE_FILE} is damaged. Delete it to begin anew.") from error
    if state.made_of != made_of:
        raise Invalid(
            "The checkpoint in this folder is of another training: the recipe, the data or the starting point differ. "
            "Take another folder, or delete it to begin anew."
        )
    for name, value in tensors.items():
        group, _, rest = name.partition("/")
        if group not in _GROUPS:
            raise Invalid(f"{STATE_FILE} is damaged. Delete it to begin anew.")
        getattr(state, group)[rest] = value
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
    """Give an optimizer its state back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def copied(network: nn.Module) -> Tensors:
    """The weights of a network as they are now."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
