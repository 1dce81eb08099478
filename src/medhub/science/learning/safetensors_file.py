# SPDX-License-Identifier: Apache-2.0
"""Reading and writing safetensors files; the format holds tensors only and cannot carry a program."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from medhub.errors import Invalid
from medhub.science.learning.atomic_file import write_atomically


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file.

    Raises
    ------
    Invalid
        It is damaged, or is another kind of file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (SafetensorError, struct.error, json.JSONDecodeError, KeyError, ValueError, OSError) as error:
        raise Invalid(f"{path.name} is damaged, or is no safetensors file: {error}.") from error


def load_matching(network: nn.Module, path: Path, *, skip: Callable[[str], bool]) -> None:
    """Load the parameters of a network from a file; names and shapes must all agree.

    Parameters
    ----------
    network
        Its parameters are overwritten.
    path
        The safetensors file.
    skip
        Whether the parameter of a name keeps its value and may differ in the file, or be missing there.

    Raises
    ------
    Invalid
        The file is not safetensors, or belongs to another architecture.
    """
    loaded = {name: value for name, value in read_safetensors(path).items() if not skip(name)}
    unchanged = {name: value for name, value in network.state_dict().items() if skip(name)}
    try:
        network.load_state_dict(loaded | unchanged, strict=True)
    except RuntimeError as error:
        raise Invalid(f"{path.name} holds the weights of another architecture.", field="init") from error


def write_safetensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file completely or not at all.

    Raises
    ------
    Unavailable
        The disk is full or not writable; a file that was there before is unchanged.
    """
    write_atomically(path, encode_safetensors(tensors, metadata))


def encode_safetensors(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Encode tensors as the content of a safetensors file."""
    from safetensors.torch import save

    data: bytes = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)
    return data
